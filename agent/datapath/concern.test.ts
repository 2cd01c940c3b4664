import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Prefix } from '../../api/cidr.ts';
import { type Cells, cellsOf, concernBytes, concernCellsOf, spread } from './concern.ts';
import { concernWideCells } from './layout.ts';

const CELLS = 65_536;
const bitsOf = (family: 4 | 6) => (family === 4 ? 32 : 128);
const masked = (family: 4 | 6, value: bigint, length: number): Prefix => {
  const hostBits = BigInt(bitsOf(family) - length);
  return { family, value: (value >> hostBits) << hostBits, length };
};
const address = fc.oneof(
  fc.bigInt({ min: 0n, max: 0xffff_ffffn }).map((value) => ({ family: 4 as const, value })),
  fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map((value) => ({ family: 6 as const, value })),
);
const secret = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const has = ({ first, count }: Cells, cell: number) => cell >= first && cell < first + count;

test('spreading is one to one, so that two prefixes meet in a cell by the mask alone', () => {
  const seen = new Set(Array.from({ length: 100_000 }, (_, i) => spread(i)));
  expect(seen.size).toBe(100_000);
  expect(spread(0)).toBe(0);
  expect([...seen].every((value) => Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff)).toBe(true);
});

describe('the cells of a prefix', () => {
  test('are among those that are looked at for each address in it', () => {
    // An address is looked up by its /16 and by the hash of its /24, or of its /64, /48 and /32.
    const lookups = { 4: [16, 24], 6: [16, 32, 48, 64] } as const;
    fc.assert(
      fc.property(address, fc.nat(128), secret, ({ family, value }, n, key) => {
        const length = n % (bitsOf(family) + 1);
        const cells = cellsOf(masked(family, value, length), CELLS, key);
        const looked = lookups[family].map((bits) => cellsOf(masked(family, value, bits), CELLS, key).first);
        expect(looked.some((cell) => has(cells, cell))).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test('stay inside of a half', () => {
    fc.assert(
      fc.property(address, fc.nat(128), secret, ({ family, value }, n, key) => {
        const { first, count } = cellsOf(masked(family, value, n % (bitsOf(family) + 1)), CELLS, key);
        expect(first).toBeGreaterThanOrEqual(0);
        expect(first + count).toBeLessThanOrEqual(concernWideCells + CELLS);
      }),
    );
  });

  test('are exact down to /16, and all of a family for a prefix of length 0', () => {
    expect(cellsOf({ family: 4, value: 0n, length: 0 }, CELLS, 5n)).toEqual({ first: 0, count: 65_536, level: 0 });
    expect(cellsOf({ family: 6, value: 0n, length: 0 }, CELLS, 5n)).toEqual({ first: 65_536, count: 65_536, level: 0 });
    expect(cellsOf({ family: 4, value: 0xc0a80000n, length: 16 }, CELLS, 5n)).toMatchObject({
      first: 0xc0a8,
      count: 1,
    });
    expect(cellsOf({ family: 4, value: 0xc0a80100n, length: 23 }, CELLS, 5n)).toMatchObject({
      first: 0xc0a8,
      count: 1,
    });
    expect(cellsOf({ family: 6, value: 0x2001n << 112n, length: 16 }, CELLS, 5n)).toMatchObject({
      first: 65_536 + 0x2001,
      count: 1,
    });
  });

  test('are others for another secret', () => {
    const prefixes = Array.from({ length: 256 }, (_, i): Prefix => ({ family: 4, value: BigInt(i) << 8n, length: 24 }));
    const at = (key: bigint) => prefixes.map((prefix) => cellsOf(prefix, CELLS, key).first);
    const [one, other] = [at(1n), at(2n)];
    expect(one.filter((cell, i) => cell === other[i]).length).toBeLessThan(5);
  });
});

test('the size of the map tells the number of cells', () => {
  for (const cells of [16, 65_536, 1_048_576]) expect(concernCellsOf(concernBytes(cells))).toBe(cells);
});
