import { type Address, type IpVersion, isMapped, mapped } from '../support/address.ts';
import { fold, pseudoHeaderSum, sumWords } from '../support/internet-checksum.ts';

/** What the headers up to IP say. Offsets are into the frame; `end` is where IP says that its payload ends. */
export interface IpPacket {
  readonly frame: Buffer;
  readonly version: IpVersion;
  readonly ipAt: number;
  readonly source: Address;
  readonly destination: Address;
  /** IPv4 protocol, or the next header of the fixed IPv6 header. */
  readonly protocol: number;
  readonly payloadAt: number;
  readonly end: number;
  readonly neighbourDiscovery: boolean;
}

export type Parsed = IpPacket | 'not-ip' | 'malformed' | 'hidden';

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const MAX_TAGS = 2;

/** Ethernet, VLAN tags and the fixed IP header. */
export function parseIp(frame: Buffer): Parsed {
  if (frame.length < 14) return 'malformed';
  let etherType = frame.readUInt16BE(12);
  let at = 14;
  let isPriorityTag = false;
  for (let tags = 0; isTag(etherType); tags++) {
    if (frame.length < at + 4) return 'malformed';
    isPriorityTag ||= (frame.readUInt16BE(at) & 0xfff) === 0;
    // Linux takes any number of priority tags off; nobody honest sends three tags with one among them.
    if (tags === MAX_TAGS) return isPriorityTag ? 'hidden' : 'not-ip';
    etherType = frame.readUInt16BE(at + 2);
    at += 4;
  }
  if (etherType === ETHERTYPE_IPV4) return parseIpv4(frame, at);
  if (etherType === ETHERTYPE_IPV6) return parseIpv6(frame, at);
  return 'not-ip';
}

function isTag(etherType: number): boolean {
  return etherType === 0x8100 || etherType === 0x88a8;
}

function parseIpv4(frame: Buffer, at: number): IpPacket | 'malformed' {
  if (frame.length < at + 20) return 'malformed';
  const headerBytes = (byte(frame, at) & 15) * 4;
  const totalBytes = frame.readUInt16BE(at + 2);
  if (byte(frame, at) >> 4 !== 4 || headerBytes < 20) return 'malformed';
  if (totalBytes < headerBytes || at + totalBytes > frame.length) return 'malformed';
  return {
    frame,
    version: 4,
    ipAt: at,
    source: mapped(frame.readUInt32BE(at + 12)),
    destination: mapped(frame.readUInt32BE(at + 16)),
    protocol: byte(frame, at + 9),
    payloadAt: at + headerBytes,
    end: at + totalBytes,
    neighbourDiscovery: false,
  };
}

function parseIpv6(frame: Buffer, at: number): IpPacket | 'malformed' {
  if (frame.length < at + 40) return 'malformed';
  const protocol = byte(frame, at + 6);
  const told = frame.readUInt16BE(at + 4);
  // Before hop-by-hop options Linux takes length 0 for the rest of the frame, whether or not they say that it is a jumbogram.
  const payloadBytes = told === 0 && protocol === HOP_BY_HOP ? frame.length - at - 40 : told;
  if (byte(frame, at) >> 4 !== 6 || at + 40 + payloadBytes > frame.length) return 'malformed';
  const source = address6(frame, at + 8);
  const destination = address6(frame, at + 24);
  // It would pass for an IPv4 address in every table; Linux refuses such packets as well.
  if (isMapped(source) || isMapped(destination)) return 'malformed';
  const type = payloadBytes > 0 ? byte(frame, at + 40) : 0;
  return {
    frame,
    version: 6,
    ipAt: at,
    source,
    destination,
    protocol,
    payloadAt: at + 40,
    end: at + 40 + payloadBytes,
    // RFC 4861: only a neighbour on the link can send hop limit 255.
    neighbourDiscovery: protocol === ICMPV6 && byte(frame, at + 7) === 255 && type >= 133 && type <= 137,
  };
}

/** What follows IP, read only when a verdict needs it. */
export type Transport =
  | { readonly kind: 'malformed' | 'chain-too-long' | 'later-fragment' }
  /** Not TCP; `at` is where it starts. */
  | { readonly kind: 'other'; readonly protocol: number; readonly at: number; readonly fragmented: boolean }
  /** First fragment without a whole TCP header; port 0 where not even the ports are there. */
  | { readonly kind: 'tcp-short'; readonly destinationPort: number }
  | { readonly kind: 'tcp-malformed' }
  | TcpHeader;

export interface TcpHeader {
  readonly kind: 'tcp';
  readonly fragmented: boolean;
  readonly at: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly acknowledgment: number;
  readonly flags: number;
}

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const ICMPV6 = 58;
const HOP_BY_HOP = 0;
const FRAGMENT = 44;
const AH = 51;
const EXTENSION_HEADERS = new Set([HOP_BY_HOP, 43, FRAGMENT, AH, 60, 135, 139, 140]);

export function parseTransport(packet: IpPacket, maxExtensionHeaders: number): Transport {
  return packet.version === 4 ? parseTransport4(packet) : parseTransport6(packet, maxExtensionHeaders);
}

function parseTransport4(packet: IpPacket): Transport {
  const fragmentField = packet.frame.readUInt16BE(packet.ipAt + 6);
  if ((fragmentField & 0x1fff) !== 0) return { kind: 'later-fragment' };
  return parseUpper(packet, packet.protocol, packet.payloadAt, (fragmentField & 0x2000) !== 0);
}

function parseTransport6(packet: IpPacket, maxExtensionHeaders: number): Transport {
  const { frame, end } = packet;
  let next = packet.protocol;
  let at = packet.payloadAt;
  let fragmented = false;
  for (let headers = 0; EXTENSION_HEADERS.has(next); headers++) {
    if (headers === maxExtensionHeaders) return { kind: 'chain-too-long' };
    // The host puts the rest together and reads on: a chain that goes on in another fragment hides what it carries (RFC 7112).
    const cutShort = { kind: fragmented ? 'chain-too-long' : 'malformed' } as const;
    if (at + 8 > end) return cutShort;
    const bytes = extensionBytes(next, byte(frame, at + 1));
    if (at + bytes > end) return cutShort;
    if (next === FRAGMENT) {
      const field = frame.readUInt16BE(at + 2);
      if (field >> 3 !== 0) return { kind: 'later-fragment' };
      // RFC 6946: offset 0 without more fragments is a whole packet.
      if ((field & 1) !== 0) fragmented = true;
    }
    next = byte(frame, at);
    at += bytes;
  }
  return parseUpper(packet, next, at, fragmented);
}

function extensionBytes(kind: number, lengthByte: number): number {
  if (kind === FRAGMENT) return 8;
  // RFC 4302: AH alone counts words of four bytes.
  if (kind === AH) return (lengthByte + 2) * 4;
  return (lengthByte + 1) * 8;
}

function parseUpper(packet: IpPacket, protocol: number, at: number, fragmented: boolean): Transport {
  if (protocol !== TCP) return { kind: 'other', protocol, at, fragmented };
  const { frame, end } = packet;
  const bytes = end - at;
  if (bytes < 20) {
    if (!fragmented) return { kind: 'tcp-malformed' };
    return { kind: 'tcp-short', destinationPort: bytes >= 4 ? frame.readUInt16BE(at + 2) : 0 };
  }
  const headerBytes = (byte(frame, at + 12) >> 4) * 4;
  // Options may go on in the next fragment.
  if (headerBytes < 20 || (headerBytes > bytes && !fragmented)) return { kind: 'tcp-malformed' };
  return {
    kind: 'tcp',
    fragmented,
    at,
    sourcePort: frame.readUInt16BE(at),
    destinationPort: frame.readUInt16BE(at + 2),
    acknowledgment: frame.readUInt32BE(at + 8),
    flags: byte(frame, at + 13),
  };
}

const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;

/** What a TCP segment is to the detector. */
export type SegmentKind = 'new-connection' | 'probe' | 'other';

export function segmentKind(flags: number): SegmentKind {
  if (flags & SYN && flags & (FIN | RST)) return 'probe';
  if (!(flags & (SYN | RST | ACK))) return 'probe';
  return flags & SYN && !(flags & ACK) ? 'new-connection' : 'other';
}

export function isSynAck(flags: number): boolean {
  return (flags & (SYN | ACK | FIN | RST)) === (SYN | ACK);
}

export function hasAck(flags: number): boolean {
  return (flags & ACK) !== 0;
}

/** The longest segment whose checksum the datapath adds up. */
export const MAX_CHECKSUM_BYTES = 2048;

/** Whether a segment may vote: its checksum is right, left to offload by a local sender, or cannot be verified. */
export function checksumCounts(packet: IpPacket, tcp: TcpHeader): boolean {
  const { frame, end } = packet;
  const segmentBytes = end - tcp.at;
  if (tcp.fragmented || segmentBytes > MAX_CHECKSUM_BYTES) return true;
  const [from, middle, to] =
    packet.version === 4
      ? [packet.ipAt + 12, packet.ipAt + 16, packet.ipAt + 20]
      : [packet.ipAt + 8, packet.ipAt + 24, packet.ipAt + 40];
  const pseudo = pseudoHeaderSum(frame.subarray(from, middle), frame.subarray(middle, to), TCP, segmentBytes);
  if (fold(pseudo + sumWords(frame, tcp.at, end)) === 0xffff) return true;
  return frame.readUInt16BE(tcp.at + 16) === fold(pseudo);
}

/** Ports of a whole UDP packet; nothing when it is cut short. */
export function udpPorts({ frame, end }: IpPacket, at: number): { source: number; destination: number } | undefined {
  if (at + 8 > end) return undefined;
  return { source: frame.readUInt16BE(at), destination: frame.readUInt16BE(at + 2) };
}

/** Ports of the TCP or UDP packet that an ICMP error quotes, and its addresses; nothing when it quotes something else. */
export interface QuotedPacket {
  readonly protocol: number;
  readonly source: Address;
  readonly destination: Address;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

const ICMP_ERRORS = { 4: new Set([3, 11, 12]), 6: new Set([1, 2, 3, 4]) };

export function quotedPacket(packet: IpPacket, at: number): QuotedPacket | undefined {
  const { frame, end, version } = packet;
  const quoteAt = at + 8;
  const fixedBytes = version === 4 ? 20 : 40;
  if (quoteAt + fixedBytes > end || !ICMP_ERRORS[version].has(byte(frame, at))) return undefined;
  if (byte(frame, quoteAt) >> 4 !== version) return undefined;
  const headerBytes = version === 4 ? (byte(frame, quoteAt) & 15) * 4 : 40;
  const portsAt = quoteAt + headerBytes;
  const protocol = byte(frame, quoteAt + (version === 4 ? 9 : 6));
  if (headerBytes < fixedBytes || (protocol !== TCP && protocol !== UDP) || portsAt + 4 > end) return undefined;
  if (version === 4 && (frame.readUInt16BE(quoteAt + 6) & 0x1fff) !== 0) return undefined;
  return {
    protocol,
    source: version === 4 ? mapped(frame.readUInt32BE(quoteAt + 12)) : address6(frame, quoteAt + 8),
    destination: version === 4 ? mapped(frame.readUInt32BE(quoteAt + 16)) : address6(frame, quoteAt + 24),
    sourcePort: frame.readUInt16BE(portsAt),
    destinationPort: frame.readUInt16BE(portsAt + 2),
  };
}

function byte(frame: Buffer, at: number): number {
  return frame[at] as number;
}

function address6(frame: Buffer, at: number): Address {
  return (frame.readBigUInt64BE(at) << 64n) | frame.readBigUInt64BE(at + 8);
}
