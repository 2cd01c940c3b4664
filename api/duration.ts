/** The form of a duration, as the schemas of the API give it. */
export const DURATION_PATTERN = '^([0-9]{1,5}(h|m|s|ms)){1,4}$';
const WHOLE = new RegExp(DURATION_PATTERN);
const TERM = /([0-9]+)(h|ms|m|s)/g;
const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** Milliseconds of a duration such as `1h30m`, `90s` or `1500ms`; undefined when it does not have that form. */
export function parseDuration(text: string): number | undefined {
  if (text.length > 28 || !WHOLE.test(text)) return undefined;
  let ms = 0;
  for (const [, digits, unit] of text.matchAll(TERM)) ms += Number(digits) * UNIT_MS[unit as string]!;
  return ms;
}

/** The shortest such text of a whole number of milliseconds: 5400000 is `1h30m`. */
export function formatDuration(durationMs: number): string {
  if (durationMs <= 0) return '0s';
  let rest = Math.round(durationMs);
  let text = '';
  for (const [unit, unitMs] of Object.entries(UNIT_MS)) {
    const count = Math.floor(rest / unitMs);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * unitMs;
  }
  return text;
}
