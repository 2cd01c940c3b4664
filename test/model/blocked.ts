import type { Address } from '../support/address.ts';
import {
  hasAck,
  ICMP,
  ICMPV6,
  type IpPacket,
  isSynAck,
  quotedPacket,
  segmentKind,
  TCP,
  type TcpHeader,
  type Transport,
  UDP,
  udpPorts,
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

/** Looks up what a packet from remote to local belongs to. */
type Lookup<Found> = (remote: Address, remotePort: number, local: Address, localPort: number) => Found | undefined;

/** The TCP socket of this network namespace. */
export type SocketLookup = Lookup<Socket>;

/** A flow that connection tracking knows, by the addresses outside of any translation. */
export interface TrackedFlow {
  /** Of the packet that is asked for: `reply` when somebody inside opened the flow. */
  readonly direction: 'original' | 'reply';
  /** A TCP handshake was completed, or UDP has gone to and fro for two seconds. */
  readonly assured?: boolean;
  /** TCP alone. */
  readonly state?: 'SYN_SENT' | 'SYN_RECV' | 'ESTABLISHED' | 'FIN_WAIT' | 'TIME_WAIT' | 'CLOSE';
}

/** Everything that knows flows. */
export interface FlowLookups {
  readonly tcp: SocketLookup;
  /** The UDP socket that takes such a packet. A connected one takes those of one remote end alone. */
  readonly udp: Lookup<{ readonly connected: boolean }>;
  /** Finds nothing where the kernel does not let programs ask it. */
  readonly tracked: (protocol: number, ...flow: Parameters<Lookup<TrackedFlow>>) => TrackedFlow | undefined;
}

type Flow = Parameters<SocketLookup>;

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
  flows: FlowLookups,
): BlockedVerdict {
  if (!ownDestination) {
    // No connection has a probe's flags; those that travel in the next fragment could be a SYN's.
    const flowless =
      transport.kind === 'tcp-short' || (transport.kind === 'tcp' && segmentKind(transport.flags) !== 'other');
    return flowless ? DROP : { pass: 'PASS_FORWARDED', proven: false };
  }
  if (transport.kind === 'tcp' && !transport.fragmented && segmentKind(transport.flags) === 'other') {
    return segmentOfFlow(packet, transport, flows);
  }
  if (transport.kind === 'other' && !transport.fragmented && transport.protocol === UDP) {
    const ports = udpPorts(packet, transport.at);
    const live = ports && isUdpFlow([packet.source, ports.source, packet.destination, ports.destination], flows);
    return live ? { pass: 'PASS_LIVE_FLOW', proven: false } : DROP;
  }
  if (transport.kind === 'other' && !transport.fragmented && quotesLiveFlow(packet, transport, flows)) {
    return { pass: 'PASS_ICMP_ERROR', proven: false };
  }
  return DROP;
}

function segmentOfFlow(packet: IpPacket, tcp: TcpHeader, flows: FlowLookups): BlockedVerdict {
  const flow: Flow = [packet.source, tcp.sourcePort, packet.destination, tcp.destinationPort];
  const socket = flows.tcp(...flow);
  const proven = socket !== undefined && hasAck(tcp.flags) && acknowledgmentFits(socket, tcp.acknowledgment);
  const live = isTcpFlow(flow, isSynAck(tcp.flags), flows);
  return live ? { pass: 'PASS_LIVE_FLOW', proven } : { proven };
}

/** `answersAttempt`: it is what a connection attempt of ours waits for. */
function isTcpFlow(flow: Flow, answersAttempt: boolean, { tcp, tracked }: FlowLookups): boolean {
  const socket = tcp(...flow);
  if (socket && (FLOW_STATES.has(socket.state) || (socket.state === 'SYN_SENT' && answersAttempt))) return true;
  return isTrackedFlow(tracked(TCP, ...flow), answersAttempt);
}

function isUdpFlow(flow: Flow, { udp, tracked }: FlowLookups): boolean {
  return udp(...flow)?.connected === true || isTrackedFlow(tracked(UDP, ...flow), true);
}

function isTrackedFlow(found: TrackedFlow | undefined, answersAttempt: boolean): boolean {
  if (!found || found.state === 'CLOSE') return false;
  // One forged packet from outside makes an entry.
  if (found.direction === 'original') return found.assured === true;
  return found.state !== 'SYN_SENT' || answersAttempt;
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
  flows: FlowLookups,
): boolean {
  if (protocol !== (packet.version === 4 ? ICMP : ICMPV6)) return false;
  const quote = quotedPacket(packet, at);
  if (!quote || quote.source !== packet.destination) return false;
  // The quoted packet was ours, so its destination is the flow's remote end.
  const flow: Flow = [quote.destination, quote.destinationPort, quote.source, quote.sourcePort];
  return quote.protocol === TCP ? isTcpFlow(flow, true, flows) : isUdpFlow(flow, flows);
}
