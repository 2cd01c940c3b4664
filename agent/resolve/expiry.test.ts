import { expect, test } from 'vitest';
import { restedAt } from './expiry.ts';

test('what is due all the time and takes long is done in a twentieth of the time; what is quick, when it is due', () => {
  expect(restedAt(11_000, 10_000, 240)).toBe(14_800);
  expect(restedAt(11_000, 10_000, 5)).toBe(11_000);
  expect(restedAt(undefined, 10_000, 240)).toBeUndefined();
});
