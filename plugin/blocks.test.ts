import { describe, expect, test } from 'vitest';
import type { BlockReport } from '../api/types/node-report.ts';
import type { KubeObject } from '../kube/objects.ts';
import { blocksOf, mergeBlocks, seenReport } from './blocks.ts';

const serverNow = Date.UTC(2030, 0, 1, 12);
const iso = (ms: number) => new Date(ms).toISOString().replace('.000Z', 'Z');

/** A report that was written so long ago, on a node whose clock is off by so much. */
function report(options: { ageMs?: number; skewMs?: number; node?: string; blocks?: Partial<BlockReport>[] } = {}) {
  const { ageMs = 0, skewMs = 0, node = 'n1', blocks = [{}] } = options;
  const writtenMs = serverNow - ageMs;
  const nodeMs = writtenMs + skewMs;
  const newest = blocks.map((block) => ({
    source: '198.51.100.200',
    policy: 'web',
    state: 'Blocked',
    since: iso(nodeMs - 60_000),
    until: iso(nodeMs + 540_000),
    secondsLeft: 540,
    ...block,
  }));
  return {
    metadata: { name: node, managedFields: [{ manager: 'portcullis-agent', time: iso(writtenMs) }] },
    status: { observedAt: iso(nodeMs), state: 'Enforcing', blocks: { blocked: newest.length, newest } },
  } as unknown as KubeObject;
}

describe('times of a block', () => {
  test.each([0, 3_600_000, -3_600_000])(
    "count from now by the server's clock, though the node's is off by %i ms",
    (skewMs) => {
      const [block] = blocksOf(report({ ageMs: 30_000, skewMs }), serverNow);
      expect(block).toMatchObject({ startedAgoMs: 90_000, endsInMs: 510_000 });
    },
  );

  test('a block that is over by now is left out', () => {
    expect(blocksOf(report({ ageMs: 541_000 }), serverNow)).toEqual([]);
  });

  test('without secondsLeft the time between observedAt and until counts', () => {
    const [block] = blocksOf(report({ blocks: [{ secondsLeft: undefined! }] }), serverNow);
    expect(block).toMatchObject({ endsInMs: 540_000 });
  });
});

test('what is no address is not shown: whoever holds an agent token writes what he likes', () => {
  expect(blocksOf(report({ blocks: [{ source: '\x1b[31m' }, { source: 'example.com' }] }), serverNow)).toEqual([]);
});

test('a report is stale when two renewals were missed', () => {
  expect(seenReport(report({ ageMs: 700_000 }), serverNow)).toMatchObject({ ageMs: 700_000, isStale: false });
  expect(seenReport(report({ ageMs: 730_000 }), serverNow).isStale).toBe(true);
  expect(seenReport({ metadata: { name: 'n' } }, serverNow)).toMatchObject({ ageMs: undefined, isStale: false });
});

test('blocks of one source are one line over all nodes, the newest source first', () => {
  const blocks = [
    ...blocksOf(report({ node: 'n2', blocks: [{ ports: [22, 80], probes: 15, packetsDropped: 5 }] }), serverNow),
    ...blocksOf(
      report({ node: 'n1', ageMs: 10_000, blocks: [{ ports: [80, 443], probes: 20, packetsDropped: 7 }] }),
      serverNow,
    ),
    ...blocksOf(report({ node: 'n1', blocks: [{ source: '203.0.113.9', since: iso(serverNow - 1000) }] }), serverNow),
    ...blocksOf(report({ node: 'n3', blocks: [{ state: 'Spared' }] }), serverNow),
  ];
  const merged = mergeBlocks(blocks);
  expect(merged.map(({ source, state }) => [source, state])).toEqual([
    ['203.0.113.9', 'Blocked'],
    ['198.51.100.200', 'Spared'],
    ['198.51.100.200', 'Blocked'],
  ]);
  expect(merged[2]).toMatchObject({
    nodes: ['n1', 'n2'],
    ports: [22, 80, 443],
    probes: 20,
    startedAgoMs: 70_000,
    endsInMs: 540_000,
    packetsDropped: 12,
  });
});
