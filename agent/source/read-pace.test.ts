import { expect, test } from 'vitest';
import { ReadPace } from './read-pace.ts';

/** When an object is read that changes all the time, for `forMs`. */
function readsOf(forMs: number, nodeCount: number): number[] {
  const pace = new ReadPace();
  const times: number[] = [];
  for (let nowMs = 0; nowMs < forMs; nowMs += 100) {
    if (pace.waitMs('policy/web', nowMs) > 0) continue;
    pace.read('policy/web', nowMs, nodeCount);
    times.push(nowMs);
  }
  return times;
}

test('the first edits are read at once, those that never end in growing distances', () => {
  expect(readsOf(30_000, 3)).toEqual([0, 100, 600, 1600, 3600, 7600, 12600, 17600, 22600, 27600]);
});

test('all agents of a large cluster together read it a hundred times a second at most', () => {
  const [from, to] = [300_000, 600_000];
  for (const nodes of [500, 2_000, 5_000]) {
    const reads = readsOf(to, nodes).filter((atMs) => atMs >= from);
    expect((reads.length * nodes) / ((to - from) / 1000)).toBeLessThanOrEqual(nodes === 5_000 ? 105 : 110);
  }
});

test('after a quiet time the next change is read at once again', () => {
  const pace = new ReadPace();
  for (const nowMs of [0, 100, 600, 1600]) pace.read('policy/web', nowMs, 3);
  expect(pace.waitMs('policy/web', 1700)).toBeGreaterThan(0);
  pace.read('policy/web', 20_000, 3);
  expect(pace.waitMs('policy/web', 20_000)).toBe(0);
});

test('objects do not wait for each other, however many there are', () => {
  const pace = new ReadPace();
  for (let i = 0; i < 5_000; i++) pace.read(`policy/${i}`, i, 3);
  expect(pace.waitMs('policy/other', 5_000)).toBe(0);
});
