import { expect, test } from 'vitest';
import { LineBudget, maxSummaryKeys, type Overflow } from './line-budget.ts';

function budget(linesPerSecond: number): { lines: LineBudget; overflows: Overflow[] } {
  const overflows: Overflow[] = [];
  return { lines: new LineBudget(linesPerSecond, (overflow) => overflows.push(overflow)), overflows };
}

test('lets so many lines through each second and no more', () => {
  const { lines } = budget(3);
  const allowed = [1000, 1001, 1500, 1999, 1999, 2000].map((nowMs) => lines.allow(nowMs, 'web'));
  expect(allowed).toEqual([true, true, true, false, false, true]);
});

test('gives one summary of a second once it is over, with counts by key', () => {
  const { lines, overflows } = budget(1);
  for (const key of ['web', 'web', 'db', 'web']) lines.allow(5200, key);
  lines.tick(5999);
  expect(overflows).toEqual([]);
  lines.tick(6000);
  lines.tick(6001);
  expect(overflows).toEqual([{ fromMs: 5000, suppressed: 3, byKey: { web: 2, db: 1 } }]);
  expect(lines.suppressed).toBe(3);
});

test('gives no summary of a second in which nothing was suppressed', () => {
  const { lines, overflows } = budget(2);
  lines.allow(1000, 'web');
  lines.tick(2000);
  lines.flush();
  expect(overflows).toEqual([]);
});

test('goes on when the clock is set back', () => {
  const { lines } = budget(1);
  lines.allow(9_000, 'web');
  expect(lines.allow(9_500, 'web')).toBe(false);
  expect(lines.allow(4_000, 'web')).toBe(true);
});

test('adds the keys beyond the bound up under one name', () => {
  const { lines, overflows } = budget(0);
  for (let i = 0; i < maxSummaryKeys + 50; i++) lines.allow(1000, `policy-${i}`);
  lines.allow(1000, 'policy-0');
  lines.flush();
  expect(Object.keys(overflows[0]!.byKey)).toHaveLength(maxSummaryKeys + 1);
  expect(overflows[0]!.byKey).toMatchObject({ 'policy-0': 2, other: 50 });
  expect(overflows[0]!.suppressed).toBe(maxSummaryKeys + 51);
});

test('a name that reads as a prototype property is a key like any other', () => {
  const { lines, overflows } = budget(0);
  lines.allow(1000, '__proto__');
  lines.allow(1000, 'constructor');
  lines.flush();
  expect(Object.entries(overflows[0]!.byKey)).toEqual([
    ['__proto__', 1],
    ['constructor', 1],
  ]);
});
