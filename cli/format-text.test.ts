import { expect, test } from 'vitest';
import { alignColumns, humaneDuration, humaneTime, printable, printableJson } from './format-text.ts';

const hostile = 'a\x1b[2J\x9b31m\x07\u202eb\u2066\u200b\ufeff\u2028\n\u{e0041}\ud800c';

test('what a terminal would act upon is shown as an escape', () => {
  const shown = printable(hostile);
  expect(shown).toMatch(/^[\x20-\x7e]+$/);
  expect(shown).toContain('a\\u{1b}[2J\\u{9b}31m\\u{7}\\u{202e}b');
});

test('letters of all scripts stay as they are', () => {
  expect(printable('Größe 大きさ حجم')).toBe('Größe 大きさ حجم');
});

test('JSON is safe to print and reads back as it was', () => {
  const text = printableJson({ [hostile]: [hostile, 1] });
  expect(text.replaceAll('\n', '')).toMatch(/^[\x20-\x7e]+$/);
  expect(JSON.parse(text)).toEqual({ [hostile]: [hostile, 1] });
});

test('columns align and lines have no trailing spaces', () => {
  expect(
    alignColumns(
      [
        ['NAME', 'N', 'NOTE'],
        ['a', '1000', ''],
        ['long name', '7', 'x'],
      ],
      new Set([1]),
    ),
  ).toBe(['NAME          N  NOTE', 'a          1000', 'long name     7  x', ''].join('\n'));
});

test.each([
  [0, '0s'],
  [999, '0s'],
  [1000, '1s'],
  [59_999, '59s'],
  [60_000, '1m'],
  [592_000, '9m52s'],
  [3_600_000, '1h'],
  [3_605_000, '1h'],
  [90_061_000, '1d1h'],
  [2_592_000_000, '30d'],
  [-5, '0s'],
])('%d ms is %s', (durationMs, text) => {
  expect(humaneDuration(durationMs)).toBe(text);
});

test('a moment is told as seen from now', () => {
  expect(humaneTime(1000, 593_000)).toBe('9m52s ago');
  expect(humaneTime(593_000, 1000)).toBe('in 9m52s');
  expect(humaneTime(1000, 1500)).toBe('now');
});
