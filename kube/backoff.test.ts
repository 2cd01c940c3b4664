import { expect, test } from 'vitest';
import { Backoff } from './backoff.ts';

const waits = (backoff: Backoff, count: number) => Array.from({ length: count }, () => backoff.nextMs());

test('doubles up to its bound, and begins anew after a reset', () => {
  const backoff = new Backoff({ baseMs: 800, maxMs: 30_000, random: () => 0.5 });
  expect(waits(backoff, 8)).toEqual([800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
  expect(backoff.failures).toBe(8);
  backoff.reset();
  expect(waits(backoff, 2)).toEqual([800, 1600]);
});

test('spreads each wait over half to one and a half of it, within the bound', () => {
  expect(waits(new Backoff({ baseMs: 800, maxMs: 30_000, random: () => 0 }), 3)).toEqual([400, 800, 1600]);
  expect(waits(new Backoff({ baseMs: 800, maxMs: 1000, random: () => 0.999 }), 3)).toEqual([1000, 1000, 1000]);
});

test('stays at its bound for ever', () => {
  const backoff = new Backoff({ baseMs: 1, maxMs: 30_000, random: () => 0.5 });
  expect(waits(backoff, 5000).at(-1)).toBe(30_000);
});
