import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { StoredNode } from '../stored/node.ts';
import type { StoredReport } from '../stored/report.ts';
import { aNode, aReport, type NodeParts, type ReportParts } from '../testing/objects.ts';
import { agentStartMs, ReportIndex, settleMs } from './index.ts';
import { entryOf } from './sighting.ts';
import { isInForce, type Target, type TargetKey } from './tally.ts';
import type { TargetView } from './view.ts';

const staleAfterMs = 720_000;
const wallMs = Date.UTC(2026, 5, 1);

let nowMs: number;
let told: [TargetKey, string][];
let index: ReportIndex;

beforeEach(() => {
  nowMs = 1_000_000;
  told = [];
  index = new ReportIndex({ staleAfterMs, onChange: (key, effect) => told.push([key, effect]) });
});

const node = (name: string, parts?: NodeParts) => index.setNode(aNode(name, parts));
const report = (name: string, parts?: ReportParts, ageMs = 0) =>
  index.setReport({ report: aReport(name, parts), atMs: nowMs, atWallMs: wallMs + nowMs, ageMs }, nowMs);
const web: Target = { kind: 'PortScanPolicy', name: 'web', uid: 'u1', generation: 1, nodeSelector: undefined };
const target = (changes: Partial<Target> = {}) => index.setTarget({ ...web, ...changes }, nowMs);
const view = (key: TargetKey = 'PortScanPolicy/web') => index.view(key, nowMs)!;
const reasons = ({ lagging }: TargetView) => lagging.map(({ node: name, reason }) => `${name} ${reason}`);

describe('how far the nodes are', () => {
  it('counts a node as programmed when its report says so of this very generation', () => {
    node('a');
    node('b');
    report('a', { policies: [{ name: 'web', generation: 2 }] });
    report('b', { policies: [{ name: 'web', generation: 1 }] });
    target({ generation: 2 });
    expect(view().counts).toEqual({ selected: 2, programmed: 1, failed: 1, stale: 0, noReport: 0 });
    expect(view().lagging).toEqual([{ node: 'b', reason: 'Pending', message: 'the agent speaks of generation 1' }]);
  });

  it('counts no node any more when the policy is edited, until its agent says so', () => {
    node('a');
    report('a', { policies: [{ name: 'web' }] });
    target();
    expect(view().counts.programmed).toBe(1);
    target({ generation: 2 });
    expect(view().counts.programmed).toBe(0);
    report('a', { policies: [{ name: 'web', generation: 2 }] });
    expect(view().counts.programmed).toBe(1);
  });

  it('selects by labels, and selects anew when a label changes', () => {
    node('a', { labels: { zone: 'x' } });
    node('b', { labels: { zone: 'y' } });
    target({ nodeSelector: { matchLabels: { zone: 'x' } } });
    expect(view().counts.selected).toBe(1);
    node('b', { labels: { zone: 'x' } });
    expect(view().counts.selected).toBe(2);
    node('a', { labels: {} });
    expect(reasons(view())).toEqual(['b NoReport']);
  });

  it('counts the nodes that report it where the selector cannot be read', () => {
    node('a');
    node('b');
    report('a', { policies: [{ name: 'web', state: 'Invalid' }] });
    target({ nodeSelector: 'unreadable' });
    expect(view().counts).toMatchObject({ selected: 1, failed: 1 });
  });

  it('tells why a node does not have it in force, what is wrong before what is away', () => {
    for (const name of ['a', 'b', 'c', 'd']) node(name, { ready: name !== 'd' });
    report('b', { policies: [{ name: 'web', state: 'Failed', message: 'no memory' }] });
    report('c', { policies: [{ name: 'web', state: 'Conflicted' }] }, staleAfterMs);
    report('d', { policies: [{ name: 'web', generation: 0 }] });
    target();
    expect(view().lagging).toEqual([
      { node: 'b', reason: 'Failed', message: 'no memory' },
      { node: 'c', reason: 'StaleReport', message: 'the agent has not reported for too long' },
      { node: 'd', reason: 'NodeNotReady', message: 'the node is not ready' },
      { node: 'a', reason: 'NoReport', message: 'no agent reports from there' },
    ]);
  });

  it('gives ten examples, by name', () => {
    for (let i = 0; i < 30; i++) node(`n${String(29 - i).padStart(2, '0')}`);
    target();
    expect(reasons(view())).toHaveLength(10);
    expect(reasons(view())[0]).toBe('n00 NoReport');
  });

  it('never calls a node failed that is not ready', () => {
    node('a', { ready: false });
    report('a', { policies: [{ name: 'web', generation: 1 }] });
    target({ generation: 2 });
    expect(view().counts).toMatchObject({ failed: 0, stale: 1 });
    node('a', { ready: true });
    expect(view().counts).toMatchObject({ failed: 1, stale: 0 });
  });

  it('does not count what the agent of an earlier Node of the same name said', () => {
    node('a', { uid: 'new' });
    report('a', { policies: [{ name: 'web' }], nodeUid: 'old' });
    target();
    expect(reasons(view())).toEqual(['a NoReport']);
    index.setTarget({ ...web, name: 'ssh' }, nowMs);
    report('a', { policies: [{ name: 'web' }], nodeUid: 'new' });
    expect(view().counts.programmed).toBe(1);
    expect(view('PortScanPolicy/ssh').counts).toMatchObject({ failed: 1, noReport: 0 });
  });

  it('asks of a list that the prefixes of its ConfigMaps are those wanted', () => {
    const list: Target = {
      kind: 'IpBlocklist',
      name: 'feed',
      uid: 'u',
      generation: 1,
      nodeSelector: undefined,
      prefixSet: 'd2',
    };
    node('a');
    report('a', { lists: [{ name: 'feed', prefixSet: 'd1' }] });
    index.setTarget(list, nowMs);
    expect(view('IpBlocklist/feed').lagging).toEqual([
      { node: 'a', reason: 'Pending', message: 'the agent has other prefixes in force yet' },
    ]);
    report('a', { lists: [{ name: 'feed', prefixSet: 'd2' }] });
    expect(view('IpBlocklist/feed').counts.programmed).toBe(1);
  });
});

describe('freshness', () => {
  it('ends when a report has not changed for too long, whatever it says', () => {
    node('a');
    report('a', { policies: [{ name: 'web' }] });
    target();
    nowMs += staleAfterMs - 1;
    index.sweep(nowMs);
    expect(view().counts.programmed).toBe(1);
    told = [];
    nowMs += 1;
    index.sweep(nowMs);
    expect(view().counts).toMatchObject({ programmed: 0, stale: 1 });
    expect(view().silent).toEqual({ stale: 1, noReport: 0 });
    expect(told).toEqual([['PortScanPolicy/web', 'news']]);
  });

  it('takes the age of a report into account that was there before anybody looked', () => {
    node('a');
    report('a', { policies: [{ name: 'web' }] }, staleAfterMs - 1000);
    target();
    expect(view().counts.programmed).toBe(1);
    nowMs += 1000;
    index.sweep(nowMs);
    expect(view().counts.stale).toBe(1);
    report('a', { policies: [{ name: 'web' }] });
    expect(view().counts.programmed).toBe(1);
  });

  it('does not call a node silent that has just come', () => {
    index.setNode(aNode('a'), nowMs);
    target();
    expect(view().counts.noReport).toBe(1);
    expect(view().silent.noReport).toBe(0);
    nowMs += agentStartMs;
    told = [];
    index.sweep(nowMs);
    expect(view().silent.noReport).toBe(1);
    expect(told).toEqual([['PortScanPolicy/web', 'news']]);
  });

  it('does not call a node silent that is not ready', () => {
    node('a', { ready: false });
    target();
    expect(view().counts.noReport).toBe(1);
    expect(view().silent).toEqual({ stale: 0, noReport: 0 });
  });
});

describe('a policy that is deleted and made again under the same name', () => {
  it('is not in force because its namesake was', () => {
    node('a');
    report('a', { policies: [{ name: 'web' }] });
    target();
    nowMs += 1000;
    index.deleteTarget('PortScanPolicy/web', nowMs);
    nowMs += 1000;
    target({ uid: 'u2' });
    expect(reasons(view())).toEqual(['a Pending']);
    nowMs += 500;
    report('a', { policies: [{ name: 'web' }] });
    expect(view().counts.programmed).toBe(1);
  });

  it('believes the report in the end, when the agent had no news to tell', () => {
    node('a');
    report('a', { policies: [{ name: 'web' }] });
    target();
    nowMs += 1000;
    target({ uid: 'u2' });
    expect(view().counts.programmed).toBe(0);
    nowMs += settleMs;
    index.sweep(nowMs);
    expect(view().counts.programmed).toBe(1);
  });
});

describe('counters and blocks', () => {
  it('are added up over the nodes that report', () => {
    for (const name of ['a', 'b', 'c']) node(name);
    report('a', { policies: [{ name: 'web', blocked: 3, packetsDropped: 100 }] });
    report('b', { policies: [{ name: 'web', blocked: 4, spared: 1, packetsDropped: 50 }] });
    report('c', { policies: [{ name: 'web', blocked: 5, packetsDropped: 7 }] }, staleAfterMs);
    target();
    // A stale node's blocks may have ended; the packets that it dropped stay dropped.
    expect(view().sums).toEqual({ blocked: 7, wouldBlock: 0, spared: 1, packetsDropped: 157 });
    report('a', { policies: [{ name: 'web', blocked: 1, packetsDropped: 110 }] });
    expect(view().sums).toMatchObject({ blocked: 5, packetsDropped: 167 });
    index.deleteNode('a');
    expect(view().sums).toMatchObject({ blocked: 4, packetsDropped: 57 });
  });

  it('end by the clock of the operator when the agent does not say so', () => {
    node('a');
    const blocks = [
      { source: '192.0.2.1', secondsLeft: 60 },
      { source: '192.0.2.2', secondsLeft: 600 },
    ];
    report('a', { policies: [{ name: 'web', blocked: 5 }], blocks });
    target();
    expect(view().nextEndMs).toBe(nowMs + 60_000);
    nowMs += 60_000;
    expect(view().blocks.map(({ block }) => block.source)).toEqual(['192.0.2.2']);
    expect(view().sums.blocked).toBe(4);
  });

  it('begin and end by the wall clock of the operator, whatever that of the node says', () => {
    node('a');
    const [since, until] = ['2001-01-01T00:00:00Z', '2001-01-01T00:10:00Z'];
    report(
      'a',
      { policies: [{ name: 'web' }], blocks: [{ source: '192.0.2.1', since, until, secondsLeft: 540 }] },
      30_000,
    );
    target();
    const writtenMs = wallMs + nowMs - 30_000;
    expect(view().blocks).toMatchObject([{ sinceMs: writtenMs - 60_000, untilMs: writtenMs + 540_000 }]);
  });

  it('are told at once when a source is new, and later when only counters are', () => {
    node('a');
    target();
    const policies = [{ name: 'web', blocked: 1, packetsDropped: 1 }];
    report('a', { policies, blocks: [{ source: '192.0.2.1' }] });
    told = [];
    report('a', { policies: [{ name: 'web', blocked: 1, packetsDropped: 9 }], blocks: [{ source: '192.0.2.1' }] });
    expect(told).toEqual([['PortScanPolicy/web', 'counters']]);
    told = [];
    report('a', { policies, blocks: [{ source: '192.0.2.1' }, { source: '192.0.2.2' }] });
    expect(told).toEqual([['PortScanPolicy/web', 'news']]);
  });

  it('say nothing when a report is only renewed', () => {
    node('a');
    target();
    report('a', { policies: [{ name: 'web' }] });
    told = [];
    report('a', { policies: [{ name: 'web' }] });
    node('a');
    expect(told).toEqual([]);
  });
});

describe('trouble', () => {
  const full = { code: 'TableFull', severity: 'error', message: 'the table blocks holds 64 of 64 entries' };
  const foreign = { code: 'ForeignXdpProgram', severity: 'error', message: 'eth0 has program 7', interface: 'eth0' };

  it('of a table is told with every object of the node, or with the one that found no room', () => {
    node('a');
    report('a', { policies: [{ name: 'web' }, { name: 'ssh' }], findings: [full] });
    target();
    index.setTarget({ ...web, name: 'ssh' }, nowMs);
    expect(view().tableFull).toEqual({ nodes: 1, example: 'a', message: full.message });
    report('a', {
      policies: [{ name: 'web' }, { name: 'ssh' }],
      findings: [{ ...full, object: 'PortScanPolicy/ssh' }],
    });
    expect(view().tableFull).toBeUndefined();
    expect(view('PortScanPolicy/ssh').tableFull).toBeDefined();
  });

  it('of a foreign program is told where it keeps the object from holding', () => {
    node('a');
    node('b');
    report('a', { policies: [{ name: 'web', state: 'Failed' }], findings: [foreign] });
    report('b', { policies: [{ name: 'web' }], findings: [foreign] });
    target();
    expect(view().foreignProgram).toEqual({ nodes: 1, example: 'a', message: foreign.message });
  });

  it('is news when it begins and when it ends', () => {
    node('a');
    target();
    report('a', { policies: [{ name: 'web' }] });
    told = [];
    report('a', { policies: [{ name: 'web' }], findings: [full] });
    report('a', { policies: [{ name: 'web' }] });
    expect(told).toEqual([
      ['PortScanPolicy/web', 'news'],
      ['PortScanPolicy/web', 'news'],
    ]);
  });

  it('by break-glass is told', () => {
    node('a');
    report('a', { policies: [{ name: 'web', state: 'Failed' }], state: 'Detached' });
    target();
    expect(view().detached).toMatchObject({ nodes: 1, example: 'a', message: 'detached by break-glass' });
    report('a', { policies: [{ name: 'web', state: 'Failed' }], state: 'Detached', breakGlass: 'Uninstall' });
    expect(view().detached).toMatchObject({ message: 'detached, since Portcullis is being uninstalled' });
  });
});

describe('whatever happens in whatever order', () => {
  const names = ['a', 'b'];
  const policies = ['web', 'ssh'];
  const anyStep = fc.oneof(
    fc.record({
      do: fc.constant('node' as const),
      name: fc.constantFrom(...names),
      zone: fc.constantFrom('x', 'y'),
      ready: fc.boolean(),
      uid: fc.constantFrom('1', '2'),
    }),
    fc.record({ do: fc.constant('no node' as const), name: fc.constantFrom(...names) }),
    fc.record({
      do: fc.constant('report' as const),
      name: fc.constantFrom(...names),
      nodeUid: fc.constantFrom('1', '2'),
      policy: fc.constantFrom(...policies),
      generation: fc.integer({ min: 1, max: 2 }),
      blocked: fc.integer({ min: 0, max: 3 }),
      ageMs: fc.constantFrom(0, staleAfterMs),
    }),
    fc.record({ do: fc.constant('no report' as const), name: fc.constantFrom(...names) }),
    fc.record({
      do: fc.constant('policy' as const),
      policy: fc.constantFrom(...policies),
      generation: fc.integer({ min: 1, max: 2 }),
      zone: fc.constantFrom('x', 'y', undefined),
    }),
    fc.record({ do: fc.constant('no policy' as const), policy: fc.constantFrom(...policies) }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1000, staleAfterMs) }),
  );

  it('the sums are those of a count from scratch, and every change of them was told', () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 40, size: 'max' }), (steps) => {
        nowMs = 1_000_000;
        const changed = new Set<TargetKey>();
        index = new ReportIndex({ staleAfterMs, onChange: (key) => changed.add(key) });
        const nodes = new Map<string, StoredNode>();
        const reports = new Map<string, { report: StoredReport; freshUntilMs: number }>();
        const targets = new Map<TargetKey, Target>();
        const shown = new Map<TargetKey, string>();
        for (const step of steps) {
          changed.clear();
          if (step.do === 'node') {
            const made = aNode(step.name, { labels: { zone: step.zone }, ready: step.ready, uid: step.uid });
            nodes.set(step.name, made);
            index.setNode(made);
          } else if (step.do === 'no node') {
            nodes.delete(step.name);
            index.deleteNode(step.name);
          } else if (step.do === 'report') {
            const { name, nodeUid, policy, generation, blocked, ageMs } = step;
            const made = aReport(name, { nodeUid, policies: [{ name: policy, generation, blocked }] });
            reports.set(name, { report: made, freshUntilMs: nowMs - ageMs + staleAfterMs });
            index.setReport({ report: made, atMs: nowMs, atWallMs: wallMs, ageMs }, nowMs);
          } else if (step.do === 'no report') {
            reports.delete(step.name);
            index.deleteReport(step.name);
          } else if (step.do === 'policy') {
            const nodeSelector = step.zone === undefined ? undefined : { matchLabels: { zone: step.zone } };
            const wanted: Target = { ...web, name: step.policy, generation: step.generation, nodeSelector };
            targets.set(`PortScanPolicy/${step.policy}`, wanted);
            index.setTarget(wanted, nowMs);
          } else if (step.do === 'no policy') {
            targets.delete(`PortScanPolicy/${step.policy}`);
            index.deleteTarget(`PortScanPolicy/${step.policy}`, nowMs);
            shown.delete(`PortScanPolicy/${step.policy}`);
            // A namesake within the minute would have to settle.
            nowMs += 61_000;
            index.sweep(nowMs);
          } else {
            nowMs += step.ms;
            index.sweep(nowMs);
          }
          for (const [key, wanted] of targets) {
            const { counts, sums } = index.view(key, nowMs)!;
            const expected = { selected: 0, programmed: 0, failed: 0, stale: 0, noReport: 0 };
            let blocked = 0;
            for (const [name, made] of nodes) {
              const { zone } = made.metadata.labels;
              const wantedZone = (wanted.nodeSelector as { matchLabels: { zone: string } } | undefined)?.matchLabels
                .zone;
              if (wantedZone !== undefined && wantedZone !== zone) continue;
              expected.selected++;
              const held = reports.get(name);
              if (held === undefined || held.report.ownerNodeUid !== made.metadata.uid) expected.noReport++;
              else if (held.freshUntilMs <= nowMs) expected.stale++;
              else {
                const said = { report: held.report, atMs: 0, atWallMs: 0, ageMs: 0 };
                const entry = entryOf(said, 'PortScanPolicy', wanted.name);
                if (isInForce(wanted, entry)) expected.programmed++;
                else if (made.isReady) expected.failed++;
                else expected.stale++;
                // A node that is not ready and lags is not believed either.
                if (isInForce(wanted, entry) || made.isReady) blocked += entry?.blocked ?? 0;
              }
            }
            expect(counts).toEqual(expected);
            expect(sums.blocked).toBe(blocked);
            const now = JSON.stringify([counts, sums]);
            if (shown.get(key) !== now) expect(changed).toContain(key);
            shown.set(key, now);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});
