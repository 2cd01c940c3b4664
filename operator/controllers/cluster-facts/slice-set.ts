import { comparePrefixes } from '../../../agent/resolve/prefix-fold.ts';
import { formatPrefix, masked, type Prefix } from '../../../api/cidr.ts';
import { foldPrefixes, type MinLengths } from './fold-prefixes.ts';
import type { RefusedFact, Sighting } from './read-facts.ts';

/** What the schema admits. */
export const maxSlicePrefixes = 1000;

interface Entry {
  readonly prefix: Prefix;
  /** That brought it; undefined of what was taken over. */
  readonly object?: string;
  readonly slice: number;
  /** Lies in what was written before into this slice, and so takes no room there as long as that stays. */
  readonly isCovered: boolean;
  /** Undefined: it is there. */
  goneSinceMs: number | undefined;
}

/** How many entries a slice has. */
interface Load {
  known: number;
  covered: number;
  adopted: number;
}

/**
 * Prefixes of one sort, spread over slices of at most 1,000. A prefix stays in its slice as long as it is known, and what
 * disappears stays for a while: every agent gets every slice that changes, so that a node more has to change one slice and a
 * node that restarts none. Neighbours become one prefix within their slice only, for the same reason.
 */
export class SliceSet {
  readonly #minLengths: MinLengths;
  readonly #keepMs: number;
  readonly #capacity: number;
  readonly #entries = new Map<string, Entry>();
  /** Out of slices that were written before: folded, so they say in which slice to put what they cover. */
  readonly #adopted = new Map<string, Entry>();
  readonly #adoptedLengths = new Set<number>();
  /** By slice. */
  readonly #loads: Load[] = [];
  /** By object: its slice. */
  readonly #sliceOf = new Map<string, number>();
  readonly #maxPerObject: number;
  /** By object: prefixes that it brought, those that are gone among them. */
  readonly #brought = new Map<string, number>();

  /**
   * `keepMs`: how long what has disappeared stays. `capacity`: of a slice. `maxPerObject`: prefixes of one object, those that
   * have disappeared among them.
   */
  constructor(options: {
    readonly minLengths: MinLengths;
    readonly keepMs: number;
    readonly capacity?: number;
    readonly maxPerObject?: number;
  }) {
    const { minLengths, keepMs, capacity = maxSlicePrefixes, maxPerObject = Number.POSITIVE_INFINITY } = options;
    this.#maxPerObject = maxPerObject;
    this.#minLengths = minLengths;
    this.#keepMs = keepMs;
    this.#capacity = capacity;
  }

  /** Takes over a slice as it is in the store: it stays as long as if all of it had disappeared now. */
  adopt(slice: number, prefixes: readonly Prefix[], nowMs: number): void {
    for (const prefix of prefixes) {
      this.#adopted.set(keyOf(prefix), { prefix, slice, isCovered: false, goneSinceMs: nowMs });
      this.#adoptedLengths.add(prefix.length);
      this.#load(slice).adopted++;
    }
  }

  /**
   * Takes in all that is known now. `nowMs` is monotonic. Returns what is not taken: whoever took a Node over could claim other
   * addresses each second, and all of them would stay for a while.
   */
  update(sightings: readonly Sighting[], nowMs: number): RefusedFact[] {
    const seen = new Set<string>();
    const fresh: { readonly object: string; readonly prefixes: Prefix[] }[] = [];
    for (const { object, prefixes } of sightings) {
      const unknown: Prefix[] = [];
      for (const [text, prefix] of prefixes) {
        if (!seen.has(text) && !this.#entries.has(text)) unknown.push(prefix);
        seen.add(text);
      }
      if (unknown.length > 0) fresh.push({ object, prefixes: unknown });
    }
    for (const [text, entry] of this.#entries) {
      if (seen.has(text)) entry.goneSinceMs = undefined;
      else entry.goneSinceMs ??= nowMs;
    }
    this.#expire(nowMs);
    const objects = new Set(sightings.map(({ object }) => object));
    for (const object of this.#sliceOf.keys()) if (!objects.has(object)) this.#sliceOf.delete(object);
    // Neighbours in one slice become fewer prefixes.
    fresh.sort((a, b) => comparePrefixes(a.prefixes[0]!, b.prefixes[0]!));
    const refused: RefusedFact[] = [];
    for (const { object, prefixes } of fresh) {
      const room = Math.max(this.#maxPerObject - (this.#brought.get(object) ?? 0), 0);
      this.#place(object, prefixes.slice(0, room));
      for (const prefix of prefixes.slice(room)) {
        refused.push({ object, value: formatPrefix(prefix), reason: 'TooMany' });
      }
    }
    return refused;
  }

  #expire(nowMs: number): void {
    const isOver = ({ goneSinceMs }: Entry) => goneSinceMs !== undefined && nowMs - goneSinceMs >= this.#keepMs;
    for (const [text, entry] of this.#entries) {
      if (!isOver(entry)) continue;
      this.#entries.delete(text);
      this.#count(entry.object, -1);
      const load = this.#load(entry.slice);
      load.known--;
      if (entry.isCovered && load.covered > 0) load.covered--;
    }
    for (const [key, entry] of this.#adopted) {
      if (!isOver(entry)) continue;
      this.#adopted.delete(key);
      const load = this.#load(entry.slice);
      load.adopted--;
      // A slice is taken over at once, and so it ends at once.
      load.covered = 0;
    }
  }

  #place(object: string, prefixes: readonly Prefix[]): void {
    for (const [i, prefix] of prefixes.entries()) {
      const over = this.#adoptedOver(prefix);
      const isCovered = over !== undefined && this.#load(over).known < this.#capacity;
      const slice = isCovered ? over : this.#sliceFor(object, prefixes.length - i);
      const load = this.#load(slice);
      load.known++;
      if (isCovered) load.covered++;
      this.#sliceOf.set(object, slice);
      this.#entries.set(formatPrefix(prefix), { prefix, object, slice, isCovered, goneSinceMs: undefined });
      this.#count(object, 1);
    }
  }

  #count(object: string | undefined, change: 1 | -1): void {
    if (object === undefined) return;
    const count = (this.#brought.get(object) ?? 0) + change;
    if (count > 0) this.#brought.set(object, count);
    else this.#brought.delete(object);
  }

  #sliceFor(object: string, count: number): number {
    const before = this.#sliceOf.get(object);
    if (before !== undefined && this.#room(before) > 0) return before;
    const wanted = Math.min(count, this.#capacity);
    let slice = 0;
    while (this.#room(slice) < wanted) slice++;
    return slice;
  }

  #adoptedOver(prefix: Prefix): number | undefined {
    for (const length of this.#adoptedLengths) {
      if (length > prefix.length) continue;
      const entry = this.#adopted.get(keyOf(masked({ ...prefix, length })));
      if (entry !== undefined) return entry.slice;
    }
    return undefined;
  }

  /** For what nothing covers: it has to fit beside what was written before, and still when that is gone. */
  #room(slice: number): number {
    const { known, covered, adopted } = this.#load(slice);
    return this.#capacity - Math.max(known, known - covered + adopted);
  }

  #load(slice: number): Load {
    for (let i = this.#loads.length; i <= slice; i++) this.#loads.push({ known: 0, covered: 0, adopted: 0 });
    return this.#loads[slice]!;
  }

  /** By number of the slice: what it holds. Slice 0 is always there, others only with something in them. */
  slices(): ReadonlyMap<number, readonly string[]> {
    const held = new Map<number, Prefix[]>([[0, []]]);
    for (const entries of [this.#entries, this.#adopted]) {
      for (const { prefix, slice } of entries.values()) push(held, slice, prefix);
    }
    const inOrder = [...held].sort(([a], [b]) => a - b);
    return new Map(
      inOrder.map(([slice, prefixes]) => [slice, foldPrefixes(prefixes, this.#minLengths).map(formatPrefix)]),
    );
  }

  /** When something that has disappeared leaves the set, if nothing else happens before; by the clock of update(). */
  get nextExpiryMs(): number | undefined {
    let first: number | undefined;
    for (const entries of [this.#entries, this.#adopted]) {
      for (const { goneSinceMs } of entries.values()) {
        if (goneSinceMs !== undefined && (first === undefined || goneSinceMs < first)) first = goneSinceMs;
      }
    }
    return first === undefined ? undefined : first + this.#keepMs;
  }
}

/** Much faster than the canonical text. */
const keyOf = ({ value, length, family }: Prefix): string => `${value}/${length}/${family}`;

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else values.push(value);
}
