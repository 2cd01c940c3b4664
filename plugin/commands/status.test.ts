import { describe, expect, test } from 'vitest';
import type { KubeObject } from '../../kube/objects.ts';
import type { SeenReport } from '../blocks.ts';
import { formatStatus, listStatus, operatorProblem, policyStatus, summarize } from './status.ts';

const report: SeenReport = {
  node: 'n1',
  ageMs: 20_000,
  isStale: false,
  state: 'Enforcing',
  breakGlass: undefined,
  mode: 'Native',
  version: '1.2.3',
  blocked: 2,
  wouldBlock: 0,
  spared: 0,
  listed: 2,
  exceptions: [],
  findings: [],
  findingsTotal: 0,
};

const condition = (type: string, status: string, reason: string, observedGeneration = 4) => ({
  type,
  status,
  reason,
  message: `${reason} it is`,
  observedGeneration,
  lastTransitionTime: '2030-01-01T12:00:00Z',
});
const policyWith = (status: object | undefined): KubeObject =>
  ({ metadata: { name: 'web', generation: 4 }, spec: { mode: 'Enforce' }, status }) as unknown as KubeObject;
const programmed = {
  conditions: [condition('Programmed', 'True', 'Programmed')],
  summary: '3/3',
  blocked: { sources: 2, packetsDropped: 1500 },
};

const well = {
  reports: [report],
  policies: [policyStatus(policyWith(programmed))],
  lists: [],
  exceptions: 1,
  missing: [],
};

test('when all is well it says so in a few lines', () => {
  const seen = summarize(well);
  expect(seen.ok).toBe(true);
  expect(formatStatus(seen)).toBe(
    [
      'Nodes:      1 report, 1 enforcing',
      'Blocked:    2 on all nodes together',
      'Exceptions: 1 in force',
      '',
      'PortScanPolicies:',
      '  NAME  MODE     PROGRAMMED  NODES  BLOCKED  DROPPED',
      '  web   Enforce  True        3/3          2    1,500',
      '',
    ].join('\n'),
  );
});

test('an operator that gives no sign of life is told of, since all that it wrote stays as it was', () => {
  const time = '2030-01-01T12:00:00Z';
  const lease = { metadata: { name: 'x', managedFields: [{ manager: 'portcullis-operator', time }] } } as KubeObject;
  const atMs = Date.parse(time);
  expect(operatorProblem(lease, atMs + 20_000)).toBeUndefined();
  expect(operatorProblem(undefined, atMs)).toBeUndefined();
  const seen = summarize({ ...well, operator: operatorProblem(lease, atMs + 300_000) });
  expect(seen.ok).toBe(false);
  expect(formatStatus(seen)).toMatch(
    /Look at:\n {2}the operator last gave a sign of life 5m ago, so what is said of .* out of date/,
  );
});

describe('somebody must look at', () => {
  const nodes: [string, Partial<SeenReport>, RegExp][] = [
    [
      'a node that is detached',
      { state: 'Detached', breakGlass: 'File' },
      /detached by break-glass \(File\); reported 20s ago/,
    ],
    [
      'a node that an uninstallation detached',
      { state: 'Detached', breakGlass: 'Uninstall' },
      /node n1: detached, since Portcullis is being uninstalled; reported 20s ago/,
    ],
    ['a node that failed', { state: 'Failed' }, /could not be put in force/],
    [
      'a node that does not report any more',
      { isStale: true, ageMs: 3_600_000 },
      /is its agent running\?; reported 1h ago/,
    ],
    [
      'an error on a node',
      { findings: [{ code: 'ForeignXdpProgram', severity: 'error', message: 'eth0: another' }] },
      /node n1: ForeignXdpProgram: eth0: another/,
    ],
    [
      'many errors on one node, of which the first are enough',
      { findings: Array.from({ length: 20 }, (_, i) => ({ code: 'TableFull', severity: 'error', message: `${i}!` })) },
      /node n1: TableFull: 2!.*\n.*node n1: 17 more errors: kubectl describe nodereport n1; reported 20s ago\n$/,
    ],
  ];
  test.each(nodes)('%s', (_, changes, text) => {
    const seen = summarize({ ...well, reports: [{ ...report, ...changes }] });
    expect(seen.ok).toBe(false);
    expect(formatStatus(seen)).toMatch(text);
  });

  const policies: [string, object | undefined, RegExp][] = [
    ['a policy without status', undefined, /web: no status yet: is the operator running\?/],
    [
      'a policy of which the operator has seen an earlier generation only',
      { conditions: [condition('Programmed', 'True', 'Programmed', 3)] },
      /not seen this generation yet/,
    ],
    [
      'a policy that is not in force everywhere, with an example',
      {
        conditions: [condition('Programmed', 'False', 'PartiallyProgrammed')],
        nodes: {
          selected: 2,
          programmed: 1,
          failed: 1,
          stale: 0,
          noReport: 0,
          examples: [{ node: 'n2', reason: 'Failed' }],
        },
      },
      /PartiallyProgrammed it is \(n2: Failed\)/,
    ],
    [
      'a policy that was not accepted',
      { conditions: [condition('Programmed', 'True', 'Programmed'), condition('Accepted', 'False', 'Invalid')] },
      /not accepted: Invalid it is/,
    ],
    [
      'a policy that is degraded',
      { conditions: [condition('Programmed', 'True', 'Programmed'), condition('Degraded', 'True', 'TableFull')] },
      /TableFull: TableFull it is/,
    ],
  ];
  test.each(policies)('%s', (_, status, text) => {
    const seen = summarize({ ...well, policies: [policyStatus(policyWith(status))] });
    expect(seen.ok).toBe(false);
    expect(formatStatus(seen)).toMatch(text);
  });

  test('lines of a ConfigMap that were refused', () => {
    const list = policyWith({ ...programmed, entries: { given: 9, effective: 7, expired: 0, refused: 2 } });
    expect(listStatus(list).problems).toEqual(['2 lines refused']);
  });

  test('that no node reports', () => {
    const seen = summarize({ ...well, reports: [] });
    expect(seen.ok).toBe(false);
    expect(formatStatus(seen)).toContain('none reports: is the agent running?');
  });
});

test('what could not be read is said', () => {
  const seen = summarize({ ...well, missing: [{ what: 'IpBlocklists', reason: 'you have no right to read them' }] });
  expect(formatStatus(seen)).toContain('Not looked at:\n  IpBlocklists: you have no right to read them\n');
});
