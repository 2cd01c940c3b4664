import { addressBits, parsePrefix } from '../../api/cidr.ts';
import type { Concern } from '../status/conditions.ts';
import type { FactsState } from './cluster-facts/reconcile.ts';

/** Where the state of what is known of the cluster comes from. */
export interface Facts {
  /** Undefined until the cluster was looked at. */
  factsState(): FactsState | undefined;
  subscribe(listener: () => void): () => void;
}

/**
 * What is unknown of the cluster and may get pods blocked, said with every policy and list. Where the administrator has given
 * ranges, these are taken for those of the pods: a network plugin with an IPAM of its own never tells them.
 */
export function factsConcerns(state: FactsState | undefined, neverBlock: readonly string[]): Concern[] {
  if (state === undefined || state.podRangesKnown || neverBlock.some(isRange)) return [];
  const { nodesWithoutPodRanges: count, examples } = state;
  const where = examples.length === 0 ? '' : `, such as ${examples[0]}`;
  return [
    {
      reason: 'FactsUnknown',
      message: `The ranges of pods are not known on ${count} ${count === 1 ? 'node' : 'nodes'}${where}: give them to the operator by --never-block, so that no pod is ever blocked.`,
    },
  ];
}

function isRange(text: string): boolean {
  const prefix = parsePrefix(text);
  return prefix !== undefined && prefix.length < addressBits(prefix.family);
}
