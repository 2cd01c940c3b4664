import { addressBits, type Prefix, parsePrefix } from '../../../api/cidr.ts';
import type { ClusterFactsSpec } from '../../../api/types/cluster-facts.ts';
import type { ClusterFacts } from '../../../api/types.ts';
import type { KubeObject } from '../../../kube/objects.ts';
import type { MinLengths } from './fold-prefixes.ts';

/** Sorts of prefixes, and how their slices are named: `nodes-0`, `nodes-1` and so on. */
export const sliceNames = {
  Nodes: 'nodes',
  PodRanges: 'pod-ranges',
  ServiceRanges: 'service-ranges',
  ApiServer: 'api-server',
  Configured: 'configured',
} as const satisfies Partial<Record<ClusterFactsSpec['holds'], string>>;

export type Holds = keyof typeof sliceNames;

/** The slice about the cluster. */
export const clusterName = 'cluster';

/** What is known of the ranges of pods and services, for the condition Degraded of policies. */
export interface FactsState {
  /** Every node tells the ranges of its pods. */
  readonly podRangesKnown: boolean;
  readonly nodesWithoutPodRanges: number;
  /** Names of some of these nodes. */
  readonly examples: readonly string[];
  /** False on a server that has no ServiceCIDR objects. */
  readonly serviceRangesKnown: boolean;
}

export type FactsSlices = ReadonlyMap<string, ClusterFactsSpec>;

/** All slices by name; a sort that is not known has none. */
export function wantedSlices(
  sorts: ReadonlyMap<Holds, ReadonlyMap<number, readonly string[]>>,
  cluster: { readonly nodeCount: number; readonly complete: boolean },
): FactsSlices {
  const wanted = new Map<string, ClusterFactsSpec>();
  for (const [holds, slices] of sorts) {
    for (const [slice, prefixes] of slices) {
      wanted.set(`${sliceNames[holds]}-${slice}`, { holds, count: prefixes.length, prefixes: [...prefixes] });
    }
  }
  wanted.set(clusterName, { holds: 'Cluster', count: 0, prefixes: [], ...cluster });
  return wanted;
}

/** Slices of ours that hold nothing any more. What somebody else made under another name is left alone. */
export function surplusSlices<T extends KubeObject>(
  stored: Iterable<T>,
  wanted: FactsSlices,
  known: ReadonlySet<Holds>,
): T[] {
  return [...stored].filter(({ metadata: { name } }) => {
    const slice = sliceOf(name);
    return slice !== undefined && known.has(slice.holds) && !wanted.has(name);
  });
}

export function sliceOf(name: string): { readonly holds: Holds; readonly slice: number } | undefined {
  const match = /^(.+)-(0|[1-9]\d{0,2})$/.exec(name);
  const sort = Object.entries(sliceNames).find(([, base]) => base === match?.[1]);
  return match && sort ? { holds: sort[0] as Holds, slice: Number(match[2]) } : undefined;
}

/** The prefixes of a slice as it is in the store, less what this operator would not have written. */
export function usablePrefixes({ spec }: ClusterFacts, minLengths: MinLengths): Prefix[] {
  const prefixes: readonly unknown[] = Array.isArray(spec?.prefixes) ? spec.prefixes : [];
  return prefixes
    .map((text) => (typeof text === 'string' ? parsePrefix(text) : undefined))
    .filter((prefix) => prefix !== undefined)
    .filter((prefix) => prefix.length >= minLengths[prefix.family]);
}

/**
 * The count of nodes as it is told to the agents: a power of two, so that it seldom changes, and it shrinks only when there
 * are clearly fewer, so that a cluster that breathes around one does not change it all the time.
 */
export function roundedNodeCount(nodes: number, before: number | undefined): number {
  const rounded = 2 ** Math.ceil(Math.log2(Math.max(nodes, 1)));
  return before !== undefined && rounded < before && nodes > before * 0.4 ? before : rounded;
}

/**
 * Whether the administrator has given ranges and not only addresses: these are taken for those of the pods, since a network
 * plugin with an IPAM of its own never tells them.
 */
export function givesRanges(neverBlock: readonly string[]): boolean {
  const prefixes = neverBlock.map((text) => parsePrefix(text));
  return prefixes.some((prefix) => prefix !== undefined && prefix.length < addressBits(prefix.family));
}
