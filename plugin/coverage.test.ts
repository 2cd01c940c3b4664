import fc from 'fast-check';
import { expect, test } from 'vitest';
import { contains, formatPrefix, masked, type Prefix, parsePrefix, parsePrefixOrAddress } from '../api/cidr.ts';
import { prefixesAbout, relationTo } from './coverage.ts';

const prefix = (text: string): Prefix => parsePrefixOrAddress(text)!;

test('tells what covers a source and what lies inside of it', () => {
  const relation = relationTo(prefix('203.0.113.0/24'));
  expect(relation('203.0.0.0/16')).toBe('covers');
  expect(relation('203.0.113.0/24')).toBe('covers');
  expect(relation('203.0.113.7/32')).toBe('inside');
  expect(relation('203.0.114.0/24')).toBeUndefined();
  expect(relation('2001:db8::/32')).toBeUndefined();
  expect(relation('nonsense')).toBeUndefined();
});

const anyPrefix = fc
  .record({ value: fc.bigInt({ min: 0n, max: 0xffn }), length: fc.integer({ min: 24, max: 32 }) })
  .map(({ value, length }) => masked({ family: 4, value: (0xcb0071n << 8n) | value, length }));

test('agrees with the arithmetic of prefixes', () => {
  fc.assert(
    fc.property(anyPrefix, anyPrefix, (source, other) => {
      const expected = contains(other, source) ? 'covers' : contains(source, other) ? 'inside' : undefined;
      expect(relationTo(source)(formatPrefix(other))).toBe(expected);
    }),
  );
});

test('finds the lines of a chunk, with or without a line feed at its end', () => {
  const relation = relationTo(prefix('203.0.113.7'));
  const found = { cidrs: ['203.0.112.0/20', '203.0.113.7/32'], covers: true };
  const lines = ['198.51.100.0/24', '203.0.112.0/20', '203.0.113.6/32', '203.0.113.7/32'];
  expect(prefixesAbout(lines.join('\n'), relation)).toEqual(found);
  expect(prefixesAbout(`${lines.join('\n')}\n`, relation)).toEqual(found);
  expect(prefixesAbout('', relation)).toEqual({ cidrs: [], covers: false });
});

test('of very many entries inside of a prefix the first are told, and one that covers it is not missed', () => {
  const relation = relationTo(prefix('10.0.0.0/16'));
  const inside = Array.from({ length: 60_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}/32`);
  const { cidrs, covers } = prefixesAbout([...inside, '10.0.0.0/8'].join('\n'), relation);
  expect(cidrs).toHaveLength(20);
  expect(covers).toBe(true);
  expect(cidrs.every((cidr) => contains(prefix('10.0.0.0/16'), parsePrefix(cidr)!))).toBe(true);
});
