import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDuration, parseDuration } from './duration.ts';

describe('parseDuration', () => {
  it.each([
    ['90s', 90_000],
    ['1h30m', 5_400_000],
    ['5m3s', 303_000],
    ['5ms', 5],
    ['1500ms', 1500],
    ['1s1s', 2000],
    ['99999h', 359_996_400_000],
    ['0s', 0],
    ['1h1m1s1ms', 3_661_001],
  ])('%s is %d ms', (text, ms) => expect(parseDuration(text)).toBe(ms));

  it.each(['', '10', '1d', '-5s', '+5s', '1.5s', '1 s', '1S', 'PT10M', '100000s', '1h1m1s1ms1s', '5us', '1s\n', 's'])(
    'refuses %j',
    (text) => expect(parseDuration(text)).toBeUndefined(),
  );
});

describe('formatDuration', () => {
  it('is read back as the same number', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2_592_000_000 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms);
      }),
    );
  });

  it('leaves out what is zero', () => expect(formatDuration(5_400_000)).toBe('1h30m'));
});
