import type { PolicyBlock, PortScanPolicyStatus } from '../../../api/types/port-scan-policy.ts';
import type { TargetView } from '../../reports/view.ts';
import {
  accepted,
  type Concern,
  conditionsOf,
  degraded,
  nodeCounts,
  programmed,
  summaryOf,
} from '../../status/conditions.ts';
import type { StoredPolicy } from '../../stored/policy-object.ts';
import { mergeBlocks } from './blocks.ts';

const maxInt32 = 2 ** 31 - 1;

/** What the status of a policy is to say. `before`: what it says; `concerns`: what is not about a node. */
export function policyStatus(
  policy: StoredPolicy,
  view: TargetView,
  before: PortScanPolicyStatus,
  concerns: readonly Concern[],
  wallMs: number,
): PortScanPolicyStatus {
  const { generation } = policy.metadata;
  const { sums } = view;
  const statements = {
    Accepted: accepted(policy.refusal, 'policy'),
    Programmed: programmed(view, policy.refusal),
    Degraded: degraded(view, concerns),
  };
  const blocks = mergeBlocks(view.blocks, Array.isArray(before.blocks) ? before.blocks : []);
  return {
    observedGeneration: generation,
    conditions: conditionsOf(before.conditions, statements, generation, wallMs),
    nodes: nodeCounts(view),
    summary: summaryOf(view),
    blocked: {
      sources: int32(sums.blocked),
      ...(sums.wouldBlock > 0 ? { wouldBlock: int32(sums.wouldBlock) } : {}),
      ...(sums.spared > 0 ? { spared: int32(sums.spared) } : {}),
      packetsDropped: Math.min(sums.packetsDropped, Number.MAX_SAFE_INTEGER),
    },
    ...(blocks.length > 0 ? { blocks } : {}),
  };
}

/** Blocks of sources that `before` does not tell of. */
export function newBlocks(before: PortScanPolicyStatus, after: PortScanPolicyStatus): PolicyBlock[] {
  const known = new Map((before.blocks ?? []).map(({ source, state }) => [source, state]));
  return (after.blocks ?? []).filter(({ source, state }) => known.get(source) !== state);
}

const int32 = (count: number): number => Math.min(count, maxInt32);

/** What is left of a status when all is taken away that may change without being news. */
export function newsOfPolicy(status: PortScanPolicyStatus): unknown {
  const { blocked: _, blocks = [], ...rest } = status;
  // In any order: which of two blocks of the same second is newer is no news.
  return { ...rest, blocks: blocks.map(({ source, state, nodesTotal }) => `${source} ${state} ${nodesTotal}`).sort() };
}
