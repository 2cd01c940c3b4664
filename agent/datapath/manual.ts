import { contains, type Prefix } from '../../api/cidr.ts';
import { PortcullisError } from '../../api/errors.ts';
import { decodeManual, encodeManual, encodeTrieKey, formatSource, type ManualValue } from './codec.ts';
import type { NodeTables } from './tables.ts';
import { trieEntries } from './tries.ts';

export interface ManualBlock extends ManualValue {
  readonly source: Prefix;
}

/**
 * Blocks by hand. The kernel takes the longest match, so each entry carries the latest deadline of all that cover it:
 * an expired block of one address must not hide a live one of its network. Callers hold Pins.withTables().
 */
export class ManualBlocks {
  readonly #tables: NodeTables;

  constructor(tables: NodeTables) {
    this.#tables = tables;
  }

  all(): ManualBlock[] {
    return (['manual4', 'manual6'] as const).flatMap((name) =>
      trieEntries(this.#tables.map(name)).map(({ prefix, value }) => ({ source: prefix, ...decodeManual(value) })),
    );
  }

  /** @throws PortcullisError TableFull */
  add(source: Prefix, ownUntil: bigint, now: bigint, reason: string): void {
    const blocks = this.all();
    const standing = blocks.find((block) => same(block.source, source));
    const map = this.#tables.map(`manual${source.family}`);
    const ofFamily = blocks.filter((block) => block.source.family === source.family);
    if (!standing && ofFamily.length >= map.shape.maxEntries) {
      throw new PortcullisError(
        'TableFull',
        `${formatSource(source)} cannot be blocked: all ${map.shape.maxEntries} manual blocks are taken`,
        { field: '--max-manual-blocks', value: map.shape.maxEntries },
      );
    }
    const added: ManualBlock = {
      source,
      until: ownUntil,
      ownUntil,
      since: now,
      dropped: standing?.dropped ?? 0,
      reason,
    };
    this.#write([...blocks.filter((block) => block !== standing), added]);
  }

  /** Puts many back at once, beside those that stand; of those there is no room for, the last are left out. Returns how many went in. */
  restore(saved: readonly Omit<ManualBlock, 'until'>[]): number {
    const blocks = this.all();
    const room = { 4: this.#tables.map('manual4').shape.maxEntries, 6: this.#tables.map('manual6').shape.maxEntries };
    const standing = new Set(blocks.map(({ source }) => formatSource(source)));
    for (const { source } of blocks) room[source.family]--;
    let restored = 0;
    for (const block of saved) {
      if (standing.has(formatSource(block.source)) || room[block.source.family] === 0) continue;
      standing.add(formatSource(block.source));
      room[block.source.family]--;
      restored++;
      blocks.push({ ...block, until: block.ownUntil });
    }
    this.#write(blocks);
    return restored;
  }

  /** Ends the block of exactly this source. False when there is none. */
  remove(source: Prefix): boolean {
    const blocks = this.all();
    const standing = blocks.find((block) => same(block.source, source));
    if (!standing) return false;
    this.#tables.map(`manual${source.family}`).delete(encodeTrieKey(source));
    this.#write(blocks.filter((block) => block !== standing));
    return true;
  }

  /** Takes out what has expired. Returns how many entries are left. */
  collect(now: bigint): number {
    const blocks = this.all();
    const live = blocks.filter((block) => block.ownUntil > now);
    for (const block of blocks)
      if (block.ownUntil <= now) this.#tables.map(`manual${block.source.family}`).delete(encodeTrieKey(block.source));
    if (live.length < blocks.length) this.#write(live);
    return live.length;
  }

  /** Brings every entry's `until` up to date; the packets counted meanwhile are read again just before. */
  #write(blocks: readonly ManualBlock[]): void {
    for (const block of blocks) {
      const until = blocks.reduce(
        (latest, other) => (contains(other.source, block.source) && other.ownUntil > latest ? other.ownUntil : latest),
        block.ownUntil,
      );
      const map = this.#tables.map(`manual${block.source.family}`);
      const key = encodeTrieKey(block.source);
      const value = map.lookup(key);
      const standing = value && decodeManual(value);
      if (standing?.until === until && standing.ownUntil === block.ownUntil && standing.reason === block.reason)
        continue;
      map.update(key, encodeManual({ ...block, until, dropped: standing?.dropped ?? block.dropped }));
    }
  }
}

const same = (a: Prefix, b: Prefix): boolean => a.family === b.family && a.length === b.length && a.value === b.value;
