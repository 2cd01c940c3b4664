/**
 * Builds Ethernet frames for tests, right by default and wrong only where a field says so. Addresses are text,
 * lengths are bytes unless named otherwise, checksums and lengths are computed.
 *
 *   frame({ packet: ipv4({ source: '198.51.100.7', destination: '192.0.2.1', payload: tcp({ flags: 'S', destinationPort: 22 }) }) })
 */
import { addressBytes } from './address.ts';
import { complement, fold, pseudoHeaderSum, sumWords } from './internet-checksum.ts';

export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;

/** Next header values of the extension headers that the datapath walks. */
export const EXTENSION = {
  'hop-by-hop': 0,
  routing: 43,
  fragment: 44,
  ah: 51,
  destination: 60,
  mobility: 135,
  hip: 139,
  shim6: 140,
} as const;
export type ExtensionKind = keyof typeof EXTENSION;

/** The bits of TCP's byte 13 by tcpdump's letters. */
export const TCP_FLAG = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32, E: 64, W: 128 } as const;

/** Something an IP header can carry; its checksum needs both addresses, 4 or 16 bytes each. */
export interface Payload {
  readonly protocol: number;
  bytes(source: Buffer, destination: Buffer): Buffer;
}

/** A network-layer packet and the EtherType that announces it. */
export interface Packet {
  readonly etherType: number;
  readonly bytes: Buffer;
}

export interface Tag {
  /** Default 0x8100. */
  readonly tpid?: number;
  /** VLAN id and priority bits, default 1. */
  readonly tci?: number;
}

export interface FrameSpec {
  readonly packet: Packet;
  /** Outermost first. */
  readonly tags?: readonly Tag[];
  /** Replaces the EtherType behind the tags. */
  readonly etherType?: number;
  /** Zeros are added up to this length: 60, what a network card sends at least, unless told. */
  readonly padTo?: number;
  /** Cuts the finished frame to this length. */
  readonly truncateTo?: number;
}

/** A whole frame without its check sequence. */
export function frame(spec: FrameSpec): Buffer {
  const macs = Buffer.from('020000000001020000000002', 'hex');
  const tags = (spec.tags ?? []).map((tag) => u16s(tag.tpid ?? 0x8100, tag.tci ?? 1));
  const bytes = Buffer.concat([macs, ...tags, u16s(spec.etherType ?? spec.packet.etherType), spec.packet.bytes]);
  const padded = Buffer.concat([bytes, Buffer.alloc(Math.max(0, (spec.padTo ?? 60) - bytes.length))]);
  return spec.truncateTo === undefined ? padded : padded.subarray(0, spec.truncateTo);
}

export interface Ipv4Spec {
  readonly source: string;
  readonly destination: string;
  readonly payload: Payload;
  /** Bytes of options, or how many bytes of no-operation options; a multiple of 4 up to 40. */
  readonly options?: Buffer | number;
  readonly ttl?: number;
  readonly id?: number;
  readonly dontFragment?: boolean;
  readonly moreFragments?: boolean;
  /** In units of 8 bytes, as in the header. */
  readonly fragmentOffset?: number;
  /** Which bytes of the whole payload this fragment carries: [from, to). */
  readonly slice?: readonly [number, number?];
  /** Replaces the payload's own number. */
  readonly protocol?: number;
  /** The following four lie. */
  readonly version?: number;
  readonly headerWords?: number;
  readonly totalLength?: number;
  readonly checksum?: 'right' | 'wrong';
}

export function ipv4(spec: Ipv4Spec): Packet {
  const source = addressBytes(spec.source);
  const destination = addressBytes(spec.destination);
  const options = typeof spec.options === 'number' ? Buffer.alloc(spec.options, 1) : (spec.options ?? Buffer.alloc(0));
  const payload = spec.payload.bytes(source, destination).subarray(...(spec.slice ?? [0]));
  const header = Buffer.alloc(20 + options.length);
  header[0] = ((spec.version ?? 4) << 4) | (spec.headerWords ?? header.length / 4);
  header.writeUInt16BE(spec.totalLength ?? header.length + payload.length, 2);
  header.writeUInt16BE(spec.id ?? 0x1234, 4);
  header.writeUInt16BE(
    (spec.dontFragment ? 0x4000 : 0) | (spec.moreFragments ? 0x2000 : 0) | (spec.fragmentOffset ?? 0),
    6,
  );
  header[8] = spec.ttl ?? 64;
  header[9] = spec.protocol ?? spec.payload.protocol;
  source.copy(header, 12);
  destination.copy(header, 16);
  options.copy(header, 20);
  const checksum = complement(sumWords(header));
  header.writeUInt16BE(spec.checksum === 'wrong' ? checksum ^ 0x5555 : checksum, 10);
  return { etherType: 0x0800, bytes: Buffer.concat([header, payload]) };
}

export interface Extension {
  readonly kind: ExtensionKind;
  /** Length of the header: a multiple of 8 (AH: of 4, at least 8), default 8. */
  readonly bytes?: number;
  /** Replaces the computed length byte, in that header's own unit. */
  readonly lengthField?: number;
  /** Fragment header only; `offset` in units of 8 bytes. */
  readonly offset?: number;
  readonly more?: boolean;
}

export interface Ipv6Spec {
  readonly source: string;
  readonly destination: string;
  readonly payload: Payload;
  readonly extensions?: readonly Extension[];
  readonly hopLimit?: number;
  /** Which bytes of the payload behind the extension headers this fragment carries: [from, to). */
  readonly slice?: readonly [number, number?];
  /** Replaces the number of the last header's content. */
  readonly protocol?: number;
  /** The following two lie. */
  readonly version?: number;
  readonly payloadLength?: number;
}

export function ipv6(spec: Ipv6Spec): Packet {
  const source = addressBytes(spec.source);
  const destination = addressBytes(spec.destination);
  const extensions = spec.extensions ?? [];
  const last = spec.protocol ?? spec.payload.protocol;
  const kinds = [...extensions.map((extension) => EXTENSION[extension.kind] as number), last];
  const chain = extensions.map((extension, index) => extensionHeader(extension, kinds[index + 1] as number));
  const payload = spec.payload.bytes(source, destination).subarray(...(spec.slice ?? [0]));
  const body = Buffer.concat([...chain, payload]);
  const header = Buffer.alloc(40);
  header[0] = (spec.version ?? 6) << 4;
  header.writeUInt16BE(spec.payloadLength ?? body.length, 4);
  header[6] = kinds[0] as number;
  header[7] = spec.hopLimit ?? 64;
  source.copy(header, 8);
  destination.copy(header, 24);
  return { etherType: 0x86dd, bytes: Buffer.concat([header, body]) };
}

function extensionHeader(extension: Extension, next: number): Buffer {
  const bytes = Buffer.alloc(extension.bytes ?? 8);
  bytes[0] = next;
  if (extension.kind === 'fragment') {
    bytes.writeUInt16BE(((extension.offset ?? 0) << 3) | (extension.more ? 1 : 0), 2);
    bytes.writeUInt32BE(0x1234, 4);
    return bytes;
  }
  // AH alone counts words of four bytes, less two (RFC 4302); the others groups of eight beyond the first.
  bytes[1] = extension.lengthField ?? (extension.kind === 'ah' ? bytes.length / 4 - 2 : bytes.length / 8 - 1);
  if (extension.kind === 'hop-by-hop' || extension.kind === 'destination') padOptions(bytes.subarray(2));
  return bytes;
}

/** PadN options: Linux refuses more than seven bytes of padding in a row as Pad1. */
function padOptions(area: Buffer): void {
  for (let at = 0; at < area.length; ) {
    const size = Math.min(area.length - at, 257);
    if (size > 1) {
      area[at] = 1;
      area[at + 1] = size - 2;
    }
    at += size;
  }
}

export interface TcpSpec {
  /** Letters of TCP_FLAG such as 'SA', in any order, or the byte itself. */
  readonly flags: string | number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly sequence?: number;
  readonly acknowledgment?: number;
  readonly window?: number;
  /** Bytes of options, or how many bytes of no-operation options; a multiple of 4 up to 40. */
  readonly options?: Buffer | number;
  /** Bytes of data, or how many. */
  readonly data?: Buffer | number;
  /** In words of 4 bytes; replaces the computed one. */
  readonly dataOffset?: number;
  /** 'offload': the folded pseudo-header sum, not complemented, as a local sender leaves it to its network card. */
  readonly checksum?: 'right' | 'wrong' | 'offload';
}

export function tcp(spec: TcpSpec): Payload {
  return {
    protocol: PROTOCOL.tcp,
    bytes(source, destination) {
      const options = typeof spec.options === 'number' ? Buffer.alloc(spec.options, 1) : (spec.options ?? EMPTY);
      const header = Buffer.alloc(20 + options.length);
      header.writeUInt16BE(spec.sourcePort ?? 40_000, 0);
      header.writeUInt16BE(spec.destinationPort ?? 80, 2);
      header.writeUInt32BE(spec.sequence ?? 0x01020304, 4);
      header.writeUInt32BE(spec.acknowledgment ?? 0, 8);
      header[12] = (spec.dataOffset ?? header.length / 4) << 4;
      header[13] = typeof spec.flags === 'number' ? spec.flags : flagByte(spec.flags);
      header.writeUInt16BE(spec.window ?? 1024, 14);
      options.copy(header, 20);
      const segment = Buffer.concat([header, content(spec.data)]);
      writeChecksum(segment, 16, PROTOCOL.tcp, source, destination, spec.checksum);
      return segment;
    },
  };
}

/** The flags byte of letters such as 'SA'. Throws on an unknown letter. */
export function flagByte(letters: string): number {
  let byte = 0;
  for (const letter of letters) {
    if (!(letter in TCP_FLAG)) throw new Error(`not a TCP flag: ${letter}`);
    byte |= TCP_FLAG[letter as keyof typeof TCP_FLAG];
  }
  return byte;
}

export interface UdpSpec {
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly data?: Buffer | number;
}

export function udp(spec: UdpSpec = {}): Payload {
  return {
    protocol: PROTOCOL.udp,
    bytes(source, destination) {
      const data = content(spec.data);
      const header = u16s(spec.sourcePort ?? 40_000, spec.destinationPort ?? 53, 8 + data.length, 0);
      const datagram = Buffer.concat([header, data]);
      writeChecksum(datagram, 6, PROTOCOL.udp, source, destination, 'right');
      return datagram;
    },
  };
}

export interface IcmpSpec {
  readonly type: number;
  readonly code?: number;
  /** What follows the first four bytes and the four of the type's own (zero here), such as a quoted packet. */
  readonly body?: Buffer;
}

export function icmp(spec: IcmpSpec): Payload {
  return {
    protocol: PROTOCOL.icmp,
    bytes() {
      const message = icmpMessage(spec);
      message.writeUInt16BE(complement(sumWords(message)), 2);
      return message;
    },
  };
}

export function icmpv6(spec: IcmpSpec): Payload {
  return {
    protocol: PROTOCOL.icmpv6,
    bytes(source, destination) {
      const message = icmpMessage(spec);
      writeChecksum(message, 2, PROTOCOL.icmpv6, source, destination, 'right');
      return message;
    },
  };
}

/** Bytes of any protocol, as they are. */
export function raw(protocol: number, data: Buffer | number): Payload {
  return { protocol, bytes: () => content(data) };
}

/** The first bytes of a packet, as an ICMP error quotes it: the IP header and eight bytes more unless told. */
export function quoted(packet: Packet, bytes?: number): Buffer {
  const header = packet.etherType === 0x0800 ? ((packet.bytes[0] as number) & 15) * 4 : 40;
  return packet.bytes.subarray(0, bytes ?? header + 8);
}

/** A packet that is not IP: its EtherType and content. */
export function foreign(etherType: number, data: Buffer | number): Packet {
  return { etherType, bytes: content(data) };
}

const EMPTY = Buffer.alloc(0);

function icmpMessage(spec: IcmpSpec): Buffer {
  return Buffer.concat([Buffer.from([spec.type, spec.code ?? 0, 0, 0, 0, 0, 0, 0]), spec.body ?? EMPTY]);
}

function content(data: Buffer | number | undefined): Buffer {
  return typeof data === 'number' ? Buffer.alloc(data, 0x61) : (data ?? EMPTY);
}

function u16s(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2);
  for (const [index, value] of values.entries()) bytes.writeUInt16BE(value, index * 2);
  return bytes;
}

function writeChecksum(
  segment: Buffer,
  at: number,
  protocol: number,
  source: Buffer,
  destination: Buffer,
  kind: TcpSpec['checksum'],
): void {
  const pseudo = pseudoHeaderSum(source, destination, protocol, segment.length);
  const right = complement(pseudo + sumWords(segment));
  const value = kind === 'offload' ? fold(pseudo) : kind === 'wrong' ? right ^ 0x5555 : right;
  // UDP sends a computed zero as all ones, because zero means "none" (RFC 768).
  segment.writeUInt16BE(protocol === PROTOCOL.udp && value === 0 ? 0xffff : value, at);
}
