/**
 * Route netlink sockets. A socket belongs to the network namespace of the
 * thread that opened it, so whoever needs another one opens another.
 */
import koffi from 'koffi';
import { errnoName } from './bpf-error.ts';
import { declare, later, lib, libc } from './ffi.ts';
import {
  type Acknowledgement,
  acknowledgementOf,
  attribute,
  MessageFlag,
  MessageType,
  message,
  messagesOf,
  type NetlinkMessage,
  nestedAttribute,
  unsigned32,
} from './netlink-message.ts';

type PollHandle = ReturnType<typeof koffi.node.poll>;
type SocketFd = number & { readonly brand: 'netlink socket' };

const socket = declare<(domain: number, type: number, protocol: number) => number>(
  'int socket(int domain, int type, int protocol)',
  libc,
);
const bind = declare<(fd: SocketFd, address: Buffer, bytes: number) => number>(
  'int bind(int fd, const void *address, uint32_t bytes)',
  libc,
);
const setsockopt = declare<(fd: SocketFd, level: number, name: number, value: Buffer, bytes: number) => number>(
  'int setsockopt(int fd, int level, int name, const void *value, uint32_t bytes)',
  libc,
);
type Transfer = (fd: SocketFd, data: Buffer, bytes: number, flags: number) => number | bigint;
const send = declare<Transfer>('long send(int fd, const void *data, size_t bytes, int flags)', libc);
const recv = declare<Transfer>('long recv(int fd, void *data, size_t bytes, int flags)', libc);

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const MSG_TRUNC = 0x20;

/** The kernel fills at most 32 KiB of a dump at a time, however large the reader's buffer. */
const RECEIVE_BYTES = 65_536;
/** Datagrams of a dump between two turns of the event loop: about 1 ms of work. */
const DATAGRAMS_A_TURN = 16;
/** A table that changes without a pause interrupts every dump; after these the last one has to do. */
const DUMP_ATTEMPTS = 5;

/** A netlink operation that failed; `code` is the errno's name. */
export class NetlinkError extends Error {
  readonly code: string;

  constructor(operation: string, errno: number, words?: string) {
    const code = errnoName(errno);
    super(`${operation}: ${code}${words ? ` (${words})` : ''}`);
    this.name = 'NetlinkError';
    this.code = code;
  }
}

/** Bits of the group mask that a socket can subscribe to. */
export const RouteGroup = {
  link: 0x1,
  ipv4Address: 0x10,
  ipv4Route: 0x40,
  ipv6Address: 0x100,
  ipv6Route: 0x400,
} as const;

export interface Dump<Row> {
  readonly rows: readonly Row[];
  /** The table changed during every attempt, so the rows may contradict each other: dump again soon. */
  readonly interrupted: boolean;
}

export class NetlinkSocket {
  readonly #fd: SocketFd;
  readonly #buffer = Buffer.alloc(RECEIVE_BYTES);
  // A poll handle that is not kept in a field is collected, and then stays silent.
  #poll: PollHandle | undefined;
  #sequence = 0;
  #closed = false;

  /** Opens a socket that hears the groups of `groups`, a mask of RouteGroup; 0 for one that only asks. */
  constructor(groups = 0) {
    const fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) throw new NetlinkError('open a route netlink socket', koffi.errno());
    this.#fd = fd as SocketFd;
    try {
      const address = Buffer.alloc(12);
      address.writeUInt16LE(AF_NETLINK, 0);
      address.writeUInt32LE(groups >>> 0, 8);
      this.#check('bind a route netlink socket', bind(this.#fd, address, address.length));
      for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]) {
        this.#check('set up a netlink socket', setsockopt(this.#fd, SOL_NETLINK, option, unsigned32(1), 4));
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * What a parser makes of every message of one table. `payload` is the request's body. An interrupted dump is taken
   * again with a new parser; a parser must keep no view into a message.
   */
  async dump<Row>(
    type: number,
    payload: Buffer,
    newParser: () => (message: NetlinkMessage) => readonly Row[],
    signal?: AbortSignal,
  ): Promise<Dump<Row>> {
    let last: Dump<Row> = { rows: [], interrupted: true };
    for (let attempt = 0; attempt < DUMP_ATTEMPTS && last.interrupted; attempt++) {
      last = await this.#dumpOnce(type, payload, newParser(), signal);
    }
    return last;
  }

  async #dumpOnce<Row>(
    type: number,
    payload: Buffer,
    parse: (message: NetlinkMessage) => readonly Row[],
    signal?: AbortSignal,
  ): Promise<Dump<Row>> {
    const sequence = this.#nextSequence();
    this.#send(message(type, MessageFlag.request | MessageFlag.dump, sequence, payload));
    const rows: Row[] = [];
    let interrupted = false;
    for (let datagrams = 1; ; datagrams++) {
      const datagram = await this.#nextDatagram(signal);
      for (const reply of messagesOf(datagram)) {
        // The rest of an older dump that was given up may still be in the queue.
        if (reply.sequence !== sequence) continue;
        if ((reply.flags & MessageFlag.dumpInterrupted) !== 0) interrupted = true;
        if (reply.type === MessageType.done || reply.type === MessageType.error) {
          const { errno, message: words } = acknowledgementOf(reply);
          if (errno !== 0) throw new NetlinkError(`dump of table ${type}`, errno, words);
          return { rows, interrupted };
        }
        rows.push(...parse(reply));
      }
      if (datagrams % DATAGRAMS_A_TURN === 0) await new Promise(setImmediate);
    }
  }

  /** Sends a request that changes something and waits for its acknowledgement; the call runs off the event loop. */
  async request(type: number, payload: Buffer): Promise<Acknowledgement> {
    const sequence = this.#nextSequence();
    const text = message(type, MessageFlag.request | MessageFlag.ack, sequence, payload);
    // The kernel does the work inside send(): attaching may take seconds where a driver resets its rings.
    const sent = await later<unknown[], number | bigint>(send, this.#fd, text, text.length, 0);
    if (Number(sent.result) < 0) throw new NetlinkError('send a netlink request', sent.errno);
    for (;;) {
      for (const reply of messagesOf(await this.#nextDatagram())) {
        if (reply.sequence === sequence && reply.type === MessageType.error) return acknowledgementOf(reply);
      }
    }
  }

  /** One datagram, copied; undefined when none waits. Throws NetlinkError, with code ENOBUFS when some were lost. */
  receive(): Buffer | undefined {
    const length = Number(recv(this.#fd, this.#buffer, this.#buffer.length, MSG_TRUNC));
    if (length >= 0) {
      if (length > this.#buffer.length)
        throw new Error(`netlink datagram of ${length} bytes is beyond ${RECEIVE_BYTES}`);
      return Buffer.from(this.#buffer.subarray(0, length));
    }
    const errno = koffi.errno();
    if (errno === koffi.os.errno.EAGAIN || errno === koffi.os.errno.EINTR) return undefined;
    throw new NetlinkError('receive from netlink', errno);
  }

  /** Resolves once something can be received; rejects with the signal's reason. One waiter at a time. */
  readable(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new Error('the netlink socket is closed'));
      if (signal?.aborted) return reject(signal.reason);
      const end = (settle: () => void) => () => {
        this.#poll?.stop();
        signal?.removeEventListener('abort', onAbort);
        settle();
      };
      const onAbort = end(() => reject(signal?.reason));
      signal?.addEventListener('abort', onAbort, { once: true });
      const onReadable = end(resolve);
      if (this.#poll === undefined) this.#poll = koffi.node.poll(this.#fd, { readable: true }, onReadable);
      else this.#poll.start({ readable: true }, onReadable);
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#poll?.stop();
    this.#poll?.close();
    lib.close(this.#fd);
  }

  async #nextDatagram(signal?: AbortSignal): Promise<Buffer> {
    for (;;) {
      signal?.throwIfAborted();
      const datagram = this.receive();
      if (datagram !== undefined) return datagram;
      await this.readable(signal);
    }
  }

  #send(text: Buffer): void {
    this.#check('send a netlink request', send(this.#fd, text, text.length, 0));
  }

  #check(operation: string, result: number | bigint): void {
    if (Number(result) < 0) throw new NetlinkError(operation, koffi.errno());
  }

  #nextSequence(): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    return this.#sequence;
  }
}

const RTM_SETLINK = 19;
const IFLA_XDP = 43;
const IFLA_XDP_FD = 1;
const IFLA_XDP_FLAGS = 3;
const IFLA_XDP_EXPECTED_FD = 8;
const INTERFACE_INFO_BYTES = 16;

/** Bits of `flags` in attachXdpByNetlink. */
export const XdpFlag = { updateIfNoExist: 1, generic: 2, native: 4, replace: 16 } as const;

/**
 * Attaches a program the older way, which unlike a link tells why a driver
 * refuses. `programFd` -1 detaches. On success the program stays attached
 * until it is detached or the interface goes: no link owns it. With
 * `expectedFd` and the flag replace it fails unless that program is there.
 */
export async function attachXdpByNetlink(
  ifindex: number,
  programFd: number,
  flags: number,
  expectedFd?: number,
): Promise<Acknowledgement> {
  const info = Buffer.alloc(INTERFACE_INFO_BYTES);
  info.writeInt32LE(ifindex, 4);
  const xdp = nestedAttribute(IFLA_XDP, [
    attribute(IFLA_XDP_FD, unsigned32(programFd)),
    attribute(IFLA_XDP_FLAGS, unsigned32(flags)),
    ...(expectedFd === undefined ? [] : [attribute(IFLA_XDP_EXPECTED_FD, unsigned32(expectedFd))]),
  ]);
  const asking = new NetlinkSocket();
  try {
    return await asking.request(RTM_SETLINK, Buffer.concat([info, xdp]));
  } finally {
    asking.close();
  }
}
