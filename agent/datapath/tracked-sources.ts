import { domainStruct, firstStruct, firstsPerDomain, sourceStruct, sourcesPerDomain } from './layout.ts';
import type { NodeTables } from './tables.ts';

/** 4 MB a step, about 5 ms; in parts, so that the buffer stays small. */
const PARTS_A_STEP = 8;
const DOMAINS_A_PART = 256;
const FIRST_TICK_MASK = (1n << 34n) - 1n;

/**
 * How many sources are tracked. Nothing counts them in the kernel, where they expire silently; the table is swept in
 * steps instead, so the figures are at most one sweep old.
 */
export class TrackedSources {
  readonly #tables: NodeTables;
  readonly #buffer = Buffer.alloc(DOMAINS_A_PART * domainStruct.bytes);
  #next = 0;
  #sweep = { firsts: 0, sources: 0 };
  #last = { firsts: 0, sources: 0 };

  constructor(tables: NodeTables) {
    this.#tables = tables;
  }

  get counts(): { readonly firsts: number; readonly sources: number } {
    return this.#last;
  }

  /** Reads the next parts; `windowTicks` is the longest window of all policies. True when a sweep was completed. */
  step(now: bigint, windowTicks: bigint): boolean {
    const map = this.#tables.map('domains');
    for (let part = 0; part < PARTS_A_STEP; part++) {
      const count = Math.min(DOMAINS_A_PART, map.shape.maxEntries - this.#next);
      const values = map.readArray(this.#next, count, this.#buffer);
      for (let i = 0; i * domainStruct.bytes < values.length; i++)
        this.#count(values, i * domainStruct.bytes, now, windowTicks);
      this.#next += count;
      if (this.#next < map.shape.maxEntries) continue;
      this.#last = this.#sweep;
      this.#sweep = { firsts: 0, sources: 0 };
      this.#next = 0;
      return true;
    }
    return false;
  }

  #count(domain: Buffer, at: number, now: bigint, windowTicks: bigint): void {
    for (let i = 0; i < firstsPerDomain; i++) {
      if (domain.readUInt16LE(at + domainStruct.firstTags + 2 * i) === 0) continue;
      const stamp = domain.readBigUInt64LE(at + domainStruct.firsts + i * firstStruct.bytes + firstStruct.stamp);
      if (((now - (stamp >> 30n)) & FIRST_TICK_MASK) < windowTicks) this.#sweep.firsts++;
    }
    for (let i = 0; i < sourcesPerDomain; i++) {
      if (domain.readUInt16LE(at + domainStruct.sourceTags + 2 * i) === 0) continue;
      const source = at + domainStruct.sources + i * sourceStruct.bytes;
      const settled = domain.readUInt16LE(source + sourceStruct.settled);
      if (settled === 0 && domain.readBigUInt64LE(source + sourceStruct.freshUntil) > now) this.#sweep.sources++;
    }
  }
}
