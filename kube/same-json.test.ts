import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sameJson } from './same-json.ts';

test.each([
  [
    { a: 1, b: [2, { c: null }] },
    { b: [2, { c: null }], a: 1 },
  ],
  [{ a: 1, b: undefined }, { a: 1 }],
  [[], []],
])('%j is the same as %j', (a, b) => expect(sameJson(a, b)).toBe(true));

test.each([
  [{ a: 1 }, { a: '1' }],
  [{ a: null }, {}],
  [{ a: 1 }, { a: 1, b: 2 }],
  [{ a: undefined, b: 1 }, { a: 1 }],
  [
    [1, 2],
    [2, 1],
  ],
  [[1], [1, undefined]],
  [[], {}],
  [null, {}],
  [{}, undefined],
  [{ toString: 1 }, { valueOf: 1 }],
])('%j is not the same as %j', (a, b) => {
  expect(sameJson(a, b)).toBe(false);
  expect(sameJson(b, a)).toBe(false);
});

test('is what JSON says when the keys are sorted', () => {
  // Tagged, so that a mapping does not read as a list of pairs.
  const sorted = (value: unknown): unknown => {
    if (Array.isArray(value)) return ['list', ...value.map(sorted)];
    if (typeof value !== 'object' || value === null) return value;
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return ['mapping', ...entries.map(([key, item]) => [key, sorted(item)])];
  };
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof({ maxDepth: 3 }, fc.constantFrom(0, 1, '1', null, true), tie('list'), tie('mapping')),
    list: fc.array(tie('value'), { maxLength: 2 }),
    mapping: fc.dictionary(fc.constantFrom('a', 'b'), tie('value'), { maxKeys: 2, noNullPrototype: true }),
  }));
  fc.assert(
    fc.property(value, value, (a, b) => {
      expect(sameJson(a, b)).toBe(JSON.stringify(sorted(a)) === JSON.stringify(sorted(b)));
      expect(sameJson(a, structuredClone(a))).toBe(true);
    }),
    { numRuns: 2000 },
  );
});
