/** A NodeReport, as far as its owner is concerned. */
export interface OwnedReport {
  readonly name: string;
  readonly uid: string;
  /** The uid of the Node that owns it; absent when it has no owner. */
  readonly ownerNodeUid: string | undefined;
}

export interface OrphanInput {
  readonly reports: Iterable<OwnedReport>;
  /** Uid by name. */
  readonly nodes: ReadonlyMap<string, string | undefined>;
  /** Since when a report is without its Node: by uid of the report, on the same clock as nowMs. */
  readonly orphanSinceMs: ReadonlyMap<string, number>;
  readonly nowMs: number;
  readonly graceMs: number;
}

export interface OrphanPlan {
  /** Without their Node for as long as the grace. */
  readonly due: readonly OwnedReport[];
  /** To be given with the next look. */
  readonly orphanSinceMs: ReadonlyMap<string, number>;
  /** How many reports are without their Node. */
  readonly orphans: number;
  /** When the next one is due, in ms from now. */
  readonly againAfterMs?: number;
}

/**
 * Which reports are to be deleted. The grace is for an agent that takes its report over for a Node that was made anew, and for
 * a Node that is deleted by mistake and comes back. Without any Node nothing is deleted: a cluster has some, so the list is at fault.
 */
export function planOrphans({ reports, nodes, orphanSinceMs, nowMs, graceMs }: OrphanInput): OrphanPlan {
  const since = new Map<string, number>();
  const due: OwnedReport[] = [];
  let againAfterMs: number | undefined;
  if (nodes.size === 0) return { due, orphanSinceMs: since, orphans: 0 };
  for (const report of reports) {
    if (!isOrphan(report, nodes)) continue;
    const sinceMs = orphanSinceMs.get(report.uid) ?? nowMs;
    since.set(report.uid, sinceMs);
    const leftMs = sinceMs + graceMs - nowMs;
    if (leftMs <= 0) due.push(report);
    else againAfterMs = Math.min(againAfterMs ?? leftMs, leftMs);
  }
  const again = againAfterMs === undefined ? {} : { againAfterMs };
  return { due, orphanSinceMs: since, orphans: since.size, ...again };
}

/** An agent that did not know its Node's uid yet wrote no owner: the name is all there is then. */
function isOrphan({ name, ownerNodeUid }: OwnedReport, nodes: ReadonlyMap<string, string | undefined>): boolean {
  if (!nodes.has(name)) return true;
  return ownerNodeUid !== undefined && ownerNodeUid !== nodes.get(name);
}
