import { complement, fold } from '../support/internet-checksum.ts';
import { frame, ipv4, tcp } from '../support/packets.ts';
import { OWN_ADDRESS, v4 } from './frames.ts';
import { shuffledAddress } from './node.ts';

export const VETH_SOURCES = 10_000;
const SERIES = 8000;
const KEY_BYTES = 8;
/** A power of two, as rotate.h wants; some sources come twice in a round. */
const KEYS = 16_384;
const IP_CHECKSUM_AT = 24;

/** The sources that every filter has in its set: of 16.0.0.0/4 to 96.0.0.0/3, where all are somebody's. */
export const vethSource = (index: number): number =>
  (0x10000000 + (shuffledAddress(index % VETH_SOURCES, SERIES) % 0x60000000)) >>> 0;

/** Where frames go to: `frame` gives all of them this destination. */
export const VETH_MAC = '02:00:00:00:00:01';

/** A SYN of 60 bytes; nobody comes to look at its TCP checksum. */
export const vethFrame = (source: number): Buffer =>
  frame({ packet: ipv4({ source: v4(source), destination: OWN_ADDRESS, payload: tcp({ flags: 'S' }) }) });

/** Keys for generate.bpf.c: source and the checksum that the IPv4 header then has. */
export const encodeHeaderKeys = (): Buffer => {
  const keys = Buffer.alloc(KEYS * KEY_BYTES);
  const base = complement(vethFrame(0).readUInt16BE(IP_CHECKSUM_AT));
  for (let i = 0; i < KEYS; i++) {
    const source = vethSource(i);
    keys.writeUInt32BE(source, i * KEY_BYTES);
    keys.writeUInt16BE(~fold(base + (source >>> 16) + (source & 0xffff)) & 0xffff, i * KEY_BYTES + 6);
  }
  return keys;
};
