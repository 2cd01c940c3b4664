/** Where a value stands in an object: keys of mappings and indexes of lists, from the top. */
export type FieldPath = readonly (string | number)[];

const PLAIN_KEY = /^[A-Za-z_][A-Za-z0-9_-]{0,79}$/;

/** Text such as `spec.entries[3].cidr` or `metadata.labels["example.com/role"]`; empty for the object itself. */
export function formatPath(path: FieldPath): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (!PLAIN_KEY.test(part)) text += `[${describeValue(part)}]`;
    else text += text === '' ? part : `.${part}`;
  }
  return text;
}

const MAX_SHOWN = 80;
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029\ufffe\uffff]/gu;

/** The text with everything that a terminal might act on, or not show, written as an escape. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    const code = character.codePointAt(0)!.toString(16);
    return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, '0')}`;
  });
}

/** The text printable, and cut where it is longer than any message needs to be. */
export function shorten(text: string, maxLength = 400): string {
  const shown = printable(text.length > maxLength ? `${text.slice(0, maxLength)}…` : text);
  return shown.length > 2 * maxLength ? `${shown.slice(0, 2 * maxLength)}…` : shown;
}

/** A value as it is shown in a message: as JSON, printable and shortened. */
export function describeValue(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'a mapping';
  if (typeof value !== 'string') return String(value);
  const short = value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}…` : value;
  return printable(JSON.stringify(short));
}
