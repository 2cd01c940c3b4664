import type { StoredBlock, StoredEntry, StoredReport } from '../stored/report.ts';
import type { TargetKind } from './tally.ts';

/** A report in the state in which it is now, and when that was seen. */
export interface Sighting {
  readonly report: StoredReport;
  /** When it was seen first, on the monotonic clock. */
  readonly atMs: number;
  /** The same by the operator's wall clock, for people. */
  readonly atWallMs: number;
  /** How old it was by then. */
  readonly ageMs: number;
}

/** What the report says of one policy or list. */
export function entryOf(sighting: Sighting | undefined, kind: TargetKind, name: string): StoredEntry | undefined {
  const entries = kind === 'PortScanPolicy' ? sighting?.report.policies : sighting?.report.lists;
  if (entries === undefined) return undefined;
  // Agents list them by name, so one stands at the same place in most reports.
  const likely = entries[places.get(name) ?? 0];
  if (likely?.name === name) return likely;
  const place = entries.findIndex((entry) => entry.name === name);
  if (place === -1) return undefined;
  if (places.size >= maxPlaces) places.clear();
  places.set(name, place);
  return entries[place];
}

/** Where a name was found last: a guess that is checked, nothing more. */
const places = new Map<string, number>();
const maxPlaces = 1000;

/** Not changed for so long, on the monotonic clock. */
export const isFreshAt = ({ atMs, ageMs }: Sighting, nowMs: number, staleAfterMs: number): boolean =>
  nowMs - atMs + ageMs < staleAfterMs;

/** When the block ends: on the monotonic clock, which decides, and on the wall clock, which is shown. */
export const endOf = (sighting: Sighting, block: StoredBlock): { readonly atMs: number; readonly wallMs: number } => ({
  atMs: sighting.atMs - sighting.ageMs + block.leftMs,
  wallMs: sighting.atWallMs - sighting.ageMs + block.leftMs,
});

/** Blocks of each policy of a report, as one text for each policy: equal when the same sources are blocked in the same way. */
export function blockSets(report: StoredReport | undefined): ReadonlyMap<string, string> {
  const sets = new Map<string, string[]>();
  for (const { policy, source, state } of report?.blocks ?? []) {
    const set = sets.get(policy);
    if (set === undefined) sets.set(policy, [`${source} ${state}`]);
    else set.push(`${source} ${state}`);
  }
  return new Map([...sets].map(([policy, set]) => [policy, set.sort().join()]));
}
