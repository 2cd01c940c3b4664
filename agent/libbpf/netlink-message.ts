/**
 * Framing of netlink messages: headers, attributes, acknowledgements. Netlink
 * speaks the machine's own byte order, and every machine this runs on (x86-64,
 * arm64) is little-endian.
 */

const HEADER_BYTES = 16;
const ATTRIBUTE_HEADER_BYTES = 4;
const ATTRIBUTE_TYPE_MASK = 0x3fff;
const NESTED = 0x8000;

export const MessageType = { error: 2, done: 3 } as const;
export const MessageFlag = {
  request: 0x1,
  ack: 0x4,
  dump: 0x300,
  /** Something changed while a dump was under way: what it told may contradict itself. */
  dumpInterrupted: 0x10,
  /** Error messages only: attributes follow that explain the error. */
  ackAttributes: 0x200,
} as const;

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** What follows the header; a view into the datagram, not a copy. */
  readonly payload: Buffer;
}

/** What the kernel answered to one request. */
export interface Acknowledgement {
  /** 0 for success, else the positive errno. */
  readonly errno: number;
  /** The kernel's or the driver's own words, where it gave any. */
  readonly message?: string;
}

const align = (bytes: number): number => (bytes + 3) & ~3;

/** Splits a datagram into its messages; a tail that is cut short is left out. */
export function* messagesOf(datagram: Buffer): Generator<NetlinkMessage> {
  let at = 0;
  while (at + HEADER_BYTES <= datagram.length) {
    const length = datagram.readUInt32LE(at);
    if (length < HEADER_BYTES || at + length > datagram.length) return;
    yield {
      type: datagram.readUInt16LE(at + 4),
      flags: datagram.readUInt16LE(at + 6),
      sequence: datagram.readUInt32LE(at + 8),
      payload: datagram.subarray(at + HEADER_BYTES, at + length),
    };
    at += align(length);
  }
}

/** Attributes by type, from `start` on. Of two with the same type the later one stands, as in the kernel's own parser. */
export function attributesOf(payload: Buffer, start = 0): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  let at = start;
  while (at + ATTRIBUTE_HEADER_BYTES <= payload.length) {
    const length = payload.readUInt16LE(at);
    if (length < ATTRIBUTE_HEADER_BYTES || at + length > payload.length) break;
    const type = payload.readUInt16LE(at + 2) & ATTRIBUTE_TYPE_MASK;
    attributes.set(type, payload.subarray(at + ATTRIBUTE_HEADER_BYTES, at + length));
    at += align(length);
  }
  return attributes;
}

/** A C string out of an attribute. */
export function textOf(value: Buffer): string {
  const end = value.indexOf(0);
  return value.toString('utf8', 0, end < 0 ? value.length : end);
}

export function attribute(type: number, value: Buffer): Buffer {
  const length = ATTRIBUTE_HEADER_BYTES + value.length;
  const out = Buffer.alloc(align(length));
  out.writeUInt16LE(length, 0);
  out.writeUInt16LE(type, 2);
  value.copy(out, ATTRIBUTE_HEADER_BYTES);
  return out;
}

export function nestedAttribute(type: number, parts: readonly Buffer[]): Buffer {
  return attribute(type | NESTED, Buffer.concat(parts));
}

export function unsigned32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value >>> 0);
  return out;
}

export function message(type: number, flags: number, sequence: number, payload: Buffer): Buffer {
  const out = Buffer.alloc(HEADER_BYTES + payload.length);
  out.writeUInt32LE(out.length, 0);
  out.writeUInt16LE(type, 4);
  out.writeUInt16LE(flags, 6);
  out.writeUInt32LE(sequence, 8);
  payload.copy(out, HEADER_BYTES);
  return out;
}

const ACK_ATTRIBUTE_MESSAGE = 1;

/**
 * Reads how a request ended: a message of type error, which is also how
 * success is told, or the done that ends a dump. Needs NETLINK_CAP_ACK on the
 * socket: then an error quotes the request's header alone, and the attributes
 * start at a known place.
 */
export function acknowledgementOf(reply: NetlinkMessage): Acknowledgement {
  const errno = reply.payload.length < 4 ? 0 : Math.abs(reply.payload.readInt32LE(0));
  if ((reply.flags & MessageFlag.ackAttributes) === 0) return { errno };
  const quoted = reply.type === MessageType.error ? HEADER_BYTES : 0;
  const words = attributesOf(reply.payload, 4 + quoted).get(ACK_ATTRIBUTE_MESSAGE);
  return words === undefined ? { errno } : { errno, message: textOf(words) };
}
