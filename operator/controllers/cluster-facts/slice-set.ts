import { comparePrefixes } from '../../../agent/resolve/prefix-fold.ts';
import { formatPrefix, masked, type Prefix } from '../../../api/cidr.ts';
import { foldPrefixes, type MinLengths } from './fold-prefixes.ts';
import type { Sighting } from './read-facts.ts';

/** What the schema admits. */
export const maxSlicePrefixes = 1000;

interface Entry {
  readonly prefix: Prefix;
  readonly slice: number;
  /** Undefined: it is there. */
  goneSinceMs: number | undefined;
}

/**
 * Prefixes of one sort, spread over slices of at most 1,000. A prefix stays in its slice as long as it is known, and what
 * disappears stays for a while: every agent gets every slice that changes, so that a node more has to change one slice and a
 * node that restarts none. Neighbours become one prefix within their slice only, for the same reason.
 */
export class SliceSet {
  readonly #minLengths: MinLengths;
  readonly #keepMs: number;
  readonly #entries = new Map<string, Entry>();
  /** Out of slices that were written before: folded, so they say in which slice to put what they cover. */
  readonly #adopted = new Map<string, Entry>();
  readonly #adoptedLengths = new Set<number>();
  /** By slice: entries in it. */
  readonly #used: number[] = [];
  /** By object: its slice. */
  readonly #sliceOf = new Map<string, number>();

  /** `keepMs`: how long what has disappeared stays. */
  constructor({ minLengths, keepMs }: { readonly minLengths: MinLengths; readonly keepMs: number }) {
    this.#minLengths = minLengths;
    this.#keepMs = keepMs;
  }

  /** Takes over a slice as it is in the store: it stays as long as if all of it had disappeared now. */
  adopt(slice: number, prefixes: readonly Prefix[], nowMs: number): void {
    for (const prefix of prefixes) {
      this.#adopted.set(keyOf(prefix), { prefix, slice, goneSinceMs: nowMs });
      this.#adoptedLengths.add(prefix.length);
    }
  }

  /** Takes in all that is known now. `nowMs` is monotonic. */
  update(sightings: readonly Sighting[], nowMs: number): void {
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
    for (const { object, prefixes } of fresh) this.#place(object, prefixes);
  }

  #expire(nowMs: number): void {
    for (const entries of [this.#entries, this.#adopted]) {
      for (const [text, { goneSinceMs, slice }] of entries) {
        if (goneSinceMs === undefined || nowMs - goneSinceMs < this.#keepMs) continue;
        entries.delete(text);
        if (entries === this.#entries) this.#used[slice]!--;
      }
    }
  }

  #place(object: string, prefixes: readonly Prefix[]): void {
    for (const [i, prefix] of prefixes.entries()) {
      const wish = this.#adoptedOver(prefix) ?? this.#sliceOf.get(object);
      const slice = wish !== undefined && this.#room(wish) > 0 ? wish : this.#withRoom(prefixes.length - i);
      this.#used[slice] = (this.#used[slice] ?? 0) + 1;
      this.#sliceOf.set(object, slice);
      this.#entries.set(formatPrefix(prefix), { prefix, slice, goneSinceMs: undefined });
    }
  }

  #adoptedOver(prefix: Prefix): number | undefined {
    for (const length of this.#adoptedLengths) {
      if (length > prefix.length) continue;
      const entry = this.#adopted.get(keyOf(masked({ ...prefix, length })));
      if (entry !== undefined) return entry.slice;
    }
    return undefined;
  }

  #room(slice: number): number {
    return maxSlicePrefixes - (this.#used[slice] ?? 0);
  }

  #withRoom(count: number): number {
    const wanted = Math.min(count, maxSlicePrefixes);
    let slice = 0;
    while (this.#room(slice) < wanted) slice++;
    return slice;
  }

  /** By number of the slice: what it holds. Slice 0 is always there, others only with something in them. */
  slices(): ReadonlyMap<number, readonly string[]> {
    const known = new Map<number, Prefix[]>([[0, []]]);
    const adopted = new Map<number, Prefix[]>();
    for (const { prefix, slice } of this.#entries.values()) push(known, slice, prefix);
    for (const { prefix, slice } of this.#adopted.values()) push(adopted, slice, prefix);
    const result = new Map<number, readonly string[]>();
    for (const slice of [...new Set([...known.keys(), ...adopted.keys()])].sort((a, b) => a - b)) {
      const current = known.get(slice) ?? [];
      const all = foldPrefixes([...current, ...(adopted.get(slice) ?? [])], this.#minLengths);
      const fits = all.length <= maxSlicePrefixes;
      result.set(slice, (fits ? all : foldPrefixes(current, this.#minLengths)).map(formatPrefix));
    }
    return result;
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
