import type { TestRun } from '../../agent/libbpf/test-run.ts';
import { addressBytes } from '../support/address.ts';
import { fold, pseudoHeaderSum } from '../support/internet-checksum.ts';
import { frame, ipv4, tcp } from '../support/packets.ts';

const XDP_DROP = 1;
const SOURCE_AT = 14 + 12;
const TCP_AT = 14 + 20;
const TCP_BYTES = 20;
/** The golden ratio of 2^32: odd, so that multiplying by it reaches every address once. */
const SPREAD = 0x9e3779b1;

/** The i-th of 2^32 different IPv4 addresses, spread over all of the space. */
export const nthSource = (i: number): number => Math.imul(i, SPREAD) >>> 0;

/** Sends IPv4 SYNs through a program, one frame changed in place: millions of sources cost a few µs each. */
export class SynSender {
  readonly #run: TestRun;
  readonly #frame: Buffer;
  readonly #sum: number;

  constructor(run: TestRun, destination: string) {
    this.#run = run;
    this.#frame = frame({ packet: ipv4({ source: '0.0.0.0', destination, payload: tcp({ flags: 'S' }) }) });
    this.#sum = pseudoHeaderSum(Buffer.alloc(4), addressBytes(destination), 6, TCP_BYTES);
  }

  /** True when the SYN passed. */
  send(source: number, port: number): boolean {
    this.#frame.writeUInt32BE(source, SOURCE_AT);
    this.#frame.writeUInt16BE(port, TCP_AT + 2);
    // As from a sender that leaves the rest of the sum to its network card: it counts as right.
    this.#frame.writeUInt16BE(fold(this.#sum + (source >>> 16) + (source & 0xffff)), TCP_AT + 16);
    return this.#run.run(this.#frame).action !== XDP_DROP;
  }

  /** One SYN from each of `count` sources beginning with the first-th. Returns how many passed. */
  flood(first: number, count: number, port = 443): number {
    let passed = 0;
    for (let i = first; i < first + count; i++) if (this.send(nthSource(i), port)) passed++;
    return passed;
  }
}
