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
  untilMs: number;
  packetsDropped: number;
}

/**
 * The newest blocks, one for each source, the newest first. `before` is what the status said: times that it has and that are
 * about the same stay as they are, so that nothing is written because of them.
 */
export function mergeBlocks(blocks: readonly NodeBlock[], before: readonly PolicyBlock[] = []): PolicyBlock[] {
  const newest = newestSources(blocks);
  const bySource = new Map<string, Merged>();
  for (const block of blocks) if (newest.has(block.block.source)) merge(bySource, block);
  const earlier = new Map(before.map((block) => [block.source, block]));
  return [...newest].map((source) => blockOf(bySource.get(source)!, earlier.get(source)));
}

/** The newest first. Of 10,000 blocks most are not shown, and need not be merged. */
function newestSources(blocks: readonly NodeBlock[]): ReadonlySet<string> {
  const newestMs = new Map<string, number>();
  for (const { block, sinceMs } of blocks) {
    if (sinceMs > (newestMs.get(block.source) ?? Number.NEGATIVE_INFINITY)) newestMs.set(block.source, sinceMs);
  }
  // Numbers sort faster than pairs, and all that is older than the hundredth is not looked at again.
  const times = Float64Array.from(newestMs.values()).sort();
  const leastMs = times[times.length - maxBlocks] ?? Number.NEGATIVE_INFINITY;
  const sources = [...newestMs].filter(([, ms]) => ms >= leastMs);
  sources.sort(([a, aMs], [b, bMs]) => bMs - aMs || Number(a > b) - Number(a < b));
  return new Set(sources.slice(0, maxBlocks).map(([source]) => source));
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
