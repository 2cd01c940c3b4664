/**
 * Addresses and prefixes as the API server reads them (Go's netip): no leading zeros in IPv4, no zone, no IPv4-mapped IPv6,
 * and one canonical spelling of each (RFC 5952).
 */

export interface Address {
  readonly family: 4 | 6;
  /** The address as a number, network order: 192.0.2.1 is 0xc0000201. */
  readonly value: bigint;
}

export interface Prefix extends Address {
  /** 0 to 32, or to 128. */
  readonly length: number;
}

const IPV4_PART = /^(0|[1-9][0-9]{0,2})$/;
const IPV6_FIELD = /^[0-9a-fA-F]{1,4}$/;
const LENGTH = /^(0|[1-9][0-9]{0,2})$/;
/** No spelling of an address is longer; keeps hostile input from being split. */
const MAX_ADDRESS_LENGTH = 45;
const MAPPED = 0xffffn;

function parseIpv4(text: string): bigint | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    if (!IPV4_PART.test(part) || Number(part) > 255) return undefined;
    value = value * 256 + Number(part);
  }
  return BigInt(value);
}

/** Fields of one side of a `::`, a dotted tail counting as two; undefined when malformed. */
function parseFields(text: string, mayEndDotted: boolean): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const fields: number[] = [];
  for (const [i, part] of parts.entries()) {
    if (mayEndDotted && i === parts.length - 1 && part.includes('.')) {
      const dotted = parseIpv4(part);
      if (dotted === undefined) return undefined;
      fields.push(Number(dotted >> 16n), Number(dotted & 0xffffn));
    } else if (IPV6_FIELD.test(part)) {
      fields.push(Number.parseInt(part, 16));
    } else {
      return undefined;
    }
  }
  return fields;
}

function parseIpv6(text: string): bigint | undefined {
  const gap = text.indexOf('::');
  const compressed = gap !== -1;
  const left = parseFields(compressed ? text.slice(0, gap) : text, !compressed);
  const right = compressed ? parseFields(text.slice(gap + 2), true) : [];
  if (left === undefined || right === undefined) return undefined;
  const missing = 8 - left.length - right.length;
  // A `::` stands for at least one field.
  if (compressed ? missing < 1 : missing !== 0) return undefined;
  const fields = [...left, ...new Array<number>(missing).fill(0), ...right];
  return BigInt(`0x${fields.map((field) => field.toString(16).padStart(4, '0')).join('')}`);
}

/** Parses an address in any spelling that the API server takes; undefined for all else, IPv4-mapped IPv6 and zones included. */
export function parseAddress(text: string): Address | undefined {
  if (text.length > MAX_ADDRESS_LENGTH) return undefined;
  if (text.includes(':')) {
    const value = parseIpv6(text);
    return value === undefined || value >> 32n === MAPPED ? undefined : { family: 6, value };
  }
  const value = parseIpv4(text);
  return value === undefined ? undefined : { family: 4, value };
}

/** Parses `address/length`; host bits may be set. Undefined when malformed. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.lastIndexOf('/');
  if (slash === -1) return undefined;
  const address = parseAddress(text.slice(0, slash));
  const digits = text.slice(slash + 1);
  if (address === undefined || !LENGTH.test(digits)) return undefined;
  const length = Number(digits);
  return length > addressBits(address.family) ? undefined : { ...address, length };
}

/** Like parsePrefix, and a bare address is its /32 or /128. */
export function parsePrefixOrAddress(text: string): Prefix | undefined {
  if (text.includes('/')) return parsePrefix(text);
  const address = parseAddress(text);
  return address && { ...address, length: addressBits(address.family) };
}

/** 32 or 128. */
export function addressBits(family: 4 | 6): number {
  return family === 4 ? 32 : 128;
}

/** The prefix with its host bits cleared. */
export function masked(prefix: Prefix): Prefix {
  const hostBits = BigInt(addressBits(prefix.family) - prefix.length);
  return { family: prefix.family, value: (prefix.value >> hostBits) << hostBits, length: prefix.length };
}

/** Canonical text of an address (RFC 5952: lower case, the first longest run of two or more zero fields as `::`). */
export function formatAddress({ family, value }: Address): string {
  if (family === 4) {
    const number = Number(value);
    return `${number >>> 24}.${(number >>> 16) & 255}.${(number >>> 8) & 255}.${number & 255}`;
  }
  const hex = value.toString(16).padStart(32, '0');
  const fields = Array.from({ length: 8 }, (_, i) => Number.parseInt(hex.slice(i * 4, i * 4 + 4), 16));
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && fields[end] === 0) end++;
    if (end - i > length) {
      start = i;
      length = end - i;
    }
    if (end > i) i = end;
  }
  const text = (part: number[]) => part.map((field) => field.toString(16)).join(':');
  return start === -1 ? text(fields) : `${text(fields.slice(0, start))}::${text(fields.slice(start + length))}`;
}

/** Text of a prefix, its address canonical; host bits stay as they are. */
export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix)}/${prefix.length}`;
}

/** The one spelling that is accepted for a prefix or a bare address; undefined when it is neither. */
export function canonicalPrefix(text: string): string | undefined {
  const prefix = parsePrefixOrAddress(text.trim());
  return prefix && formatPrefix(masked(prefix));
}

/** What the schema's rule asks of a prefix: `isCIDR(self) && string(cidr(self).masked()) == self`. */
export function isCanonicalPrefix(text: string): boolean {
  const prefix = parsePrefix(text);
  return prefix !== undefined && formatPrefix(masked(prefix)) === text;
}

/** Whether every address of `inner` lies in `outer`. */
export function contains(outer: Prefix, inner: Prefix): boolean {
  if (outer.family !== inner.family || outer.length > inner.length) return false;
  const hostBits = BigInt(addressBits(outer.family) - outer.length);
  return outer.value >> hostBits === inner.value >> hostBits;
}
