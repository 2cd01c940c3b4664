import { createHash } from 'node:crypto';
import type { Prefix } from '../../api/cidr.ts';
import { BpfMap } from '../libbpf/map.ts';
import type { DesiredInterface, DesiredList } from '../resolve/desired-state.ts';
import { flattenAllow, flattenLists } from '../resolve/lists.ts';
import type { TickClock } from './clock.ts';
import { concern, listFlag } from './layout.ts';
import type { Pins } from './pins.ts';
import type { NodeTables } from './tables.ts';
import { buildTrie, type TrieEntry, trieEntries, trustedPrefix } from './tries.ts';

const TABLES = ['lists4', 'lists6', 'allows4', 'allows6'] as const;
type TableName = (typeof TABLES)[number];

/** `until` of an allow entry that never expires. */
const FOR_EVER = 0x7fff_ffff_ffff_ffffn;

export interface SetBounds {
  readonly maxListEntries: number;
  readonly maxAllowEntries: number;
}

/** The lists and allow entries of one group of interfaces, flattened and encoded. */
export interface SetContents {
  /** Equal contents have equal digests. */
  readonly digest: string;
  readonly tables: Readonly<Record<TableName, readonly TrieEntry[]>>;
  /** Entries beyond the bound, which are not enforced. */
  readonly refused: { readonly lists: number; readonly allow: number };
}

const listValue = (owner: number, flags: number): Buffer => {
  const value = Buffer.alloc(8);
  value.writeUInt32LE(owner, 0);
  value.writeUInt32LE(flags, 4);
  return value;
};

const untilValue = (tick: bigint): Buffer => {
  const value = Buffer.alloc(8);
  value.writeBigUInt64LE(tick);
  return value;
};

/** A list stays the same object while nothing of it changes: 10,000 entries are not read again for each interface. */
const listDigests = new WeakMap<DesiredList, string>();
const digestOf = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex');

const listDigest = (list: DesiredList): string => {
  const known = listDigests.get(list) ?? digestOf(list);
  listDigests.set(list, known);
  return known;
};

/** Identity of what resolve() asks for, before it is flattened. */
export const setDigest = ({ lists, allow }: Pick<DesiredInterface, 'lists' | 'allow'>): string =>
  digestOf([lists.map(listDigest), allow]);

/** Flattens and encodes. `ownerOf` gives a list's id; a list without one is left out. */
export const encodeSet = (
  wanted: Pick<DesiredInterface, 'lists' | 'allow'>,
  ownerOf: (list: string) => number | undefined,
  clock: TickClock,
  bounds: SetBounds,
): SetContents => {
  const tables: Record<TableName, TrieEntry[]> = { lists4: [], lists6: [], allows4: [], allows6: [] };
  const refused = { lists: 0, allow: 0 };
  for (const { cidr, winner } of flattenLists(wanted.lists.filter(({ name }) => ownerOf(name) !== undefined))) {
    const prefix = trustedPrefix(cidr);
    const table = tables[prefix.family === 4 ? 'lists4' : 'lists6'];
    const value =
      winner === 'spared'
        ? listValue(0, listFlag.LIST_SPARED)
        : listValue(
            ownerOf(winner.name)!,
            (winner.enforce ? listFlag.LIST_ENFORCE : 0) | (winner.allTraffic ? listFlag.LIST_ALL_TRAFFIC : 0),
          );
    if (table.length < bounds.maxListEntries) table.push({ prefix, value });
    else refused.lists++;
  }
  for (const { cidr, expiresAtMs } of flattenAllow(wanted.allow)) {
    const prefix = trustedPrefix(cidr);
    const table = tables[prefix.family === 4 ? 'allows4' : 'allows6'];
    const value = untilValue(expiresAtMs === undefined ? FOR_EVER : clock.toTick(expiresAtMs));
    if (table.length < bounds.maxAllowEntries) table.push({ prefix, value });
    else refused.allow++;
  }
  return { digest: setDigest(wanted), tables, refused };
};

/** Which slot holds which contents; inner tables are pinned beside, so that what a slot held is known after a restart. */
export class SetSlots {
  readonly #tables: NodeTables;
  readonly #pins: Pins;
  readonly #slots: number;
  readonly #digests = new Map<number, string>();
  readonly #contents = new Map<number, SetContents>();
  /** Slots that programs of an earlier agent may still read. */
  readonly #foreign: Set<number>;

  constructor(tables: NodeTables, pins: Pins) {
    this.#tables = tables;
    this.#pins = pins;
    this.#slots = tables.map('lists4').shape.maxEntries;
    // Those beside tables that are being replaced are of no table here.
    this.#foreign = tables.supersedes === undefined ? pinnedSlots(pins) : new Set();
  }

  slotOf(digest: string): number | undefined {
    for (const [slot, known] of this.#digests) if (known === digest) return slot;
    return undefined;
  }

  /** Entries that found no room in a slot when it was filled. */
  refusedIn(slot: number): SetContents['refused'] {
    return this.#contents.get(slot)?.refused ?? { lists: 0, allow: 0 };
  }

  /** A slot nothing reads. Undefined when all are taken: 64 groups of interfaces with different lists. */
  free(): number | undefined {
    for (let slot = 0; slot < this.#slots; slot++)
      if (!this.#digests.has(slot) && !this.#foreign.has(slot)) return slot;
    return undefined;
  }

  /** Puts contents into a slot, each table whole. `announce` must set the prefilter's bits: it is called before a table is read by anybody. */
  async put(slot: number, contents: SetContents, announce: (prefix: Prefix, bits: number) => void): Promise<void> {
    for (const name of TABLES) {
      const entries = contents.tables[name];
      const pin = `${slot}-${name}`;
      if (entries.length === 0) {
        await this.#tables.map(name).clearInner(slot);
        this.#pins.remove('sets', pin);
        continue;
      }
      const bits = name.startsWith('lists') ? concern.CONCERN_LIST : concern.CONCERN_ALLOW;
      for (const { prefix } of entries) announce(prefix, bits);
      using trie = await buildTrie(name, name.endsWith('4') ? 4 : 6, entries);
      this.#pins.remove('sets', `${pin}-new`);
      trie.pin(this.#pins.at('sets', `${pin}-new`));
      await this.#tables.map(name).setInner(slot, trie);
      this.#pins.rename('sets', `${pin}-new`, pin);
    }
    this.#digests.set(slot, contents.digest);
    this.#contents.set(slot, contents);
  }

  /** Empties every slot but these, once no program reads the others; an earlier agent's may still read theirs. */
  async keepOnly(used: ReadonlySet<number>, keepForeign: boolean): Promise<void> {
    for (const slot of new Set([...this.#digests.keys(), ...(keepForeign ? [] : this.#foreign)])) {
      if (used.has(slot)) continue;
      for (const name of TABLES) {
        await this.#tables.map(name).clearInner(slot);
        this.#pins.remove('sets', `${slot}-${name}`);
        this.#pins.remove('sets', `${slot}-${name}-new`);
      }
      this.#digests.delete(slot);
      this.#contents.delete(slot);
      this.#foreign.delete(slot);
    }
  }

  /** Once tables of another layout are replaced: what was pinned beside them goes. */
  dropOthers(): void {
    for (const name of this.#pins.names('sets'))
      if (!this.#digests.has(slotOfPin(name))) this.#pins.remove('sets', name);
  }

  /** Forgets what slots hold, so that the next apply() writes them again: deadlines move when the wall clock is set. */
  invalidate(): void {
    for (const slot of this.#digests.keys()) this.#digests.set(slot, `outdated ${slot}`);
  }

  *entries(): Generator<{ prefix: Prefix; bits: number }> {
    for (const contents of this.#contents.values()) {
      for (const name of TABLES) {
        const bits = name.startsWith('lists') ? concern.CONCERN_LIST : concern.CONCERN_ALLOW;
        for (const { prefix } of contents.tables[name]) yield { prefix, bits };
      }
    }
    // What programs of an earlier agent still read must not be hidden from them.
    for (const slot of this.#foreign) {
      if (this.#contents.has(slot)) continue;
      for (const name of TABLES) {
        if (!this.#pins.has('sets', `${slot}-${name}`)) continue;
        using trie = BpfMap.openPinned(this.#pins.at('sets', `${slot}-${name}`), name);
        const bits = name.startsWith('lists') ? concern.CONCERN_LIST : concern.CONCERN_ALLOW;
        for (const { prefix } of trieEntries(trie)) yield { prefix, bits };
      }
    }
  }

  /** The fullest group's entries: what the bound is about. */
  fill(): { lists: number; allow: number } {
    const most = (a: TableName, b: TableName): number =>
      Math.max(0, ...[...this.#contents.values()].map(({ tables }) => Math.max(tables[a].length, tables[b].length)));
    return { lists: most('lists4', 'lists6'), allow: most('allows4', 'allows6') };
  }
}

const slotOfPin = (name: string): number => Number(name.split('-')[0]);
const pinnedSlots = (pins: Pins): Set<number> => new Set(pins.names('sets').map(slotOfPin));

/** The fullest group's entries out of the pins, for commands that run without an agent. */
export const pinnedSetFill = (pins: Pins): { lists: number; allow: number } => {
  const fill = { lists: 0, allow: 0 };
  for (const name of pins.names('sets')) {
    using map = BpfMap.openPinned(pins.at('sets', name), name);
    // Tries are made as large as what they hold.
    const entries = map.shape.maxEntries;
    if (name.includes('lists')) fill.lists = Math.max(fill.lists, entries);
    else fill.allow = Math.max(fill.allow, entries);
  }
  return fill;
};
