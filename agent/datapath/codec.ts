import { type Address, formatAddress, formatPrefix, type Prefix } from '../../api/cidr.ts';
import { addressStruct, blockFlag, blockKeyStruct, blockPorts, blockStruct, manualValueStruct } from './layout.ts';

/*
 * Bytes of shared structs to values and back. Offsets come out of layout.ts, which is generated from the object's BTF.
 * Numbers are little-endian: the objects are built for bpfel, as are the machines that they run on.
 */

const MASK_64 = 0xffff_ffff_ffff_ffffn;
/** IPv4 a.b.c.d travels as ::ffff:a.b.c.d. */
const IPV4_MAPPED = 0xffffn << 32n;

export const writeAddress = (into: Buffer, at: number, { family, value }: Address): void => {
  const wide = family === 4 ? IPV4_MAPPED | value : value;
  into.writeBigUInt64LE(wide >> 64n, at + addressStruct.hi);
  into.writeBigUInt64LE(wide & MASK_64, at + addressStruct.lo);
};

export const addressFromHalves = (hi: bigint, lo: bigint): Address =>
  hi === 0n && lo >> 32n === 0xffffn ? { family: 4, value: lo & 0xffff_ffffn } : { family: 6, value: (hi << 64n) | lo };

export const readAddress = (from: Buffer, at: number): Address =>
  addressFromHalves(from.readBigUInt64LE(at + addressStruct.hi), from.readBigUInt64LE(at + addressStruct.lo));

export const encodeAddress = (address: Address): Buffer => {
  const key = Buffer.alloc(addressStruct.bytes);
  writeAddress(key, 0, address);
  return key;
};

/** Key of an LPM trie: prefix length in host order, address in network order. */
export const encodeTrieKey = ({ family, value, length }: Prefix): Buffer => {
  const key = Buffer.alloc(family === 4 ? 8 : 20);
  key.writeUInt32LE(length, 0);
  if (family === 4) key.writeUInt32BE(Number(value), 4);
  else {
    key.writeBigUInt64BE(value >> 64n, 4);
    key.writeBigUInt64BE(value & MASK_64, 12);
  }
  return key;
};

export const decodeTrieKey = (key: Buffer): Prefix => {
  const length = key.readUInt32LE(0);
  return key.length === 8
    ? { family: 4, value: BigInt(key.readUInt32BE(4)), length }
    : { family: 6, value: (key.readBigUInt64BE(4) << 64n) | key.readBigUInt64BE(12), length };
};

export interface BlockKey {
  readonly source: Prefix;
  readonly owner: number;
}

export const encodeBlockKey = ({ source, owner }: BlockKey): Buffer => {
  const key = Buffer.alloc(blockKeyStruct.bytes);
  writeAddress(key, blockKeyStruct.source, source);
  key.writeUInt32LE(owner, blockKeyStruct.owner);
  key.writeUInt32LE(source.length, blockKeyStruct.sourceLength);
  return key;
};

export const decodeBlockKey = (key: Buffer, at = 0): BlockKey => ({
  source: {
    ...readAddress(key, at + blockKeyStruct.source),
    length: key.readUInt32LE(at + blockKeyStruct.sourceLength),
  },
  owner: key.readUInt32LE(at + blockKeyStruct.owner),
});

export interface BlockValue {
  /** Ticks. */
  readonly until: bigint;
  readonly since: bigint;
  readonly last: bigint;
  readonly dropped: number;
  readonly flags: number;
  readonly probes: number;
  readonly ifindex: number;
  readonly ports: readonly number[];
}

export const encodeBlock = (block: BlockValue): Buffer => {
  const value = Buffer.alloc(blockStruct.bytes);
  value.writeBigUInt64LE(block.until, blockStruct.until);
  value.writeBigUInt64LE(block.since, blockStruct.since);
  value.writeBigUInt64LE(BigInt(block.dropped), blockStruct.dropped);
  value.writeBigUInt64LE(block.last, blockStruct.last);
  value.writeUInt32LE(block.flags, blockStruct.flags);
  value.writeUInt32LE(block.probes, blockStruct.probes);
  value.writeUInt32LE(block.ifindex, blockStruct.ifindex);
  const ports = block.ports.slice(0, blockPorts);
  value.writeUInt32LE(ports.length, blockStruct.portCount);
  for (const [i, port] of ports.entries()) value.writeUInt16LE(port, blockStruct.ports + 2 * i);
  return value;
};

export const decodeBlock = (value: Buffer): BlockValue => {
  const count = Math.min(value.readUInt32LE(blockStruct.portCount), blockPorts);
  return {
    until: value.readBigUInt64LE(blockStruct.until),
    since: value.readBigUInt64LE(blockStruct.since),
    last: value.readBigUInt64LE(blockStruct.last),
    dropped: Number(value.readBigUInt64LE(blockStruct.dropped)),
    flags: value.readUInt32LE(blockStruct.flags),
    probes: value.readUInt32LE(blockStruct.probes),
    ifindex: value.readUInt32LE(blockStruct.ifindex),
    ports: Array.from({ length: count }, (_, i) => value.readUInt16LE(blockStruct.ports + 2 * i)),
  };
};

export const blockState = (flags: number): 'blocked' | 'would-block' | 'spared' =>
  flags & blockFlag.BLOCK_SPARED ? 'spared' : flags & blockFlag.BLOCK_MONITOR ? 'would-block' : 'blocked';

export interface ManualValue {
  /** Ticks: the latest of this entry and all that cover it. */
  readonly until: bigint;
  readonly ownUntil: bigint;
  readonly since: bigint;
  readonly dropped: number;
  readonly reason: string;
}

const MANUAL_REASON_BYTES = manualValueStruct.bytes - manualValueStruct.reason;

export const encodeManual = (manual: ManualValue): Buffer => {
  const value = Buffer.alloc(manualValueStruct.bytes);
  value.writeBigUInt64LE(manual.until, manualValueStruct.until);
  value.writeBigUInt64LE(manual.ownUntil, manualValueStruct.ownUntil);
  value.writeBigUInt64LE(manual.since, manualValueStruct.since);
  value.writeBigUInt64LE(BigInt(manual.dropped), manualValueStruct.dropped);
  // The last byte stays 0; a character that does not fit whole is left out by Buffer.write.
  value.write(manual.reason, manualValueStruct.reason, MANUAL_REASON_BYTES - 1, 'utf8');
  return value;
};

export const decodeManual = (value: Buffer): ManualValue => {
  const text = value.subarray(manualValueStruct.reason, manualValueStruct.bytes);
  const end = text.indexOf(0);
  return {
    until: value.readBigUInt64LE(manualValueStruct.until),
    ownUntil: value.readBigUInt64LE(manualValueStruct.ownUntil),
    since: value.readBigUInt64LE(manualValueStruct.since),
    dropped: Number(value.readBigUInt64LE(manualValueStruct.dropped)),
    reason: text.toString('utf8', 0, end === -1 ? text.length : end),
  };
};

/** A single address as such, a longer range as a prefix. */
export const formatSource = (source: Prefix): string =>
  source.length === (source.family === 4 ? 32 : 128) ? formatAddress(source) : formatPrefix(source);
