import { describe, expect, test } from 'vitest';
import type { TableFill } from '../datapath/view.ts';
import { TableFindings } from './table-findings.ts';

const NOW = 1_000_000;
const view = (tables: readonly TableFill[], losses: Record<string, number> = {}) => ({ tables, losses });
const blocks = (entries: number): TableFill => ({ table: 'blocks', entries, capacity: 100 });
const codes = (findings: readonly { code: string }[]) => findings.map(({ code }) => code);

describe('a table', () => {
  test.each([
    [79, []],
    [80, ['TableNearlyFull']],
    [99, ['TableNearlyFull']],
    [100, ['TableFull']],
  ])('with %i of 100 entries: %s', (entries, wanted) => {
    const findings = new TableFindings().update(view([blocks(entries)]), NOW);
    expect(codes(findings)).toEqual(wanted);
  });

  test('that is full names the setting that makes it larger', () => {
    const [finding] = new TableFindings().update(view([blocks(100)]), NOW);
    expect(finding).toMatchObject({ field: '--max-blocks', message: 'the table blocks holds 100 of 100 entries' });
    expect(finding!.remedy).not.toBe('');
  });

  test('that is empty, or has no bound of its own, is no finding', () => {
    const tables = [
      { table: 'list-entries', entries: 0, capacity: 0 },
      // Tracking forgets by design; what it forgets too early is counted as a loss.
      { table: 'sources', entries: 100, capacity: 100 },
      { table: 'first-targets', entries: 100, capacity: 100 },
    ];
    expect(new TableFindings().update(view(tables), NOW)).toEqual([]);
  });
});

describe('a loss', () => {
  test('of before this agent is history', () => {
    expect(new TableFindings().update(view([], { 'ring-full': 9 }), NOW)).toEqual([]);
  });

  test('is a finding for five minutes after its last packet', () => {
    const findings = new TableFindings();
    findings.update(view([], { 'ring-full': 9 }), NOW);
    const lost = findings.update(view([], { 'ring-full': 12 }), NOW + 1_000);
    expect(lost).toMatchObject([{ code: 'EventsLost', field: '--ring-buffer-bytes' }]);
    expect(lost[0]!.message).toContain('12 ');
    expect(codes(findings.update(view([], { 'ring-full': 12 }), NOW + 301_000))).toEqual(['EventsLost']);
    expect(findings.update(view([], { 'ring-full': 12 }), NOW + 301_001)).toEqual([]);
    expect(codes(findings.update(view([], { 'ring-full': 13 }), NOW + 400_000))).toEqual(['EventsLost']);
  });

  test.each([
    ['first-target-evicted', 'FreshEvicted'],
    ['source-evicted', 'FreshEvicted'],
    ['block-evicted', 'FreshEvicted'],
    ['block-table-full', 'TableFull'],
    ['connection-event-budget', 'EventsLost'],
    ['block-event-budget', 'EventsLost'],
    ['ring-full', 'EventsLost'],
  ])('of %s is %s', (name, code) => {
    const findings = new TableFindings();
    findings.update(view([], { [name]: 0 }), NOW);
    expect(codes(findings.update(view([], { [name]: 1 }), NOW + 1))).toEqual([code]);
  });

  test('that is counted for the first time counts from zero', () => {
    const findings = new TableFindings();
    findings.update(view([], {}), NOW);
    expect(codes(findings.update(view([], { 'ring-full': 1 }), NOW + 1))).toEqual(['EventsLost']);
  });
});
