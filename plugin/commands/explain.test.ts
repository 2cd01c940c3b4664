import { describe, expect, test } from 'vitest';
import { parsePrefixOrAddress } from '../../api/cidr.ts';
import type { NodeBlock } from '../blocks.ts';
import type { ExceptionHit, ListHit } from '../coverage.ts';
import { explanationOf, formatExplanation, type SourceFacts } from './explain.ts';

const nowMs = Date.UTC(2030, 0, 1, 12);
const block: NodeBlock = {
  node: 'n1',
  source: '198.51.100.200',
  policy: 'web',
  state: 'Blocked',
  proven: true,
  interface: 'eth0',
  probes: 15,
  ports: [443, 80],
  startedAgoMs: 8000,
  endsInMs: 592_000,
  packetsDropped: 985,
};
const list: ListHit = {
  name: 'bad',
  mode: 'Enforce',
  traffic: 'All',
  covers: true,
  entries: [{ cidr: '198.51.100.0/24', reason: 'botnet' }],
  fromConfigMaps: [],
  except: [],
  programmed: 'True',
  nodes: '2/2',
  isByHand: false,
};
const exception: ExceptionHit = {
  name: 'let-in',
  cidr: '198.51.100.200/32',
  covers: true,
  policies: [],
  expiresAt: '2030-01-01T13:00:00Z',
};
const nothing: SourceFacts = {
  source: parsePrefixOrAddress('198.51.100.200')!,
  nowMs,
  reports: ['n1', 'n2'].map((node) => ({ node, state: 'Enforcing', isStale: false, exceptions: [] })),
  blocks: [],
  policies: [{ name: 'web', mode: 'Enforce', allow: [] }],
  lists: [],
  exceptions: [],
  neverBlock: [],
  missing: [],
};
const explained = (changes: Partial<SourceFacts>) => explanationOf({ ...nothing, ...changes });

describe('the verdict follows the order in which a node decides', () => {
  const everything: Partial<SourceFacts> = {
    blocks: [block],
    lists: [list],
    exceptions: [exception],
    neverBlock: [{ cidr: '198.51.100.200/32', holds: 'Nodes', covers: true }],
  };

  test('the never-block set first', () => {
    expect(explained(everything)).toMatchObject({
      verdict: 'NeverBlocked',
      summary: '198.51.100.200 is the address of a node (198.51.100.200/32): it is never dropped.',
    });
  });

  test('then lists, which no exception weakens', () => {
    const { verdict, summary, whatToDo } = explained({ ...everything, neverBlock: [] });
    expect(verdict).toBe('Listed');
    expect(summary).toContain('all its packets are dropped by IpBlocklist bad');
    expect(whatToDo[0]).toContain('spec.except. A SourceException does not weaken a list');
  });

  test.each<[string, Partial<ListHit>]>([
    ['in mode Monitor', { mode: 'Monitor' }],
    ['that spares it', { except: [{ cidr: '198.51.100.200/32' }] }],
    ['that has only parts of it', { covers: false }],
  ])('a list %s decides nothing', (_, changes) => {
    expect(explained({ lists: [{ ...list, ...changes }] }).verdict).toBe('None');
  });

  test('then exceptions', () => {
    expect(explained({ exceptions: [exception], blocks: [block] })).toMatchObject({
      verdict: 'Excepted',
      summary: expect.stringContaining('SourceException let-in stands, which ends in 1h'),
      whatToDo: expect.arrayContaining([expect.stringContaining('younger than the reports')]),
    });
  });

  test('but not one for another policy', () => {
    const other = { ...exception, policies: ['db'] };
    expect(explained({ exceptions: [other], blocks: [block] }).verdict).toBe('Blocked');
  });

  test('then blocks', () => {
    expect(explained({ blocks: [block, { ...block, node: 'n2', endsInMs: 60_000 }] })).toMatchObject({
      verdict: 'Blocked',
      summary:
        '198.51.100.200 is blocked on 2 of 2 nodes by web; the last block ends in 9m52s unless it goes on scanning.',
      whatToDo: [expect.stringContaining('kubectl portcullis unblock 198.51.100.200 --for 1h')],
    });
  });

  test('what drops nothing is told as such', () => {
    expect(explained({ blocks: [{ ...block, state: 'WouldBlock' }] }).verdict).toBe('WouldBlock');
    expect(explained({ blocks: [{ ...block, state: 'Spared' }] })).toMatchObject({
      verdict: 'Spared',
      whatToDo: [expect.stringContaining('scans from inside')],
    });
    const allow = [{ name: 'web', mode: 'Enforce', allow: [{ cidr: '198.51.100.0/24', reason: 'partner' }] }];
    expect(explained({ policies: allow })).toMatchObject({ verdict: 'Allowed', allowedBy: [{ policy: 'web' }] });
    expect(explained({})).toMatchObject({ verdict: 'None', whatToDo: [] });
  });
});

describe('what to do', () => {
  test('about a block of the plugin: delete its list', () => {
    const [advice] = explained({ lists: [{ ...list, name: 'block-198.51.100.0-24', isByHand: true }] }).whatToDo;
    expect(advice).toContain('kubectl delete ipblocklist block-198.51.100.0-24');
  });

  test('about an entry of a ConfigMap: take it out there', () => {
    const hit = { ...list, entries: [], fromConfigMaps: ['198.51.100.0/24'] };
    expect(explained({ lists: [hit] }).whatToDo[0]).toContain('ConfigMap');
  });

  test('about a block by hand on a node: undo it there', () => {
    const { whatToDo } = explained({ blocks: [{ ...block, policy: '(manual)' }] });
    expect(whatToDo.join()).toContain('portcullis-agent unblock on that node');
  });

  test('nodes that are detached, silent or not there are named', () => {
    const reports = [{ node: 'n9', state: 'Detached' as const, isStale: true, exceptions: [] }];
    const { whatToDo } = explained({ reports });
    expect(whatToDo.join()).toContain('Nothing is dropped on n9');
    expect(whatToDo.join()).toContain('1 report is old');
    expect(explained({ reports: [] }).whatToDo).toEqual(['No node reports: is the agent running?']);
  });
});

test('the text has a table for everything that concerns the source', () => {
  const explanation = explained({
    blocks: [block],
    lists: [
      {
        ...list,
        fromConfigMaps: ['198.51.0.0/16'],
        except: [{ cidr: '198.51.100.200/32', expiresAt: '2030-01-01T12:30:00Z' }],
      },
    ],
    exceptions: [{ ...exception, policies: ['db'], reason: 'a\x1bb' }],
    reports: [{ node: 'n1', state: 'Enforcing', isStale: false, exceptions: ['let-in'] }],
    missing: [{ what: 'ClusterFacts', reason: 'you have no right to read them' }],
  });
  expect(formatExplanation(explanation, nowMs)).toBe(
    `198.51.100.200 is blocked on 1 of 1 node by web; the last block ends in 9m52s unless it goes on scanning.

Blocks for scanning:
  SOURCE          POLICY  NODE  STATE    PROBES  PORTS   SINCE   UNTIL     DROPPED  INTERFACE  PROVEN
  198.51.100.200  web     n1    Blocked      15  443,80  8s ago  in 9m52s      985  eth0       yes

IpBlocklists:
  LIST  MODE     ENTRY              FROM       UNTIL     PROGRAMMED  NODES  REASON
  bad   Enforce  198.51.100.0/24    spec       for ever  True        2/2    botnet
  bad   Enforce  198.51.0.0/16      ConfigMap  for ever  True        2/2    -
  bad   Enforce  198.51.100.200/32  except     in 30m    True        2/2    -

SourceExceptions:
  NAME    SOURCE             POLICIES  UNTIL  NODES  REASON
  let-in  198.51.100.200/32  db        in 1h      1  a\\u{1b}b

What to do:
  To let it in for an hour: kubectl portcullis unblock 198.51.100.200 --for 1h. For good: add it to spec.allow of the policy.
  To end the exception early: kubectl delete sourceexception let-in.

Not looked at:
  ClusterFacts: you have no right to read them
`,
  );
});
