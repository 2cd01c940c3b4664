import { describe, expect, it } from 'vitest';
import type { NodeBlock } from '../../reports/view.ts';
import { mergeBlocks } from './blocks.ts';

const now = Date.UTC(2026, 0, 1, 12);

function block(
  node: string,
  source: string,
  changes: Partial<NodeBlock['block']> & { sinceMs?: number; untilMs?: number } = {},
): NodeBlock {
  const { sinceMs = now, untilMs = now + 600_000, ...rest } = changes;
  return {
    node,
    sinceMs,
    untilMs,
    block: {
      source,
      policy: 'web',
      state: 'Blocked',
      probes: 15,
      ports: [22],
      lengthMs: untilMs - sinceMs,
      leftMs: 0,
      packetsDropped: 10,
      ...rest,
    },
  };
}

describe('blocks of several nodes', () => {
  it('of one source become one', () => {
    const merged = mergeBlocks([
      block('b', '192.0.2.1', { sinceMs: now - 60_000, ports: [80, 22], probes: 20 }),
      block('a', '192.0.2.1', { untilMs: now + 900_000, ports: [443] }),
    ]);
    expect(merged).toEqual([
      {
        source: '192.0.2.1',
        state: 'Blocked',
        nodes: ['a', 'b'],
        nodesTotal: 2,
        probes: 20,
        ports: [22, 80, 443],
        since: '2026-01-01T11:59:00Z',
        until: '2026-01-01T12:15:00Z',
        packetsDropped: 20,
      },
    ]);
  });

  it('name five nodes and say how many there are', () => {
    const [merged] = mergeBlocks(Array.from({ length: 40 }, (_, i) => block(`n${i}`, '192.0.2.1', { ports: [i] })));
    expect(merged).toMatchObject({ nodes: ['n0', 'n1', 'n10', 'n11', 'n12'], nodesTotal: 40 });
    expect(merged!.ports).toHaveLength(16);
  });

  it('say Blocked when any node drops', () => {
    const states = ['Spared', 'Blocked', 'WouldBlock'] as const;
    const merged = mergeBlocks(states.map((state, i) => block(`n${i}`, '192.0.2.1', { state })));
    expect(merged[0]!.state).toBe('Blocked');
  });

  it('are the newest 100, the newest first', () => {
    const blocks = Array.from({ length: 300 }, (_, i) =>
      block('a', `192.0.2.${i % 256}/${i}`, { sinceMs: now + i * 1000 }),
    );
    const merged = mergeBlocks(blocks);
    expect(merged).toHaveLength(100);
    expect(merged[0]!.source).toBe(blocks[299]!.block.source);
    expect(merged[99]!.source).toBe(blocks[200]!.block.source);
  });

  it('keep the times of before when these only waver', () => {
    const before = mergeBlocks([block('a', '192.0.2.1')]);
    const wavering = mergeBlocks([block('a', '192.0.2.1', { sinceMs: now - 2000, untilMs: now + 603_000 })], before);
    expect(wavering).toEqual(before);
    const renewed = mergeBlocks([block('a', '192.0.2.1', { untilMs: now + 700_000 })], before);
    expect(renewed[0]).toMatchObject({ since: before[0]!.since, until: '2026-01-01T12:11:40Z' });
  });
});
