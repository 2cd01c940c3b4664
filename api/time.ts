/**
 * The form of a time, as the schemas of the API give it: RFC 3339 with its zone, capital T and Z, up to nanoseconds, the
 * years 2000 to 2999. Which days a month has is left to the check beside it.
 */
export const TIME_PATTERN =
  '^2[0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$';
const FORM = new RegExp(TIME_PATTERN);

/** Whether the date exists; Date.parse would turn 30 February into 1 March. */
function dateExists(year: number, month: number, day: number): boolean {
  const date = new Date(Date.UTC(year, month - 1, day));
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}

/** Milliseconds since 1970 of such a time, fractions of a millisecond cut off; undefined when malformed or no such date. */
export function parseTime(text: string): number | undefined {
  if (text.length > 35 || !FORM.test(text)) return undefined;
  if (!dateExists(Number(text.slice(0, 4)), Number(text.slice(5, 7)), Number(text.slice(8, 10)))) return undefined;
  const fraction = /\.([0-9]+)/.exec(text)?.[1] ?? '';
  const whole = Date.parse(text.replace(/\.[0-9]+/, ''));
  return whole + Number(fraction.padEnd(3, '0').slice(0, 3));
}
