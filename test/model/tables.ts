import { type Address, formatAddress, type IpVersion, toAddress, toPrefix } from '../support/address.ts';
import { Votes } from './detect.ts';

/** Owner ids: 0 is the node itself. */
export type Owner = number;

export interface SourceClass {
  readonly neverBlock?: boolean;
  readonly onLink?: boolean;
}

export interface ListEntry {
  readonly owner: Owner;
  /** Else Monitor. */
  readonly enforce?: boolean;
  /** Else NewConnections. */
  readonly allTraffic?: boolean;
  readonly spared?: boolean;
}

/** Holds while the present tick is below `until`. */
export interface TimedEntry {
  readonly until: number;
}

/**
 * One change of one table, as an agent would make it; `value: null` deletes. Prefixes are as flat as the agent writes
 * them: the longest match alone decides.
 */
export type TableChange =
  | { readonly table: 'classes'; readonly prefix: string; readonly value: SourceClass | null }
  | { readonly table: 'lists'; readonly slot: number; readonly prefix: string; readonly value: ListEntry | null }
  | { readonly table: 'allows'; readonly slot: number; readonly prefix: string; readonly value: TimedEntry | null }
  | { readonly table: 'manual'; readonly prefix: string; readonly value: TimedEntry | null }
  /** An address of this network namespace. */
  | { readonly table: 'own'; readonly address: string; readonly value: true | null }
  /** Unblocking: the only thing done to a scan block from outside. */
  | { readonly table: 'blocks'; readonly owner: Owner; readonly source: string; readonly value: null };

/** Entries by prefix, asked for the longest that covers an address. */
export class LongestMatch<Value> {
  readonly #levels: Record<IpVersion, { mask: Address; entries: Map<Address, Value> }[]> = { 4: [], 6: [] };

  set(text: string, value: Value | null): void {
    const { version, mask, first } = toPrefix(text);
    const levels = this.#levels[version];
    let level = levels.find((candidate) => candidate.mask === mask);
    if (!level) {
      level = { mask, entries: new Map() };
      levels.push(level);
      levels.sort((a, b) => (a.mask > b.mask ? -1 : 1));
    }
    if (value === null) level.entries.delete(first);
    else level.entries.set(first, value);
  }

  get(version: IpVersion, address: Address): Value | undefined {
    for (const { mask, entries } of this.#levels[version]) {
      const value = entries.get(address & mask);
      if (value !== undefined) return value;
    }
    return undefined;
  }
}

/** A scan block, or the record of one in Monitor or of a spared source. Times are ticks. */
export interface Block {
  readonly source: Address;
  readonly sourceLength: number;
  readonly owner: Owner;
  readonly since: number;
  readonly monitor: boolean;
  readonly spared: boolean;
  /** Distinct targets when blocked. */
  readonly probes: number;
  /** At most 16, newest first. */
  readonly ports: readonly number[];
  readonly ifindex: number;
  until: number;
  last: number;
  dropped: number;
  proven: boolean;
}

/** Everything that the interfaces of one node share: what user space wrote, and what was learned. */
export class ModelTables {
  readonly classes = new LongestMatch<SourceClass>();
  readonly manual = new LongestMatch<TimedEntry & { dropped: number }>();
  readonly own = new Set<Address>();
  readonly blocks = new Map<string, Block>();
  readonly votes = new Votes();
  readonly #lists = new Map<number, LongestMatch<ListEntry>>();
  readonly #allows = new Map<number, LongestMatch<TimedEntry>>();

  constructor(contents: readonly TableChange[] = []) {
    for (const change of contents) this.apply(change);
  }

  list(slot: number): LongestMatch<ListEntry> {
    return slotOf(this.#lists, slot);
  }

  allow(slot: number): LongestMatch<TimedEntry> {
    return slotOf(this.#allows, slot);
  }

  apply(change: TableChange): void {
    switch (change.table) {
      case 'classes':
        this.classes.set(change.prefix, change.value);
        return;
      case 'lists':
        this.list(change.slot).set(change.prefix, change.value);
        return;
      case 'allows':
        this.allow(change.slot).set(change.prefix, change.value);
        return;
      case 'manual':
        this.manual.set(change.prefix, change.value && { ...change.value, dropped: 0 });
        return;
      case 'own':
        if (change.value) this.own.add(toAddress(change.address));
        else this.own.delete(toAddress(change.address));
        return;
      case 'blocks': {
        const { first, length } = toPrefix(change.source);
        this.blocks.delete(blockKey(first, length, change.owner));
      }
    }
  }
}

/** Identity of a scan block: its masked source, the length of that mask, its policy. */
export function blockKey(source: Address, sourceLength: number, owner: Owner): string {
  return `${owner} ${formatAddress(source)}/${sourceLength}`;
}

function slotOf<Value>(slots: Map<number, LongestMatch<Value>>, slot: number): LongestMatch<Value> {
  let table = slots.get(slot);
  if (!table) {
    table = new LongestMatch();
    slots.set(slot, table);
  }
  return table;
}
