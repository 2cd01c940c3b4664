import type { BlockEvent, BlockRecord } from '../datapath/view.ts';
import { LineBudget } from './line-budget.ts';

type State = BlockRecord['state'];

/** One scan, as it is logged when it is detected. */
export interface ScanLine {
  readonly event: 'scan';
  readonly policy: string;
  /** The address that sent the probe that proved the scan; equal to `blocked` where only that is known. */
  readonly source: string;
  /** The address or IPv6 prefix that is blocked, or would be. */
  readonly blocked: string;
  readonly state: State;
  readonly proven: boolean;
  /** Distinct targets. */
  readonly probes: number;
  /** Ports of the targets: that of the Nth first, the others in no order. */
  readonly ports: readonly number[];
  readonly lastTarget?: string;
  readonly interface?: string;
  readonly at: string;
  readonly until: string;
}

/** The end of a scan's block, with its totals. */
export interface ScanEndedLine {
  readonly event: 'scan-ended';
  readonly policy: string;
  readonly blocked: string;
  readonly state: State;
  readonly proven: boolean;
  readonly probes: number;
  /** Packets dropped, or that would have been. */
  readonly packetsDropped: number;
  readonly since: string;
  readonly ended: string;
  /** `lifted`: unblocked by hand, its policy was removed, or it made room for another block. */
  readonly cause: 'expired' | 'lifted';
}

/** What stands for all lines of one second beyond the budget. */
export interface ScansSummaryLine {
  readonly event: 'scans-summarized';
  readonly from: string;
  readonly lines: number;
  readonly byPolicy: Readonly<Record<string, number>>;
}

export type ScanLogLine = ScanLine | ScanEndedLine | ScansSummaryLine;

/** As many as the default block table holds; each takes about 300 bytes. */
export const maxScanRecords = 65_536;

/** A flood of forged scans must not fill the disk by way of the log. */
export const scanLinesPerSecond = 1000;

/** An event and the table tell one block's times through different clock reads, and may reach us in either order. */
const slackMs = 2000;

interface Entry {
  readonly policy: string;
  readonly blocked: string;
  readonly state: State;
  readonly startMs: number;
  readonly probes: number;
  proven: boolean;
  untilMs: number;
  packetsDropped: number;
  /** An event that came while this block was held to be live: merged, unless the table shows that a new block began. */
  later: BlockEvent | undefined;
}

/**
 * Turns block events and readings of the block table into one record a scan and one at its end. An event gives the record
 * at once; a block whose event was lost gives it when the table is next read; one of an agent before us gives none.
 */
export class ScanRecorder {
  readonly #emit: (line: ScanLogLine) => void;
  readonly #maxRecords: number;
  readonly #budget: LineBudget;
  readonly #entries = new Map<string, Entry>();
  /** Blocks older than this were logged, or are not ours to log. */
  #loggedBeforeMs: number;
  #evictions = 0;

  constructor(
    emit: (line: ScanLogLine) => void,
    options: { readonly startedAtMs: number; readonly maxRecords?: number; readonly linesPerSecond?: number },
  ) {
    this.#emit = emit;
    this.#maxRecords = options.maxRecords ?? maxScanRecords;
    this.#loggedBeforeMs = options.startedAtMs;
    this.#budget = new LineBudget(options.linesPerSecond ?? scanLinesPerSecond, (overflow) =>
      emit({
        event: 'scans-summarized',
        from: new Date(overflow.fromMs).toISOString(),
        lines: overflow.suppressed,
        byPolicy: overflow.byKey,
      }),
    );
  }

  /** Scans remembered now. */
  get size(): number {
    return this.#entries.size;
  }

  /** Scans forgotten for want of room: their end is not logged. */
  get evictions(): number {
    return this.#evictions;
  }

  /** Lines counted in a summary instead of written. */
  get suppressed(): number {
    return this.#budget.suppressed;
  }

  onEvent(event: BlockEvent, nowMs: number): void {
    const key = keyOf(event.policy, event.blocked);
    const entry = this.#entries.get(key);
    if (entry !== undefined && event.atMs < entry.untilMs) {
      entry.later = event;
      return;
    }
    if (entry !== undefined) this.#end(key, entry, 'expired', entry.untilMs, nowMs);
    this.#begin(key, event, nowMs);
  }

  /** Compares with what the block table holds now; to be called every second or few, with all of its records. */
  onBlocks(blocks: readonly BlockRecord[], nowMs: number): void {
    const seen = new Set<string>();
    for (const block of blocks) {
      if (block.by.kind !== 'PortScanPolicy') continue;
      const key = keyOf(block.by.name, block.source);
      seen.add(key);
      const entry = this.#entries.get(key);
      if (entry === undefined) this.#adopt(key, block, nowMs);
      else if (isAnotherBlock(entry, block)) {
        this.#end(key, entry, block.sinceMs >= entry.untilMs ? 'expired' : 'lifted', block.sinceMs, nowMs);
        this.#begin(key, entry.later ?? eventOf(block), nowMs);
        this.#update(key, block, nowMs);
      } else this.#update(key, block, nowMs);
    }
    for (const [key, entry] of this.#entries) {
      if (seen.has(key)) continue;
      if (nowMs >= entry.untilMs) this.#end(key, entry, 'expired', entry.untilMs, nowMs);
      else if (nowMs - entry.startMs > slackMs) this.#end(key, entry, 'lifted', nowMs, nowMs);
    }
    this.#budget.tick(nowMs);
  }

  flush(): void {
    this.#budget.flush();
  }

  #begin(key: string, event: BlockEvent, nowMs: number): void {
    this.#remember(key, {
      policy: event.policy,
      blocked: event.blocked,
      state: event.state,
      startMs: event.atMs,
      probes: event.probes,
      proven: event.proven,
      untilMs: event.untilMs,
      packetsDropped: 0,
      later: undefined,
    });
    if (!this.#budget.allow(nowMs, event.policy)) return;
    this.#emit({
      event: 'scan',
      policy: event.policy,
      source: event.source,
      blocked: event.blocked,
      state: event.state,
      proven: event.proven,
      probes: event.probes,
      ports: event.ports,
      ...(event.lastTarget === '' ? {} : { lastTarget: event.lastTarget }),
      ...(event.interfaceName === '' ? {} : { interface: event.interfaceName }),
      at: new Date(event.atMs).toISOString(),
      until: new Date(event.untilMs).toISOString(),
    });
  }

  #adopt(key: string, block: BlockRecord, nowMs: number): void {
    if (block.untilMs <= nowMs) return;
    if (block.sinceMs <= this.#loggedBeforeMs) {
      // A full memory keeps what it has: adopting here would push out another, which the next reading would adopt again.
      if (this.#entries.size >= this.#maxRecords) return;
      this.#remember(key, {
        policy: block.by.name,
        blocked: block.source,
        state: block.state,
        startMs: block.sinceMs,
        probes: block.probes,
        proven: block.proven,
        untilMs: block.untilMs,
        packetsDropped: block.packetsDropped,
        later: undefined,
      });
    } else if (nowMs - block.sinceMs > slackMs) {
      this.#begin(key, eventOf(block), nowMs);
      this.#update(key, block, nowMs);
    }
  }

  #update(key: string, block: BlockRecord, nowMs: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    entry.proven = block.proven;
    entry.untilMs = block.untilMs;
    entry.packetsDropped = block.packetsDropped;
    if (nowMs >= block.untilMs) this.#end(key, entry, 'expired', block.untilMs, nowMs);
  }

  #remember(key: string, entry: Entry): void {
    if (this.#entries.size >= this.#maxRecords) {
      const [oldestKey, oldest] = this.#entries.entries().next().value!;
      this.#entries.delete(oldestKey);
      this.#evictions++;
      // Else the next reading of the table would take it for a block whose event was lost, and log it a second time.
      this.#loggedBeforeMs = Math.max(this.#loggedBeforeMs, oldest.startMs + slackMs);
    }
    this.#entries.set(key, entry);
  }

  #end(key: string, entry: Entry, cause: ScanEndedLine['cause'], endedMs: number, nowMs: number): void {
    this.#entries.delete(key);
    if (!this.#budget.allow(nowMs, entry.policy)) return;
    this.#emit({
      event: 'scan-ended',
      policy: entry.policy,
      blocked: entry.blocked,
      state: entry.state,
      proven: entry.proven,
      probes: entry.probes,
      packetsDropped: entry.packetsDropped,
      since: new Date(entry.startMs).toISOString(),
      ended: new Date(endedMs).toISOString(),
      cause,
    });
  }
}

function keyOf(policy: string, blocked: string): string {
  return `${policy} ${blocked}`;
}

/**
 * Whether the table's record is no longer the block we know. Its start alone does not tell: a step of the wall clock moves
 * the start of every block.
 */
function isAnotherBlock(entry: Entry, block: BlockRecord): boolean {
  if (block.packetsDropped < entry.packetsDropped || block.state !== entry.state) return true;
  const later = entry.later;
  return (
    later !== undefined && later.atMs - entry.startMs > slackMs && Math.abs(block.sinceMs - later.atMs) <= slackMs / 2
  );
}

function eventOf(block: BlockRecord): BlockEvent {
  return {
    kind: 'block',
    policy: block.by.name,
    atMs: block.sinceMs,
    untilMs: block.untilMs,
    source: block.source,
    blocked: block.source,
    state: block.state,
    proven: block.proven,
    probes: block.probes,
    ports: block.ports,
    lastTarget: '',
    interfaceName: block.interfaceName ?? '',
  };
}
