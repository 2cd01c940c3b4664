import type { ErrorCode } from '../../api/errors.ts';
import type { DatapathView } from '../datapath/view.ts';
import { type Finding, findingOf } from '../finding.ts';

const NEARLY_FULL = 0.8;
/** A loss stays a finding this long after its last packet: long enough to be seen, short enough to be believed. */
const LOSS_SHOWN_MS = 300_000;

/** Which setting makes a table larger. Tracking evicts by design: full is its normal state under attack, and the losses tell. */
const settings: Readonly<Record<string, string>> = {
  'never-block': '--max-never-block',
  'own-addresses': '--max-own-addresses',
  blocks: '--max-blocks',
  'manual-blocks': '--max-manual-blocks',
  'list-entries': '--max-list-entries',
  'allow-entries': '--max-allow-entries',
  owners: '--max-owners',
};

const losses: Readonly<Record<string, { readonly code: ErrorCode; readonly what: string; readonly setting: string }>> =
  {
    'first-target-evicted': {
      code: 'FreshEvicted',
      what: 'sources with one fresh target',
      setting: '--max-first-targets',
    },
    'source-evicted': {
      code: 'FreshEvicted',
      what: 'sources with several fresh targets',
      setting: '--max-first-targets',
    },
    'block-evicted': { code: 'FreshEvicted', what: 'unexpired blocks', setting: '--max-blocks' },
    'block-table-full': {
      code: 'TableFull',
      what: 'scanners that found no room in the block table',
      setting: '--max-blocks',
    },
    'connection-event-budget': {
      code: 'EventsLost',
      what: 'connection events over their rate',
      setting: '--connection-events-per-second',
    },
    'block-event-budget': {
      code: 'EventsLost',
      what: 'block events over their rate',
      setting: '--block-events-per-second',
    },
    'ring-full': { code: 'EventsLost', what: 'events for which the ring had no room', setting: '--ring-buffer-bytes' },
  };

/** Says what runs full or was lost, out of one reading of the datapath after another. */
export class TableFindings {
  #before: Readonly<Record<string, number>> | undefined;
  readonly #lastLostMs = new Map<string, number>();

  /** The first reading is the measure of the next: what was lost before this agent is history. */
  update(view: Pick<DatapathView, 'tables' | 'losses'>, nowMs: number): Finding[] {
    const before = this.#before;
    this.#before = view.losses;
    for (const [name, count] of Object.entries(view.losses))
      if (before && count > (before[name] ?? 0)) this.#lastLostMs.set(name, nowMs);
    const full = view.tables.flatMap(({ table, entries, capacity }) => {
      const field = settings[table];
      if (field === undefined || capacity === 0 || entries < capacity * NEARLY_FULL) return [];
      const code = entries >= capacity ? 'TableFull' : 'TableNearlyFull';
      return [findingOf(code, `the table ${table} holds ${entries} of ${capacity} entries`, { field })];
    });
    const lost = [...this.#lastLostMs].flatMap(([name, atMs]) => {
      const known = losses[name];
      if (!known || nowMs - atMs > LOSS_SHOWN_MS) return [];
      return [findingOf(known.code, `lost: ${view.losses[name]} ${known.what}`, { field: known.setting })];
    });
    return [...full, ...lost];
  }
}
