import type { BlockRecord } from '../datapath/view.ts';

/** A block as it stands in the status file and in the output of `blocked -o json`. */
export interface BlockDocument {
  /** Address, or prefix where a whole prefix is blocked. */
  readonly source: string;
  readonly kind: 'PortScanPolicy' | 'Manual';
  /** Name of the policy; null for a block by hand. */
  readonly policy: string | null;
  /** `would-block`: seen in mode Monitor. `spared`: the source is in the never-block set. Both drop nothing. */
  readonly state: BlockRecord['state'];
  /** Whether the source has proven that it receives at its address; null for a block by hand. */
  readonly proven: boolean | null;
  /** Distinct targets when it was blocked; null for a block by hand. */
  readonly probes: number | null;
  /** Ports of at most 16 targets: that of the Nth first, the others in no order. */
  readonly ports: readonly number[];
  /** Where the last probe came in; null for a block by hand. */
  readonly interface: string | null;
  /** RFC 3339. */
  readonly since: string;
  /** RFC 3339. */
  readonly until: string;
  /** Packets dropped since then, or that would have been. */
  readonly packetsDropped: number;
  /** Why, of a block by hand; null for others. */
  readonly reason: string | null;
}

export function blockDocument(block: BlockRecord): BlockDocument {
  const manual = block.by.kind === 'Manual';
  return {
    source: block.source,
    kind: block.by.kind,
    policy: manual ? null : block.by.name,
    state: block.state,
    proven: manual ? null : block.proven,
    probes: manual ? null : block.probes,
    ports: block.ports,
    interface: block.interfaceName ?? null,
    since: new Date(block.sinceMs).toISOString(),
    until: new Date(block.untilMs).toISOString(),
    packetsDropped: block.packetsDropped,
    reason: block.reason ?? null,
  };
}

/** The newest first; equals in order of their source, so that two readings compare. */
export function newestFirst(blocks: readonly BlockRecord[]): BlockRecord[] {
  return blocks.toSorted((a, b) => b.sinceMs - a.sinceMs || (a.source < b.source ? -1 : a.source > b.source ? 1 : 0));
}
