import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type Chunk, chunksOf, chunkText, cut, maxChunkBytes, setDigest } from './chunks.ts';
import { PrefixTable, type SortedPrefixes } from './prefix-table.ts';
import { readLines } from './read-lines.ts';

const uid = '6f1b0c1e-0000-4000-8000-000000000000';

/** A generator of our own, so that a failure can be run again. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function randomLines(count: number, random: () => number, ipv6Share = 0): string[] {
  const byte = () => Math.floor(random() * 256);
  const field = () => Math.floor(random() * 65536).toString(16);
  return Array.from({ length: count }, () =>
    random() < ipv6Share
      ? `2001:db8:${field()}:${field()}::/64`
      : `${1 + (byte() % 220)}.${byte()}.${byte()}.${byte()}`,
  );
}

function tableOf(lines: readonly string[]): SortedPrefixes {
  const table = new PrefixTable();
  const { refused } = readLines(lines.join('\n'), table, { allowWide: false, maxRefusedLines: 0 });
  expect(refused).toBe(0);
  return table.sorted();
}

function allChunks(prefixes: SortedPrefixes, previous: readonly string[] = []): readonly Chunk[] {
  const steps = chunksOf(prefixes, uid, previous);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value!;
  }
}

const names = (chunks: readonly Chunk[]) => chunks.map(({ name }) => name);
const isNew = (before: readonly Chunk[], after: readonly Chunk[]) =>
  after.filter(({ name }) => !names(before).includes(name)).length;

describe('chunks', () => {
  const lines = randomLines(60_000, randomFrom(1), 0.2);
  const prefixes = tableOf(lines);
  const chunks = allChunks(prefixes);

  it('hold every prefix once, in order, each within its size', () => {
    const texts = chunks.map((chunk) => chunkText(prefixes, chunk));
    expect(texts.join('\n')).toBe(wholeText(prefixes));
    for (const text of texts) expect(text.length).toBeLessThanOrEqual(65_536);
    expect(chunks.length).toBeGreaterThan(10);
  });

  it('are named for the list and for what they hold', () => {
    for (const chunk of chunks) {
      const digest = createHash('sha256').update(chunkText(prefixes, chunk)).digest('hex');
      expect(chunk.name).toBe(`6f1b0c1e-${digest.slice(0, 40)}`);
    }
    expect(setDigest(['a', 'b'])).toBe(createHash('sha256').update('a\nb').digest('hex'));
  });

  it('are the same whatever order the lines had', () => {
    expect(names(allChunks(tableOf([...lines].reverse())))).toEqual(names(chunks));
  });

  it('change by one or two when one line comes or goes, not all', () => {
    const random = randomFrom(7);
    let most = 0;
    let sum = 0;
    const runs = 40;
    for (let run = 0; run < runs; run++) {
      const at = Math.floor(random() * lines.length);
      const changed = run % 2 === 0 ? [...lines, ...randomLines(1, random)] : lines.filter((_, i) => i !== at);
      const fresh = isNew(chunks, allChunks(tableOf(changed), names(chunks)));
      most = Math.max(most, fresh);
      sum += fresh;
    }
    expect(sum / runs).toBeLessThan(1.5);
    expect(most).toBeLessThanOrEqual(4);
  });

  it('keep their size while a list grows and shrinks around the one at which a new list gets larger ones', () => {
    // Near 48 chunks of 64 KiB a coarser cut is looked at as well.
    let current = randomLines(170_000, randomFrom(3));
    let before = allChunks(tableOf(current));
    const random = randomFrom(4);
    for (const step of [5000, 5000, -9000, 6000]) {
      current = step > 0 ? [...current, ...randomLines(step, random)] : current.slice(0, step);
      const after = allChunks(tableOf(current), names(before));
      const largest = Math.max(...after.map(({ from, to }) => to - from));
      expect(largest).toBeLessThan(5000);
      before = after;
    }
  });

  it('are none for an empty list', () => {
    expect(allChunks(tableOf([]))).toEqual([]);
  });

  it('become larger for larger lists, and never more than 128', () => {
    const many = tableOf(randomLines(500_000, randomFrom(5)));
    const cuts = allChunks(many);
    expect(cuts.length).toBeLessThanOrEqual(128);
    expect(Math.max(...[...cut(many, uid, maxChunkBytes)].map(({ from, to }) => to - from))).toBeGreaterThan(12_000);
  });
});

/** All of a table as one text, in pieces that fit. */
function wholeText(prefixes: SortedPrefixes): string {
  const texts: string[] = [];
  for (let from = 0; from < prefixes.count; from += 5000) {
    texts.push(chunkText(prefixes, { from, to: Math.min(from + 5000, prefixes.count) }));
  }
  return texts.join('\n');
}
