import type { Address } from '../support/address.ts';
import {
  hasAck,
  ICMP,
  ICMPV6,
  type IpPacket,
  isSynAck,
  isSynWithoutAck,
  quotedTcp,
  segmentKind,
  type TcpHeader,
  type Transport,
} from './parse.ts';
import type { Reason } from './reasons.ts';

export type SocketState =
  | 'ESTABLISHED'
  | 'FIN_WAIT1'
  | 'FIN_WAIT2'
  | 'CLOSE_WAIT'
  | 'LAST_ACK'
  | 'CLOSING'
  | 'TIME_WAIT'
  | 'SYN_SENT'
  | 'NEW_SYN_RECV'
  | 'LISTEN';

/** What a socket look-up finds; the numbers are there only in the states that have them. */
export interface Socket {
  readonly state: SocketState;
  /** NEW_SYN_RECV: our initial sequence number. */
  readonly initialSequence?: number;
  /** Oldest sequence number sent and not acknowledged. */
  readonly sendUnacknowledged?: number;
  /** Next sequence number to send. */
  readonly sendNext?: number;
  /** Bytes of data taken in order; default 0. */
  readonly bytesReceived?: number;
}

/** The TCP socket of this network namespace that a packet from remote to local belongs to. */
export type SocketLookup = (
  remote: Address,
  remotePort: number,
  local: Address,
  localPort: number,
) => Socket | undefined;

export interface BlockedVerdict {
  /** Absent: drop. */
  readonly pass?: Reason;
  /** The packet shows that its sender received what we sent to its source address. */
  readonly proven: boolean;
}

const DROP: BlockedVerdict = { proven: false };

const FLOW_STATES: ReadonlySet<SocketState> = new Set([
  'ESTABLISHED',
  'FIN_WAIT1',
  'FIN_WAIT2',
  'CLOSE_WAIT',
  'LAST_ACK',
  'CLOSING',
  'TIME_WAIT',
]);

/** What a source may still send while its new connections are blocked. */
export function newConnectionsTest(
  packet: IpPacket,
  transport: Transport,
  ownDestination: boolean,
  sockets: SocketLookup,
): BlockedVerdict {
  if (!ownDestination) {
    // A SYN cut so short that its flags travel in the next fragment would open a connection behind this host.
    const opens = transport.kind === 'tcp-short' || (transport.kind === 'tcp' && isSynWithoutAck(transport.flags));
    return opens ? DROP : { pass: 'PASS_FORWARDED', proven: false };
  }
  if (transport.kind === 'tcp' && !transport.fragmented && segmentKind(transport.flags) === 'other') {
    return segmentOfFlow(packet, transport, sockets);
  }
  if (transport.kind === 'other' && !transport.fragmented && quotesLiveFlow(packet, transport, sockets)) {
    return { pass: 'PASS_ICMP_ERROR', proven: false };
  }
  return DROP;
}

function segmentOfFlow(packet: IpPacket, tcp: TcpHeader, sockets: SocketLookup): BlockedVerdict {
  const socket = sockets(packet.source, tcp.sourcePort, packet.destination, tcp.destinationPort);
  if (!socket) return DROP;
  const proven = hasAck(tcp.flags) && acknowledgmentFits(socket, tcp.acknowledgment);
  const live = FLOW_STATES.has(socket.state) || (socket.state === 'SYN_SENT' && isSynAck(tcp.flags));
  return live ? { pass: 'PASS_LIVE_FLOW', proven } : { proven };
}

function acknowledgmentFits(socket: Socket, acknowledgment: number): boolean {
  if (socket.state === 'NEW_SYN_RECV') {
    return socket.initialSequence !== undefined && acknowledgment === (socket.initialSequence + 1) >>> 0;
  }
  const { sendUnacknowledged: first, sendNext: next } = socket;
  if (!FLOW_STATES.has(socket.state) || first === undefined || next === undefined) return false;
  // A connection that has carried data was somebody's before the scan, which may be forged.
  if (socket.bytesReceived) return false;
  // Sequence numbers wrap: distances from the oldest one are compared.
  return (acknowledgment - first) >>> 0 <= (next - first) >>> 0;
}

function quotesLiveFlow(
  packet: IpPacket,
  { protocol, at }: { protocol: number; at: number },
  sockets: SocketLookup,
): boolean {
  if (protocol !== (packet.version === 4 ? ICMP : ICMPV6)) return false;
  const quote = quotedTcp(packet, at);
  if (!quote || quote.source !== packet.destination) return false;
  // The quoted packet was ours, so its destination is the flow's remote end.
  const socket = sockets(quote.destination, quote.destinationPort, quote.source, quote.sourcePort);
  return socket !== undefined && (FLOW_STATES.has(socket.state) || socket.state === 'SYN_SENT');
}
