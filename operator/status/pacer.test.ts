import { expect, it } from 'vitest';
import { Pacer } from './pacer.ts';

let nowMs = 0;
const pacer = () => new Pacer({ intervalMs: 10_000, burst: 6, minSpacingMs: 300, nowMs: () => nowMs });

/** When the writes of an object come that has news all the time. */
function writesWithin(ms: number): number[] {
  const paced = pacer();
  const writes: number[] = [];
  const startMs = nowMs;
  while (nowMs - startMs < ms) {
    const waitMs = paced.waitMs();
    if (waitMs > 0) {
      nowMs += waitMs;
      continue;
    }
    paced.written();
    writes.push(nowMs - startMs);
  }
  return writes;
}

it('lets the first news through at once, and what follows in growing distances', () => {
  expect(writesWithin(9000)).toEqual([0, 300, 900, 2100, 4500]);
});

it('lets one write through each interval in the long run, after a burst of six', () => {
  expect(writesWithin(3_600_000).length).toBeLessThanOrEqual(6 + 360);
});

it('lets less through in the long run where many objects share what they send to every agent', () => {
  const paced = new Pacer({ intervalMs: 10_000, stretch: () => 5, nowMs: () => nowMs });
  const startMs = nowMs;
  let writes = 0;
  while (nowMs - startMs < 3_600_000) {
    nowMs += paced.waitMs();
    paced.written();
    writes++;
  }
  expect(writes).toBeGreaterThan(70);
  expect(writes).toBeLessThanOrEqual(9 + 72);
});

it('answers at once again after a quiet time', () => {
  const paced = pacer();
  for (let i = 0; i < 4; i++) {
    nowMs += paced.waitMs();
    paced.written();
  }
  nowMs += 60_000;
  expect(paced.waitMs()).toBe(0);
  paced.written();
  expect(paced.waitMs()).toBe(300);
});

it('never asks for a wait that is too short to pass, as the clock goes on between two looks at it', () => {
  let ticks = 0;
  const paced = new Pacer({ intervalMs: 10_000, nowMs: () => ++ticks / 1000 });
  expect(paced.waitMs()).toBe(0);
});
