import { describe, expect, it } from 'vitest';
import { formatPrefix } from '../../../api/cidr.ts';
import type { ClusterFacts } from '../../../api/types.ts';
import {
  givesRanges,
  type Holds,
  roundedNodeCount,
  sliceOf,
  surplusSlices,
  usablePrefixes,
  wantedSlices,
} from './reconcile.ts';

describe('the slices of ClusterFacts', () => {
  it('are named for what they hold, with one about the cluster', () => {
    const sorts = new Map<Holds, ReadonlyMap<number, readonly string[]>>([
      [
        'Nodes',
        new Map([
          [0, ['192.0.2.1/32']],
          [2, []],
        ]),
      ],
      ['PodRanges', new Map([[0, ['10.244.0.0/16']]])],
    ]);
    expect(Object.fromEntries(wantedSlices(sorts, { nodeCount: 4, complete: false }))).toEqual({
      'nodes-0': { holds: 'Nodes', count: 1, prefixes: ['192.0.2.1/32'] },
      'nodes-2': { holds: 'Nodes', count: 0, prefixes: [] },
      'pod-ranges-0': { holds: 'PodRanges', count: 1, prefixes: ['10.244.0.0/16'] },
      cluster: { holds: 'Cluster', count: 0, prefixes: [], nodeCount: 4, complete: false },
    });
  });

  it('are deleted when they hold nothing, but not those of a sort that is unknown, nor what others made', () => {
    const stored = ['nodes-0', 'nodes-1', 'service-ranges-0', 'cluster', 'nodes-x', 'mine'].map((name) => ({
      metadata: { name },
    }));
    const wanted = wantedSlices(new Map([['Nodes', new Map([[0, []]])]]), { nodeCount: 1, complete: true });
    expect(surplusSlices(stored, wanted, new Set(['Nodes']))).toEqual([{ metadata: { name: 'nodes-1' } }]);
  });

  it.each([
    ['pod-ranges-12', { holds: 'PodRanges', slice: 12 }],
    ['nodes-0', { holds: 'Nodes', slice: 0 }],
    ['nodes-01', undefined],
    ['nodes-', undefined],
    ['cluster', undefined],
    ['nodes-1000', undefined],
    ['toString-0', undefined],
  ])('%s is known by its name', (name, expected) => {
    expect(sliceOf(name)).toEqual(expected);
  });

  it('are taken over less what this operator would not have written', () => {
    const facts = {
      spec: { prefixes: ['0.0.0.0/0', 'x', 7, '10.0.0.0/8', '192.0.2.1/32'] },
    } as unknown as ClusterFacts;
    expect(usablePrefixes(facts, { 4: 8, 6: 32 }).map(formatPrefix)).toEqual(['10.0.0.0/8', '192.0.2.1/32']);
    expect(usablePrefixes({} as ClusterFacts, { 4: 8, 6: 32 })).toEqual([]);
  });
});

describe('the count of nodes', () => {
  it.each([
    [0, 1],
    [1, 1],
    [3, 4],
    [4, 4],
    [5, 8],
    [5000, 8192],
  ])('%i is told as %i', (nodes, expected) => {
    expect(roundedNodeCount(nodes, undefined)).toBe(expected);
  });

  it('does not change all the time around a power of two', () => {
    let told: number | undefined;
    const seen = [128, 129, 127, 128, 130, 110].map((nodes) => {
      told = roundedNodeCount(nodes, told);
      return told;
    });
    expect(seen).toEqual([128, 256, 256, 256, 256, 256]);
    expect(roundedNodeCount(100, 256)).toBe(128);
  });
});

describe('the ranges of pods', () => {
  it('are given where the administrator names a range, not where only addresses', () => {
    expect(givesRanges(['10.244.0.0/16'])).toBe(true);
    expect(givesRanges(['192.0.2.1/32', '2001:db8::1/128'])).toBe(false);
    expect(givesRanges([])).toBe(false);
  });
});
