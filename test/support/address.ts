import { isIPv4, isIPv6 } from 'node:net';

/** An address as the datapath's tables hold it: 128 bits, IPv4 a.b.c.d as ::ffff:a.b.c.d. */
export type Address = bigint;

export type IpVersion = 4 | 6;

export interface Prefix {
  readonly version: IpVersion;
  /** 0..32 for IPv4, 0..128 for IPv6. */
  readonly length: number;
  /** First address of the prefix: bits beyond `length` are cleared. */
  readonly first: Address;
  readonly mask: Address;
}

const ALL_ONES = (1n << 128n) - 1n;
const V4_MAPPED = 0xffff_0000_0000n;

/** Mask whose first `length` of 128 bits are set. */
export function prefixMask(length: number): Address {
  return length === 0 ? 0n : (ALL_ONES << BigInt(128 - length)) & ALL_ONES;
}

/** IPv4 address from its 32 bits. */
export function mapped(ipv4: number): Address {
  return V4_MAPPED | BigInt(ipv4);
}

/** Whether the table form is that of an IPv4 address: ::ffff:0:0/96. */
export function isMapped(address: Address): boolean {
  return address >> 32n === 0xffffn;
}

/** Network-order bytes, 4 or 16, of an address in text. Throws on anything that is not one address. */
export function addressBytes(text: string): Buffer {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  if (!isIPv6(text)) throw new Error(`not an address: ${text}`);
  let groups = text;
  const dotted = /[\d.]+\.[\d.]+$/.exec(text);
  if (dotted) {
    const v4 = addressBytes(dotted[0]);
    groups = `${text.slice(0, dotted.index)}${v4.readUInt16BE(0).toString(16)}:${v4.readUInt16BE(2).toString(16)}`;
  }
  const [head = '', tail] = groups.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const middle = tail === undefined ? [] : new Array<string>(8 - left.length - right.length).fill('0');
  const bytes = Buffer.alloc(16);
  for (const [index, group] of [...left, ...middle, ...right].entries()) {
    bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2);
  }
  return bytes;
}

/** The table form of an address in text. */
export function toAddress(text: string): Address {
  const bytes = addressBytes(text);
  return bytes.length === 4 ? mapped(bytes.readUInt32BE(0)) : BigInt(`0x${bytes.toString('hex')}`);
}

/** Table form as text: IPv4-mapped in dotted form, IPv6 as eight groups without compression. */
export function formatAddress(address: Address): string {
  if (isMapped(address)) {
    const v4 = Number(address & 0xffff_ffffn);
    return [v4 >>> 24, (v4 >>> 16) & 255, (v4 >>> 8) & 255, v4 & 255].join('.');
  }
  const hex = address.toString(16).padStart(32, '0');
  return (hex.match(/.{4}/g) ?? []).map((group) => Number.parseInt(group, 16).toString(16)).join(':');
}

/** A prefix such as `192.0.2.0/24`, or one address. Throws when bits are set beyond the length. */
export function toPrefix(text: string): Prefix {
  const [host = '', digits] = text.split('/');
  const version: IpVersion = isIPv4(host) ? 4 : 6;
  const most = version === 4 ? 32 : 128;
  const length = digits === undefined ? most : Number(digits);
  if (!Number.isInteger(length) || length < 0 || length > most) throw new Error(`not a prefix: ${text}`);
  const mask = prefixMask(version === 4 ? 96 + length : length);
  const first = toAddress(host);
  if ((first & mask) !== first) throw new Error(`bits set beyond the length: ${text}`);
  return { version, length, first, mask };
}
