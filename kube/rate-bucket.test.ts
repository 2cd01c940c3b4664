import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RateBucket } from './rate-bucket.ts';

function bucketAt(burst: number, intervalMs: number) {
  const at = { ms: 1000 };
  return { at, bucket: new RateBucket({ burst, intervalMs, nowMs: () => at.ms }) };
}

test('gives the burst at once and then one each interval', () => {
  const { at, bucket } = bucketAt(3, 100);
  expect([bucket.take(), bucket.take(), bucket.take(), bucket.take()]).toEqual([true, true, true, false]);
  at.ms = 1099;
  expect(bucket.take()).toBe(false);
  at.ms = 1100;
  expect([bucket.take(), bucket.take()]).toEqual([true, false]);
});

test('tells when the next one is there', () => {
  const { at, bucket } = bucketAt(1, 30_000);
  expect(bucket.nextAtMs()).toBe(1000);
  bucket.take();
  at.ms = 11_000;
  expect(bucket.nextAtMs()).toBe(31_000);
  at.ms = bucket.nextAtMs();
  expect(bucket.take()).toBe(true);
});

test('a full bucket saves nothing up beyond its burst', () => {
  const { at, bucket } = bucketAt(2, 100);
  at.ms = 1_000_000;
  expect([bucket.take(), bucket.take(), bucket.take()]).toEqual([true, true, false]);
  expect(bucket.nextAtMs()).toBe(1_000_100);
});

test('never gives more than the burst and one each interval, and a take at nextAtMs always succeeds', () => {
  const intervals = fc.integer({ min: 3, max: 360 }).map((thirds) => thirds / 3);
  const steps = fc.array(fc.integer({ min: 0, max: 250 }), { maxLength: 200 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), intervals, steps, (burst, intervalMs, waits) => {
      const { at, bucket } = bucketAt(burst, intervalMs);
      let taken = 0;
      for (const wait of waits) {
        at.ms += wait;
        if (bucket.take()) taken++;
        expect(taken).toBeLessThanOrEqual(burst + (at.ms - 1000) / intervalMs + 1e-6);
      }
      at.ms = bucket.nextAtMs();
      expect(bucket.take()).toBe(true);
    }),
  );
});

test.each([
  [0, 100],
  [1.5, 100],
  [1, 0],
  [1, Number.NaN],
])('refuses burst %d and interval %d', (burst, intervalMs) => {
  expect(() => bucketAt(burst, intervalMs)).toThrow(RangeError);
});
