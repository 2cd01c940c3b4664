/**
 * Unquoted values, read as kubectl reads them: its YAML library follows version 1.1 with changes of its own. Where readers of
 * YAML disagree about a value, it is refused instead of guessed.
 */

export type PlainScalar =
  | { readonly value: string | number | boolean | null }
  | { readonly ambiguous: string; readonly remedy: string };

const NULL = /^(|~|null|Null|NULL)$/;
const TRUE = /^(true|True|TRUE)$/;
const FALSE = /^(false|False|FALSE)$/;
const YES_NO = /^(y|Y|yes|Yes|YES|on|On|ON|n|N|no|No|NO|off|Off|OFF)$/;
const INTEGER = /^[-+]?(0|[1-9][0-9]*)$/;
const FLOAT = /^[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?$/;
const HEX = /^[-+]?0x[0-9a-fA-F]+$/;
const NOT_FINITE = /^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$/;

const OTHER_BASE = /^[-+]?0([oO][0-7_]+|[bB][01_]+|X[0-9a-fA-F_]+)$/;
const LEADING_ZERO = /^[-+]?0[0-9_]+(\.[0-9_]*)?([eE][-+]?[0-9]+)?$/;
const UNDERSCORE = /^[-+]?([0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?|\.[0-9][0-9_]*|0x[0-9a-fA-F_]+)$/;
const SEXAGESIMAL = /^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$/;

/** No number is longer, and a long text need not run through every pattern. */
const MAX_NUMBER_LENGTH = 128;

/** The value of an unquoted scalar, or why it is ambiguous. */
export function resolvePlain(text: string): PlainScalar {
  if (NULL.test(text)) return { value: null };
  if (TRUE.test(text)) return { value: true };
  if (FALSE.test(text)) return { value: false };
  if (YES_NO.test(text)) {
    return {
      ambiguous: 'is a boolean to some readers of YAML and a string to others',
      remedy: 'Write true or false, or put it in quotes.',
    };
  }
  if (text.startsWith('?')) {
    return { ambiguous: 'begins with "?", which marks a key to some readers of YAML', remedy: 'Put it in quotes.' };
  }
  if (text.length > MAX_NUMBER_LENGTH) return { value: text };
  if (INTEGER.test(text) || FLOAT.test(text) || HEX.test(text)) return { value: toNumber(text) };
  if (NOT_FINITE.test(text)) {
    return { ambiguous: 'is no number that JSON can hold, and a string to some readers', remedy: 'Put it in quotes.' };
  }
  if (OTHER_BASE.test(text) || LEADING_ZERO.test(text)) {
    return {
      ambiguous: 'is a number in another base to some readers of YAML and decimal or a string to others',
      remedy: 'Write it as a plain decimal number, or put it in quotes.',
    };
  }
  if (UNDERSCORE.test(text)) {
    return {
      ambiguous: 'is a number to some readers of YAML and a string to others',
      remedy: 'Write the number without "_", or put it in quotes.',
    };
  }
  if (SEXAGESIMAL.test(text)) {
    return {
      ambiguous: 'is a number in base 60 to some readers of YAML and a string to others',
      remedy: 'Put it in quotes; a duration is written as 90s or 1h30m.',
    };
  }
  return { value: text };
}

function toNumber(text: string): number {
  const sign = text.startsWith('-') ? -1 : 1;
  const number = sign * Number(text.replace(/^[-+]/, ''));
  // JSON has no -0, and neither has the API server.
  return number === 0 ? 0 : number;
}
