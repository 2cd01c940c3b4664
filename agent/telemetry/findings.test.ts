import { expect, test } from 'vitest';
import type { Finding } from '../finding.ts';
import { FindingLog } from './findings.ts';

const full: Finding = {
  code: 'TableNearlyFull',
  severity: 'warning',
  message: 'the table blocks is 91 % full',
  remedy: 'Raise --max-blocks.',
};

function log() {
  const told: string[] = [];
  const findings = new FindingLog(
    (finding) => told.push(`+ ${finding.message}`),
    (finding) => told.push(`- ${finding.message}`),
  );
  return { findings, told };
}

test('tells of a finding when it appears and when it is gone, and not in between', () => {
  const { findings, told } = log();
  findings.update([full]);
  findings.update([full]);
  findings.update([]);
  findings.update([]);
  expect(told).toEqual(['+ the table blocks is 91 % full', '- the table blocks is 91 % full']);
});

test('a finding whose figures alone changed is the same finding', () => {
  const { findings, told } = log();
  findings.update([full]);
  findings.update([{ ...full, message: 'the table blocks is 92.5 % full' }]);
  expect(told).toHaveLength(1);
});

test('the same finding on two interfaces is two', () => {
  const { findings, told } = log();
  findings.update([
    { ...full, interfaceName: 'eth0' },
    { ...full, interfaceName: 'eth1' },
  ]);
  expect(told).toHaveLength(2);
});
