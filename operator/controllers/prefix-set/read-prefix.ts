import { parsePrefixOrAddress } from '../../../api/cidr.ts';

/** One prefix as numbers. Filled in again and again: a list may have a million of them, and an object for each is too much. */
export interface PrefixWords {
  family: 4 | 6;
  /** Network order, most significant first; of IPv4 the first alone counts. */
  readonly words: Uint32Array;
  length: number;
}

export const newPrefixWords = (): PrefixWords => ({ family: 4, words: new Uint32Array(4), length: 0 });

/** Why a line is refused; the words stand in the status of a list. */
export type PrefixFault = 'NotAPrefix' | 'HostBits' | 'TooWide';

const dot = 46;
const slash = 47;
const zero = 48;
const nine = 57;
const colon = 58;
/** No spelling of a prefix is longer: keeps hostile lines from being looked at in full. */
const maxSpelling = 49;

/** At this width one entry cuts a node off from a large part of the world; the schema has the same bounds for entries. */
const narrowest = { 4: 8, 6: 16 } as const;

const fields = new Uint16Array(8);
const tail = new Uint16Array(8);

/**
 * Reads the prefix or bare address that `text` holds from `start` to before `end` into `out`, in any spelling that api/cidr.ts
 * takes. What is left in `out` after a fault has no meaning.
 */
export function readPrefix(
  text: string,
  start: number,
  end: number,
  allowWide: boolean,
  out: PrefixWords,
): PrefixFault | undefined {
  if (end - start > maxSpelling) return 'NotAPrefix';
  let addressEnd = end;
  let hasColon = false;
  let hasDot = false;
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i);
    if (code === colon) hasColon = true;
    else if (code === dot) hasDot = true;
    else if (code === slash) {
      addressEnd = i;
      break;
    }
  }
  const isRead = !hasColon
    ? readIpv4(text, start, addressEnd, out)
    : hasDot
      ? readMixed(text.slice(start, addressEnd), out)
      : readIpv6(text, start, addressEnd, out);
  if (!isRead) return 'NotAPrefix';
  const bits = out.family === 4 ? 32 : 128;
  out.length = addressEnd === end ? bits : readLength(text, addressEnd + 1, end);
  if (out.length < 0 || out.length > bits) return 'NotAPrefix';
  if (hasHostBits(out)) return 'HostBits';
  return out.length < narrowest[out.family] && !allowWide ? 'TooWide' : undefined;
}

function readIpv4(text: string, start: number, end: number, out: PrefixWords): boolean {
  let value = 0;
  let parts = 0;
  for (let i = start; i < end; ) {
    const first = i;
    let part = 0;
    for (; i < end; i++) {
      const code = text.charCodeAt(i);
      if (code < zero || code > nine) break;
      part = part * 10 + code - zero;
    }
    const digits = i - first;
    if (digits === 0 || digits > 3 || part > 255 || (digits > 1 && text.charCodeAt(first) === zero)) return false;
    value = value * 256 + part;
    parts++;
    if (i === end) break;
    if (text.charCodeAt(i) !== dot) return false;
    i++;
    if (i === end) return false;
  }
  if (parts !== 4) return false;
  out.family = 4;
  out.words[0] = value;
  return true;
}

function readIpv6(text: string, start: number, end: number, out: PrefixWords): boolean {
  let count = 0;
  /** How many fields stand before the `::`. */
  let gapAt = -1;
  let i = start;
  if (text.charCodeAt(i) === colon) {
    if (end - start < 2 || text.charCodeAt(i + 1) !== colon) return false;
    gapAt = 0;
    i += 2;
  }
  while (i < end) {
    const first = i;
    let field = 0;
    for (; i < end; i++) {
      const digit = hexDigit(text.charCodeAt(i));
      if (digit < 0) break;
      field = field * 16 + digit;
    }
    const digits = i - first;
    if (digits === 0 || digits > 4 || count === 8) return false;
    fields[count++] = field;
    if (i === end) break;
    if (text.charCodeAt(i) !== colon) return false;
    i++;
    if (i === end) return false;
    if (text.charCodeAt(i) === colon) {
      if (gapAt !== -1) return false;
      gapAt = count;
      i++;
    }
  }
  if (gapAt === -1 ? count !== 8 : count > 7) return false;
  if (gapAt !== -1) spread(count, gapAt);
  const { words } = out;
  for (let word = 0; word < 4; word++) words[word] = fields[word * 2]! * 0x10000 + fields[word * 2 + 1]!;
  out.family = 6;
  return !isMapped(words);
}

/** Moves the fields behind the `::` to the end and fills up with zeros. */
function spread(count: number, gapAt: number): void {
  const behind = count - gapAt;
  for (let i = 0; i < behind; i++) tail[i] = fields[gapAt + i]!;
  fields.fill(0, gapAt);
  for (let i = 0; i < behind; i++) fields[8 - behind + i] = tail[i]!;
}

/** IPv6 with a dotted end: seldom, so it need not be fast. */
function readMixed(text: string, out: PrefixWords): boolean {
  const address = parsePrefixOrAddress(text);
  if (address?.family !== 6) return false;
  for (let word = 0; word < 4; word++)
    out.words[word] = Number((address.value >> BigInt(96 - 32 * word)) & 0xffffffffn);
  out.family = 6;
  return true;
}

/** ::ffff:0:0/96 stands for IPv4, which has a spelling of its own. */
const isMapped = (words: Uint32Array): boolean => words[0] === 0 && words[1] === 0 && words[2] === 0xffff;

function hexDigit(code: number): number {
  if (code >= zero && code <= nine) return code - zero;
  const letter = code | 0x20;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

/** -1 when it is none. */
function readLength(text: string, start: number, end: number): number {
  if (start === end || end - start > 3 || (end - start > 1 && text.charCodeAt(start) === zero)) return -1;
  let value = 0;
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i);
    if (code < zero || code > nine) return -1;
    value = value * 10 + code - zero;
  }
  return value;
}

function hasHostBits({ family, words, length }: PrefixWords): boolean {
  const count = family === 4 ? 1 : 4;
  for (let word = 0; word < count; word++) {
    const kept = Math.min(Math.max(length - 32 * word, 0), 32);
    // A shift by 32 would shift by none.
    if (kept < 32 && (words[word]! & (0xffffffff >>> kept)) !== 0) return true;
  }
  return false;
}
