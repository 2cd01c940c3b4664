import { formatAddress } from '../../api/cidr.ts';
import { complement, fold } from '../support/internet-checksum.ts';
import { frame, ipv4, type Payload, tcp, udp } from '../support/packets.ts';

/** The guarded node's own address in all sections. Addresses of RFC 2544, set aside for benchmarks. */
export const OWN_ADDRESS = '198.18.0.1';

export const v4 = (address: number): string => formatAddress({ family: 4, value: BigInt(address) });

const from = (source: number, payload: Payload): Buffer =>
  frame({ packet: ipv4({ source: v4(source), destination: OWN_ADDRESS, payload }) });

export const synFrame = (source: number, targetPort = 80): Buffer =>
  from(source, tcp({ flags: 'S', destinationPort: targetPort }));
export const ackFrame = (source: number): Buffer => from(source, tcp({ flags: 'A', data: 6 }));
export const udpFrame = (source: number): Buffer => from(source, udp({ data: 18 }));

const CHECKSUM_AT = 50;
const KEY_BYTES = 8;

export interface Probe {
  readonly source: number;
  readonly port: number;
}

/** Keys for rotate.h: for each probe the source, the port and the checksum that a SYN frame then has. */
export const encodeKeys = (count: number, probe: (index: number) => Probe): Buffer => {
  const keys = Buffer.alloc(count * KEY_BYTES);
  // The checksum of a SYN whose source and port are 0; each adds its own words (RFC 1624).
  const base = complement(synFrame(0, 0).readUInt16BE(CHECKSUM_AT));
  for (let i = 0; i < count; i++) {
    const { source, port } = probe(i);
    keys.writeUInt32BE(source, i * KEY_BYTES);
    keys.writeUInt16BE(port, i * KEY_BYTES + 4);
    keys.writeUInt16BE(~fold(base + (source >>> 16) + (source & 0xffff) + port) & 0xffff, i * KEY_BYTES + 6);
  }
  return keys;
};
