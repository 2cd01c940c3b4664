import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LineSplitter, LineTooLong } from './line-splitter.ts';

const split = (chunks: readonly Buffer[], maxLineBytes = 1000) => {
  const splitter = new LineSplitter(maxLineBytes);
  return { lines: chunks.flatMap((chunk) => [...splitter.push(chunk)]), pendingBytes: splitter.pendingBytes };
};

test('cuts where the lines end, wherever the chunks do, also within characters', () => {
  const line = fc.string({ unit: 'binary' }).map((text) => `x${text.replace(/\s/gu, '')}ü🧱`);
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat(300)), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((one) => `${one}\n`).join(''));
      const ends = [...cuts.filter((cut) => cut < bytes.length), bytes.length].sort((a, b) => a - b);
      const chunks = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
      expect(split(chunks, 10_000)).toEqual({ lines, pendingBytes: 0 });
    }),
  );
});

test('leaves blank lines out and takes CRLF', () => {
  expect(split([Buffer.from('a\r\n\n  \nb\n')]).lines).toEqual(['a', 'b']);
});

test('keeps what has no end yet, and says how much that is', () => {
  expect(split([Buffer.from('a\nbc'), Buffer.from('d')])).toEqual({ lines: ['a'], pendingBytes: 3 });
});

test('a line may have as many bytes as the bound, and no more, in one chunk or in many', () => {
  expect(split([Buffer.from(`${'x'.repeat(10)}\n`)], 10).lines).toEqual(['x'.repeat(10)]);
  expect(() => split([Buffer.from(`${'x'.repeat(11)}\n`)], 10)).toThrow(LineTooLong);
  expect(() =>
    split(
      Array.from({ length: 11 }, () => Buffer.from('x')),
      10,
    ),
  ).toThrow('a line is longer than 10 bytes');
});
