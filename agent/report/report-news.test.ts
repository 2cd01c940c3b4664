import { describe, expect, test } from 'vitest';
import type { NodeReportStatus } from '../../api/types/node-report.ts';
import type { NodeReportObject } from './node-report.ts';
import { isNews, sameReport } from './report-news.ts';

const at = (seconds: number) => new Date(Date.UTC(2030, 0, 1, 12) + seconds * 1000).toISOString();

const block = (source: string, since = 0, until = 600) => ({
  source,
  policy: 'web',
  state: 'Blocked' as const,
  since: at(since),
  until: at(until),
  secondsLeft: until,
  packetsDropped: 1,
});

const status: NodeReportStatus = {
  observedAt: at(10),
  state: 'Enforcing',
  mode: 'Native',
  agent: { version: '1', startedAt: at(-100) },
  policies: [{ name: 'web', generation: 1, state: 'Programmed', blocked: 1, packetsDropped: 5 }],
  lists: [{ name: 'bad', generation: 1, state: 'Programmed', entries: 3, packetsDropped: 5 }],
  blocks: { blocked: 1, newest: [block('10.0.0.1')] },
  interfaces: [{ name: 'eth0', mode: 'Native', policy: 'web', programId: 5 }],
  tables: [{ name: 'blocks', used: 1, max: 10 }],
  losses: [],
  exceptions: [],
  findings: [{ code: 'EventsLost', severity: 'warning', message: 'lost: 5' }],
};
const reportOf = (changes: Partial<NodeReportStatus> = {}): NodeReportObject => ({
  apiVersion: 'portcullis.dev/v1alpha1',
  kind: 'NodeReport',
  metadata: { name: 'n', ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'n', uid: 'u' }] },
  status: { ...status, ...changes },
});
const told = reportOf();
const [policy] = status.policies;
const [list] = status.lists;
const [one] = status.blocks.newest;

describe('two reports are the same', () => {
  test('whenever they were made', () => {
    const later = reportOf({ observedAt: at(70), blocks: { blocked: 1, newest: [{ ...one!, secondsLeft: 530 }] } });
    expect(sameReport(told, later)).toBe(true);
  });

  test('and not when a count differs', () => {
    expect(sameReport(told, reportOf({ tables: [{ name: 'blocks', used: 2, max: 10 }] }))).toBe(false);
    expect(sameReport(told, reportOf({ blocks: { blocked: 1, newest: [{ ...one!, packetsDropped: 2 }] } }))).toBe(
      false,
    );
  });
});

describe('no news is', () => {
  const cases: Record<string, Partial<NodeReportStatus>> = {
    'that time went by': { observedAt: at(70) },
    'more packets dropped': {
      policies: [{ ...policy!, packetsDropped: 99 }],
      lists: [{ ...list!, packetsDropped: 99 }],
      blocks: { blocked: 1, newest: [{ ...one!, packetsDropped: 99 }] },
    },
    'another fill of a table': { tables: [{ name: 'blocks', used: 9, max: 10 }] },
    'a loss that went on': { losses: [{ name: 'ring-full', count: 4 }] },
    'the number in a finding': { findings: [{ code: 'EventsLost', severity: 'warning', message: 'lost: 6' }] },
    'another number of a program': { interfaces: [{ ...status.interfaces![0]!, programId: 6 }] },
    'entries that expired': { lists: [{ ...list!, entries: 2 }] },
    'times that moved by a second, as the clock is read anew': {
      blocks: { blocked: 1, newest: [block('10.0.0.1', 1, 601)] },
    },
    'a block that ended when it should': { observedAt: at(600), blocks: { blocked: 0, newest: [] } },
  };
  test.each(Object.entries(cases))('%s', (_, changes) => expect(isNews(told, reportOf(changes))).toBe(false));
});

describe('news is', () => {
  const cases: Record<string, Partial<NodeReportStatus>> = {
    'another state': { state: 'Failed' },
    'break-glass': { state: 'Detached', breakGlass: 'File' },
    'another generation': { policies: [{ ...policy!, generation: 2 }] },
    'what became of a policy': { policies: [{ ...policy!, state: 'Failed', message: 'm' }] },
    'a policy more': { policies: [policy!, { ...policy!, name: 'db' }] },
    'other prefixes of a list': { lists: [{ ...list!, prefixSet: 'f' }] },
    'an interface that is no longer guarded': { interfaces: [{ name: 'eth0', mode: 'None', error: 'e' }] },
    'another finding': { findings: [{ code: 'TableFull', severity: 'error', message: 'm' }] },
    'an exception in force': { exceptions: ['x'] },
    'a source that was not blocked': { blocks: { blocked: 2, newest: [block('10.0.0.2'), one!] } },
    'the same source by another policy': { blocks: { blocked: 1, newest: [{ ...one!, policy: 'db' }] } },
    'a block that holds for longer, as of a source that is proven now': {
      blocks: { blocked: 1, newest: [block('10.0.0.1', 0, 1200)] },
    },
    'a block that was lifted before its time': { blocks: { blocked: 0, newest: [] } },
    'an agent that was started anew': { agent: { version: '1', startedAt: at(9) } },
  };
  test.each(Object.entries(cases))('%s', (_, changes) => expect(isNews(told, reportOf(changes))).toBe(true));

  test('another Node of the same name', () => {
    const owner = { ...told.metadata.ownerReferences![0]!, uid: 'other' };
    expect(isNews(told, { ...told, metadata: { name: 'n', ownerReferences: [owner] } })).toBe(true);
  });
});

describe('when more are blocked than are listed', () => {
  const older = [block('10.0.0.3', -30), block('10.0.0.4', -40)];
  const full = reportOf({ blocks: { blocked: 50, newest: [one!, ...older] } });

  test('a source that newer ones pushed out is no news', () => {
    const pushed = reportOf({ blocks: { blocked: 50, newest: [one!, older[0]!] } });
    expect(isNews(full, pushed)).toBe(false);
  });

  test('a source that is gone although older ones are listed is news', () => {
    const lifted = reportOf({ blocks: { blocked: 50, newest: older } });
    expect(isNews(full, lifted)).toBe(true);
  });
});
