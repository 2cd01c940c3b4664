import type { PolicyBlock } from '../../../api/types/port-scan-policy.ts';
import type { NodeBlock } from '../../reports/view.ts';

const maxBlocks = 100;
const maxNodes = 5;
const maxPorts = 16;
const maxInt32 = 2 ** 31 - 1;

/** Clocks, and the time that a report takes, differ by less: a time that only wavers is not written anew. */
const sameTimeMs = 10_000;

/** Only Blocked drops, so it is said when any node does. */
const weight = { Blocked: 2, WouldBlock: 1, Spared: 0 } as const;

interface Merged {
  readonly source: string;
  state: PolicyBlock['state'];
  readonly nodes: Set<string>;
  probes: number;
  readonly ports: Set<number>;
  sinceMs: number;
  /** When the newest of them began. */
  newestMs: number;
  untilMs: number;
  packetsDropped: number;
}

/**
 * The newest blocks, one for each source, the newest first. `before` is what the status said: times that it has and that are
 * about the same stay as they are, so that nothing is written because of them.
 */
export function mergeBlocks(blocks: readonly NodeBlock[], before: readonly PolicyBlock[] = []): PolicyBlock[] {
  const bySource = new Map<string, Merged>();
  for (const block of blocks) merge(bySource, block);
  const earlier = new Map(before.map((block) => [block.source, block]));
  const newest = [...bySource.values()]
    .sort((a, b) => b.newestMs - a.newestMs || Number(a.source > b.source) - Number(a.source < b.source))
    .slice(0, maxBlocks);
  const written = newest.map((merged) => ({ merged, block: blockOf(merged, earlier.get(merged.source)) }));
  return written.map(({ block }) => block);
}

function merge(bySource: Map<string, Merged>, { node, block, sinceMs, untilMs }: NodeBlock): void {
  const merged = bySource.get(block.source);
  if (merged === undefined) {
    const { source, state, probes, packetsDropped } = block;
    bySource.set(source, {
      source,
      state,
      nodes: new Set([node]),
      probes,
      ports: new Set(block.ports),
      sinceMs,
      newestMs: sinceMs,
      untilMs,
      packetsDropped,
    });
    return;
  }
  if (weight[block.state] > weight[merged.state]) merged.state = block.state;
  merged.nodes.add(node);
  merged.probes = Math.max(merged.probes, block.probes);
  for (const port of block.ports) if (merged.ports.size < maxPorts) merged.ports.add(port);
  merged.sinceMs = Math.min(merged.sinceMs, sinceMs);
  merged.newestMs = Math.max(merged.newestMs, sinceMs);
  merged.untilMs = Math.max(merged.untilMs, untilMs);
  merged.packetsDropped += block.packetsDropped;
}

function blockOf(merged: Merged, before: PolicyBlock | undefined): PolicyBlock {
  const { source, state, probes, packetsDropped } = merged;
  return {
    source,
    state,
    nodes: [...merged.nodes].sort().slice(0, maxNodes),
    nodesTotal: merged.nodes.size,
    ...(probes > 0 ? { probes: Math.min(probes, maxInt32) } : {}),
    ...(merged.ports.size > 0 ? { ports: [...merged.ports].sort((a, b) => a - b) } : {}),
    since: steady(before?.since, merged.sinceMs),
    until: steady(before?.until, merged.untilMs),
    ...(packetsDropped > 0 ? { packetsDropped: Math.min(packetsDropped, Number.MAX_SAFE_INTEGER) } : {}),
  };
}

function steady(before: string | undefined, ms: number): string {
  if (before !== undefined && Math.abs(Date.parse(before) - ms) <= sameTimeMs) return before;
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
