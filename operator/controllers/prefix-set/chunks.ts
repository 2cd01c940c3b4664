import { createHash } from 'node:crypto';
import type { SortedPrefixes } from './prefix-table.ts';

/** A run of a list's prefixes that goes into one PrefixChunk. */
export interface Chunk {
  /** Of the PrefixChunk: says whose it is and what it holds. */
  readonly name: string;
  /** The first prefix, and the one behind the last. */
  readonly from: number;
  readonly to: number;
}

/** What the schemas admit: bytes of one chunk, chunks of one list. */
export const maxChunkBytes = 262_144;
export const maxChunks = 128;

/**
 * Largest chunks that are tried, small first. A change of one line makes every agent fetch one chunk, so small ones are
 * better as long as there are not too many.
 */
const sizes = [65_536, 131_072, maxChunkBytes];
/** A finer cut is taken up to this many chunks, and a coarser one is looked at from half as many on: so a list that lies between the two stays with what it has. */
const manyChunks = 120;
const someChunks = 48;

/** No canonical text is longer, its line feed included. */
const maxLineBytes = 44;

/** How a list's chunks are named: `<first 8 of the uid>-<first 40 hex digits of the SHA-256 of spec.prefixes>`. */
export function chunkName(listUid: string, prefixes: Uint8Array | string): string {
  return `${listUid.slice(0, 8)}-${createHash('sha256').update(prefixes).digest('hex').slice(0, 40)}`;
}

/** `status.prefixSet.digest` of a set of chunks. */
export function setDigest(names: readonly string[]): string {
  return createHash('sha256').update(names.join('\n')).digest('hex');
}

/** The text of a chunk: what is `spec.prefixes` there. */
export function chunkText(prefixes: SortedPrefixes, { from, to }: Pick<Chunk, 'from' | 'to'>): string {
  const buffer = Buffer.allocUnsafe(maxChunkBytes + maxLineBytes);
  let end = 0;
  for (let i = from; i < to; i++) {
    end = prefixes.write(i, buffer, end);
    buffer[end++] = lineFeed;
  }
  return buffer.toString('latin1', 0, end - 1);
}

const lineFeed = 10;

/**
 * Cuts a list into chunks so that a changed line changes one or two of them: each ends in its last quarter, behind the
 * prefix whose hash is the least there. What lies before a change is cut as it was, and behind it the same least hash is
 * found again. Yields chunks one by one, so that who calls can let others run in between.
 */
export function* cut(prefixes: SortedPrefixes, listUid: string, maxBytes: number): Generator<Chunk> {
  const buffer = Buffer.allocUnsafe(maxBytes + maxLineBytes);
  const earliest = maxBytes - maxBytes / 4;
  let from = 0;
  /** Bytes of the lines from `from` on, line feeds included. */
  let used = 0;
  let best = { hash: Number.POSITIVE_INFINITY, to: 0, bytes: 0 };
  let i = 0;
  while (i < prefixes.count) {
    const end = prefixes.write(i, buffer, used);
    // The last line feed of a chunk is not written.
    if (end <= maxBytes) {
      buffer[end] = lineFeed;
      used = end + 1;
      i++;
      const hash = end > earliest ? prefixes.hash(i - 1) : Number.POSITIVE_INFINITY;
      if (hash < best.hash) best = { hash, to: i, bytes: used };
      continue;
    }
    yield { name: chunkName(listUid, buffer.subarray(0, best.bytes - 1)), from, to: best.to };
    from = best.to;
    i = from;
    used = 0;
    best = { hash: Number.POSITIVE_INFINITY, to: 0, bytes: 0 };
  }
  if (i > from) yield { name: chunkName(listUid, buffer.subarray(0, used - 1)), from, to: i };
}

/**
 * Cuts a list into at most 128 chunks, of the size for which the least has to be made anew beside the chunks of
 * `previous`. Undefined when it does not fit. Yields now and then, for others to run.
 */
export function* chunksOf(
  prefixes: SortedPrefixes,
  listUid: string,
  previous: readonly string[],
): Generator<undefined, readonly Chunk[] | undefined> {
  const known = new Set(previous);
  /** `missing`: prefixes in chunks that have to be made. */
  let chosen: { chunks: readonly Chunk[]; missing: number } | undefined;
  for (const size of sizes) {
    const most = size === maxChunkBytes ? maxChunks : manyChunks;
    const chunks: Chunk[] = [];
    for (const chunk of cut(prefixes, listUid, size)) {
      chunks.push(chunk);
      if (chunks.length > most) break;
      if (chunks.length % 4 === 0) yield undefined;
    }
    if (chunks.length > most) continue;
    const missing = chunks.reduce((sum, { name, from, to }) => sum + (known.has(name) ? 0 : to - from), 0);
    if (chosen === undefined || missing < chosen.missing) chosen = { chunks, missing };
    if (chunks.length <= someChunks) break;
  }
  return chosen?.chunks;
}
