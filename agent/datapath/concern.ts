import type { Prefix } from '../../api/cidr.ts';
import type { BpfMap, MappedArray } from '../libbpf/map.ts';
import { concernWideCells, controlStruct, v6Level } from './layout.ts';

/** bpf/concern.h's spread(), bit for bit. */
export const spread = (input: number): number => {
  const x = Math.imul(input, 0x9e3779b1);
  return (x ^ (x >>> 15)) >>> 0;
};

/** 8 cells of 4 bits a 32-bit word. */
const CELLS_A_WORD = 8;
/** First cell of the exact IPv6 /16 region. */
const V6_WIDE = 65_536;

/** Which cells of a half stand for a prefix, and which hashed IPv6 level that uses. */
export interface Cells {
  /** A run of exact cells, or one hashed cell. */
  readonly first: number;
  readonly count: number;
  readonly level: number;
}

export const cellsOf = (prefix: Prefix, cells: number, secret: bigint): Cells => {
  const mask = cells - 1;
  const low = Number(secret & 0xffff_ffffn);
  const high = Number(secret >> 32n);
  if (prefix.family === 4) {
    const address = Number(prefix.value);
    if (prefix.length < 24) {
      const count = prefix.length >= 16 ? 1 : 2 ** (16 - prefix.length);
      return { first: address >>> 16, count, level: 0 };
    }
    return { first: concernWideCells + (spread((address >>> 8) ^ low) & mask), count: 1, level: 0 };
  }
  const hi = prefix.value >> 64n;
  if (prefix.length < 32) {
    const count = prefix.length >= 16 ? 1 : 2 ** (16 - prefix.length);
    return { first: V6_WIDE + Number(hi >> 48n), count, level: 0 };
  }
  const level =
    prefix.length >= 64 ? v6Level.V6_LEVEL_64 : prefix.length >= 48 ? v6Level.V6_LEVEL_48 : v6Level.V6_LEVEL_32;
  const kept =
    level === v6Level.V6_LEVEL_64 ? hi : level === v6Level.V6_LEVEL_48 ? (hi >> 16n) << 16n : (hi >> 32n) << 32n;
  const top = Number(kept >> 32n);
  const bottom = Number(kept & 0xffff_ffffn);
  const hash = spread(top ^ spread(bottom ^ level ^ high));
  return { first: concernWideCells + (hash & mask), count: 1, level };
};

/** Bytes of the map's one element: struct control, then two halves of cells, two to a byte. */
export const concernBytes = (cells: number): number => controlStruct.bytes + concernWideCells + cells;

/** Its inverse: cells of a half. */
export const concernCellsOf = (bytes: number): number => bytes - controlStruct.bytes - concernWideCells;

/**
 * The prefilter that the program asks before any table, seen from user space. Bits are added to both halves at once;
 * they are taken back only by building the idle half afresh and flipping, so that no packet ever meets a half-built one.
 */
export class ConcernFilter {
  readonly #words: Int32Array;
  readonly #control: Int32Array;
  readonly #map: MappedArray;
  readonly #cells: number;
  readonly #secret: bigint;
  readonly #halfWords: number;

  constructor(concern: BpfMap, secret: bigint) {
    this.#map = concern.mmap();
    this.#control = new Int32Array(this.#map.memory, 0, controlStruct.bytes / 4);
    this.#cells = concernCellsOf(concern.shape.valueBytes);
    this.#halfWords = (concernWideCells + this.#cells) / CELLS_A_WORD;
    this.#words = new Int32Array(this.#map.memory, controlStruct.bytes, 2 * this.#halfWords);
    this.#secret = secret;
  }

  /** Announces an entry that already stands in its table. */
  add(prefix: Prefix, bits: number): void {
    this.#mark(0, prefix, bits);
    this.#mark(1, prefix, bits);
  }

  /**
   * Builds the idle half from all entries of all tables and makes it the active one. `entries` must read the tables
   * after it is called, not before: what the program adds meanwhile it adds to both halves, after its table.
   */
  rebuild(entries: () => Iterable<{ readonly prefix: Prefix; readonly bits: number }>): void {
    const idle = 1 - Atomics.load(this.#control, controlStruct.concernHalf / 4);
    this.#words.fill(0, idle * this.#halfWords, (idle + 1) * this.#halfWords);
    for (const { prefix, bits } of entries()) this.#mark(idle, prefix, bits);
    Atomics.store(this.#control, controlStruct.concernHalf / 4, idle);
  }

  /** Hashed cells that are not empty, in the active half. */
  usedCells(): number {
    const half = Atomics.load(this.#control, controlStruct.concernHalf / 4);
    let used = 0;
    const start = half * this.#halfWords + concernWideCells / CELLS_A_WORD;
    for (let i = start; i < (half + 1) * this.#halfWords; i++) {
      let word = this.#words[i]!;
      for (; word !== 0; word >>>= 4) if (word & 15) used++;
    }
    return used;
  }

  set manualEntries(count: number) {
    Atomics.store(this.#control, controlStruct.manualEntries / 4, count);
  }

  close(): void {
    this.#map.unmap();
  }

  #mark(half: number, prefix: Prefix, bits: number): void {
    const { first, count, level } = cellsOf(prefix, this.#cells, this.#secret);
    for (let cell = first; cell < first + count; cell++)
      Atomics.or(this.#words, half * this.#halfWords + (cell >>> 3), bits << ((cell & 7) * 4));
    if (level !== 0) Atomics.or(this.#control, controlStruct.v6Levels / 4, level);
  }
}
