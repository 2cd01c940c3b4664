import type { PrefixWords } from './read-prefix.ts';
import { writeIpv4, writeIpv6 } from './write-prefix.ts';

/** Four words of address and the length. */
const stride = 5;
/** address * 64 + length is exact in a double, and sorts by address, then length. */
const lengths = 64;

/**
 * Distinct prefixes in ascending order, IPv4 first, as numbers: 8 bytes for IPv4 and 20 for IPv6, where strings in an array
 * take about 60. A list of a million must fit beside everything else that the operator holds.
 */
export class SortedPrefixes {
  readonly #v4: Float64Array;
  readonly #v6: Uint32Array;

  constructor(v4: Float64Array, v6: Uint32Array) {
    this.#v4 = v4;
    this.#v6 = v6;
  }

  get count(): number {
    return this.#v4.length + this.#v6.length / stride;
  }

  /** Writes the canonical text of a prefix into `buffer` at `at` as ASCII; returns where it ends. Needs room for 43 bytes. */
  write(index: number, buffer: Uint8Array, at: number): number {
    if (index < this.#v4.length) {
      const key = this.#v4[index]!;
      return writeIpv4(Math.floor(key / lengths), key % lengths, buffer, at);
    }
    return writeIpv6(this.#v6, (index - this.#v4.length) * stride, buffer, at);
  }

  /** 32 bits that look random and depend on the prefix alone. */
  hash(index: number): number {
    if (index < this.#v4.length) {
      const key = this.#v4[index]!;
      return mix(mix(Math.floor(key / lengths)) ^ (key % lengths));
    }
    const at = (index - this.#v4.length) * stride;
    let result = 0;
    for (let i = 0; i < stride; i++) result = mix(result ^ this.#v6[at + i]!);
    return result;
  }

  has(prefix: PrefixWords): boolean {
    if (prefix.family === 4) {
      const key = prefix.words[0]! * lengths + prefix.length;
      const at = lowerBound(this.#v4.length, (index) => this.#v4[index]! < key);
      return this.#v4[at] === key;
    }
    const count = this.#v6.length / stride;
    const at = lowerBound(count, (index) => this.#compare(index, prefix) < 0);
    return at < count && this.#compare(at, prefix) === 0;
  }

  #compare(index: number, { words, length }: PrefixWords): number {
    for (let i = 0; i < 4; i++) {
      const difference = this.#v6[index * stride + i]! - words[i]!;
      if (difference !== 0) return difference;
    }
    return this.#v6[index * stride + 4]! - length;
  }
}

/** Prefixes in one block of a table. */
const blockLength = 65_536;

/** Collects prefixes in any order, duplicates among them; in blocks, since a copy that doubles takes thrice the room. */
export class PrefixTable {
  #v4: Float64Array[] = [];
  #v4Count = 0;
  #v6: Uint32Array[] = [];
  #v6Count = 0;

  add({ family, words, length }: PrefixWords): void {
    if (family === 4) {
      const at = this.#v4Count++ % blockLength;
      if (at === 0) this.#v4.push(new Float64Array(blockLength));
      this.#v4.at(-1)![at] = words[0]! * lengths + length;
      return;
    }
    const at = (this.#v6Count++ % blockLength) * stride;
    if (at === 0) this.#v6.push(new Uint32Array(blockLength * stride));
    const block = this.#v6.at(-1)!;
    block.set(words, at);
    block[at + 4] = length;
  }

  /** Takes everything out of the table. */
  sorted(): SortedPrefixes {
    const v4 = joined(this.#v4, new Float64Array(this.#v4Count));
    const v6 = joined(this.#v6, new Uint32Array(this.#v6Count * stride));
    this.#v4Count = 0;
    this.#v6Count = 0;
    return new SortedPrefixes(distinct(v4.sort()), sortedIpv6(v6));
  }
}

/** Moves the blocks into `whole`, each given up as soon as it is copied. */
function joined<A extends Float64Array | Uint32Array>(blocks: A[], whole: A): A {
  for (let at = 0; blocks.length > 0; ) {
    const block = blocks.shift()!.subarray(0, whole.length - at);
    whole.set(block, at);
    at += block.length;
  }
  return whole;
}

/** In place. */
function distinct(sorted: Float64Array): Float64Array {
  let count = 0;
  for (let i = 0; i < sorted.length; i++) {
    if (i === 0 || sorted[i] !== sorted[i - 1]) sorted[count++] = sorted[i]!;
  }
  return trimmed(sorted, count);
}

/** A view keeps all of its buffer alive: one that leaves much of it unused is copied. */
function trimmed<A extends Float64Array | Uint32Array>(array: A, length: number): A {
  return (length > array.length * 0.9 ? array.subarray(0, length) : array.slice(0, length)) as A;
}

/**
 * Radix sort of an index, 16 bits a pass from the least significant on: a sort with a comparison function takes seconds for a
 * million rows, during which nothing else runs.
 */
function sortedIpv6(rows: Uint32Array): Uint32Array {
  const count = rows.length / stride;
  let order = new Uint32Array(count);
  let other = new Uint32Array(count);
  for (let i = 0; i < count; i++) order[i] = i;
  const starts = new Uint32Array(0x10001);
  const digits = [{ word: 4, shift: 0 }];
  for (let word = 3; word >= 0; word--) digits.push({ word, shift: 0 }, { word, shift: 16 });
  for (const { word, shift } of digits) {
    starts.fill(0);
    for (let i = 0; i < count; i++) starts[((rows[i * stride + word]! >>> shift) & 0xffff) + 1]!++;
    // Real lists share most of their digits.
    if (count > 0 && starts[((rows[word]! >>> shift) & 0xffff) + 1] === count) continue;
    for (let i = 0; i < 0x10000; i++) starts[i + 1]! += starts[i]!;
    for (let i = 0; i < count; i++) {
      const row = order[i]!;
      other[starts[(rows[row * stride + word]! >>> shift) & 0xffff]!++] = row;
    }
    [order, other] = [other, order];
  }
  const result = new Uint32Array(count * stride);
  let end = 0;
  for (let i = 0; i < count; i++) {
    const from = order[i]! * stride;
    if (end > 0 && isSameRow(rows, from, result, end - stride)) continue;
    for (let j = 0; j < stride; j++) result[end + j] = rows[from + j]!;
    end += stride;
  }
  return trimmed(result, end);
}

function isSameRow(a: Uint32Array, aFrom: number, b: Uint32Array, bFrom: number): boolean {
  for (let i = 0; i < stride; i++) if (a[aFrom + i] !== b[bFrom + i]) return false;
  return true;
}

/** The finalizer of MurmurHash3. */
function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The first index below `count` at which `isBefore` is false. */
function lowerBound(count: number, isBefore: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
