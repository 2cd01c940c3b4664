/** What is not detected, or not stopped, today. docs/limits.md lists each with the sentence given here. */
import { type Extension, foreign, frame, icmp, icmpv6, ipv4, raw, tcp, udp } from '../../support/packets.ts';
import {
  type Case,
  drop,
  each,
  from,
  NODE4,
  NODE4_SECOND,
  NODE6,
  POD4,
  pass,
  ports,
  START,
  STRANGER4,
  STRANGER6,
  syn,
} from './case.ts';

const OTHER = pass('PASS_OTHER');
const NEW = pass('PASS_NEW_CONNECTION');
const SOURCES = [STRANGER4, STRANGER6];

const flagScan = (flags: string) =>
  SOURCES.flatMap((source) =>
    ports(40).map((destinationPort) => from(source, tcp({ flags, destinationPort, acknowledgment: 7 }))),
  );

export const cases: Case[] = [
  {
    name: 'limit: an ACK scan is not detected',
    limit:
      'ACK scans are not detected: an ACK looks like part of a connection. They tell which ports a firewall filters, not which are open.',
    steps: each(flagScan('A'), OTHER),
  },
  {
    name: 'limit: a window scan is not detected',
    limit: 'Window scans send the same packets as ACK scans and are not detected either.',
    steps: each(
      SOURCES.flatMap((source) =>
        ports(40).map((destinationPort) => from(source, tcp({ flags: 'A', destinationPort, window: 1 }))),
      ),
      OTHER,
    ),
  },
  {
    name: 'limit: a Maimon scan is not detected',
    limit: 'Maimon scans (FIN+ACK) are not detected: every connection ends with such a packet.',
    steps: each(flagScan('FA'), OTHER),
  },
  {
    name: 'limit: a scan by SYN+ACK or RST is not detected',
    limit:
      "Unsolicited SYN+ACK and RST packets are not counted: they may be answers to somebody who forged this node's address.",
    steps: each([...flagScan('SA'), ...flagScan('R'), ...flagScan('RA')], OTHER),
  },
  {
    name: 'limit: a UDP scan is not detected',
    limit:
      'UDP scans are not detected; a source that is blocked for TCP probes loses its UDP packets to the node too, but for those of flows that live.',
    steps: [
      ...each(
        SOURCES.flatMap((source) => ports(40).map((destinationPort) => from(source, udp({ destinationPort })))),
        OTHER,
      ),
      ...each([syn(1), syn(2)], NEW),
      { frame: syn(3), expect: drop('DROP_SCAN_DETECTED') },
      { frame: from(STRANGER4, udp()), expect: drop('DROP_SCAN_BLOCKED') },
    ],
  },
  {
    name: 'limit: an SCTP INIT scan is not detected',
    limit: 'SCTP scans (INIT, COOKIE ECHO) are not detected.',
    steps: each(
      SOURCES.flatMap((source) => ports(40).map((port) => from(source, raw(132, sctpInit(port))))),
      OTHER,
    ),
  },
  {
    name: 'limit: an IP protocol scan is not detected',
    limit: 'Scans over IP protocol numbers are not detected.',
    steps: [
      ...each(
        ports(255, 0)
          .filter((protocol) => protocol !== 6)
          .map((protocol) => from(STRANGER4, raw(protocol, 0))),
        OTHER,
      ),
      { frame: from(STRANGER4, raw(6, 0)), expect: pass('PASS_MALFORMED') },
    ],
  },
  {
    name: 'limit: a ping is not a probe',
    limit: 'Pings and other ICMP requests are not counted, so host discovery by ICMP is not detected.',
    steps: each(
      [
        ...[8, 13, 17].map((type) => from(STRANGER4, icmp({ type }))),
        from(STRANGER6, icmpv6({ type: 128 })),
        from(STRANGER6, icmpv6({ type: 128 }), { destination: 'ff02::1' }),
      ],
      OTHER,
    ),
  },
  {
    name: 'limit: a scan slower than N targets a window is not detected',
    limit:
      'A scan that touches fewer than `distinctTargets` new targets within any `window` is not detected, however long it goes on.',
    steps: ports(60).map((port) => ({ frame: syn(port), atTick: START + port * 3_000, expect: NEW })),
  },
  {
    name: 'limit: a sweep over many hosts is one target on each node',
    limit:
      'A sweep of one port over many nodes is one target on each of them: each node counts what reaches its own addresses only.',
    steps: [
      { frame: syn(22), expect: NEW },
      { frame: syn(22, STRANGER4, { destination: NODE4_SECOND }), expect: NEW },
      ...each(
        ports(40).map((host) => syn(22, STRANGER4, { destination: `10.0.1.${host}` })),
        pass('PASS_NOT_OWN_ADDRESS'),
      ),
    ],
  },
  {
    name: 'limit: a distributed scan is not detected while each source stays below N',
    limit:
      'A scan spread over many sources is not detected while each of them stays below `distinctTargets`: sources are judged one by one.',
    steps: each(
      ports(120).flatMap((host) => [syn(host * 2, `198.51.100.${host}`), syn(host * 2 + 1, `198.51.100.${host}`)]),
      NEW,
    ),
  },
  {
    name: 'limit: a distributed IPv6 scan from several prefixes is not detected',
    limit:
      'An IPv6 attacker with a prefix shorter than `ipv6PrefixLength` has as many sources as it holds prefixes of that length.',
    steps: each(
      ports(60).map((net) => syn(net, `2001:db8:bad:${net.toString(16)}::1`)),
      NEW,
    ),
  },
  {
    name: 'limit: an idle scan blocks the zombie',
    limit:
      'In an idle scan the packets carry the address of a third party, the zombie, and it is the zombie that is blocked, for `unprovenDuration` at most.',
    config: { unprovenTicks: 500 },
    steps: [
      ...each([syn(1, '203.0.113.9'), syn(2, '203.0.113.9')], NEW),
      { frame: syn(3, '203.0.113.9'), expect: { ...drop('DROP_SCAN_DETECTED'), block: { until: START + 500 } } },
      // Its answers to our SYN+ACK: bare resets, which prove nothing.
      ...each([from('203.0.113.9', tcp({ flags: 'R' }))], drop('DROP_SCAN_BLOCKED')),
      { frame: syn(1, '203.0.113.9'), atTick: START + 500, expect: NEW },
    ],
  },
  {
    name: 'limit: decoys are blocked like the scanner among them',
    limit:
      'Of a scan with decoys every forged source is blocked as well, each for `unprovenDuration` at most; which of them is real is not told.',
    steps: [1, 2]
      .flatMap((port) =>
        each(
          decoys().map((source) => syn(port, source)),
          NEW,
        ),
      )
      .concat(
        each(
          decoys().map((source) => syn(3, source)),
          drop('DROP_SCAN_DETECTED'),
        ),
      ),
  },
  {
    name: 'limit: forged SYNs block a third party for unprovenDuration',
    limit:
      'Whoever forges N SYNs with the address of a third party has it blocked for `unprovenDuration`; sources that the node needs belong in the never-block set.',
    config: { unprovenTicks: 500, blockTicks: 60_000 },
    steps: [
      ...each([syn(1), syn(2)], NEW),
      { frame: syn(3), expect: { ...drop('DROP_SCAN_DETECTED'), block: { until: START + 500 } } },
      { frame: syn(80), atTick: START + 499, expect: drop('DROP_SCAN_BLOCKED') },
      { frame: syn(80), atTick: START + 500, expect: NEW },
    ],
  },
  {
    name: 'limit: a scan of few ports stays below N',
    limit: 'A scan of fewer than `distinctTargets` targets is not detected: N-1 probes always pass.',
    config: { threshold: 15 },
    steps: each(
      ports(14).map((port) => syn(port)),
      NEW,
    ),
  },
  {
    name: 'limit: a client of many open ports is taken for a scanner',
    limit:
      'Whether a port is open makes no difference: a client that uses `distinctTargets` services of the node within `window` is blocked unless it is allowed.',
    steps: [...each([syn(80), syn(443)], NEW), { frame: syn(8443), expect: drop('DROP_SCAN_DETECTED') }],
  },
  {
    name: 'limit: tunnelled packets are not read',
    limit:
      'Packets inside a tunnel (IP-in-IP, GRE, VXLAN, ESP, Teredo) are not read on the outer interface; attach to the inner one where it is of Ethernet type.',
    config: { threshold: 1 },
    steps: each(
      [4, 41, 47, 50]
        .map((protocol) =>
          from(
            STRANGER4,
            raw(protocol, ipv4({ source: STRANGER4, destination: NODE4, payload: tcp({ flags: 'S' }) }).bytes),
          ),
        )
        .concat(from(STRANGER4, udp({ destinationPort: 4789, data: syn(1) }))),
      OTHER,
    ),
  },
  {
    name: 'limit: PPPoE, MPLS and a third VLAN tag are not read',
    limit: 'Behind PPPoE, MPLS or more than two VLAN tags nothing is read: no list and no block holds there.',
    config: { threshold: 1 },
    tables: [{ table: 'manual', prefix: STRANGER4, value: { until: START + 1_000 } }],
    steps: each(
      [
        syn(1, STRANGER4, {}, { tags: [{}, {}, {}] }),
        syn(1, STRANGER4, {}, { tags: [{ tpid: 0x8847 }] }),
        frame({ packet: foreign(0x8864, 60) }),
      ],
      pass('PASS_NOT_IP'),
    ),
  },
  {
    name: 'limit: later fragments are not read, so only the first of a fragmented SYN is judged',
    limit:
      'A later fragment of a source that is not blocked passes unread; a SYN whose first fragment shows its ports is counted by that fragment.',
    config: { threshold: 2 },
    steps: [
      {
        frame: from(STRANGER4, tcp({ flags: 'S' }), { moreFragments: true, slice: [0, 8] }),
        expect: pass('PASS_PROBE'),
      },
      { frame: from(STRANGER4, tcp({ flags: 'S' }), { fragmentOffset: 1, slice: [8] }), expect: OTHER },
    ],
  },
  {
    name: 'limit: segments too long to verify count whatever their checksum',
    limit:
      'The checksum of a fragment, and of a segment longer than 2,048 bytes, is not verified: such a probe counts although the host may discard it.',
    config: { threshold: 1 },
    steps: [
      {
        frame: from(STRANGER4, tcp({ flags: 'S', data: 2_100, checksum: 'wrong' })),
        expect: drop('DROP_SCAN_DETECTED'),
      },
    ],
  },
  {
    name: 'limit: an IPv4 header checksum is not verified',
    limit:
      'The IPv4 header checksum is not verified; hosts and routers discard such a packet, yet its probe counts when its TCP checksum is right.',
    config: { threshold: 1 },
    steps: [{ frame: syn(1, STRANGER4, { checksum: 'wrong' }), expect: drop('DROP_SCAN_DETECTED') }],
  },
  {
    name: 'limit: probes of forwarded targets do not count by default',
    limit:
      'With `destinations: NodeAddresses` probes of pods and other addresses behind the node do not count; `All` counts them, and then every client that the node forwards for is judged too.',
    config: { threshold: 1 },
    steps: each(
      ports(40).map((port) => syn(port, STRANGER4, { destination: POD4 })),
      pass('PASS_NOT_OWN_ADDRESS'),
    ),
  },
  {
    name: 'limit: what is forwarded for a blocked source passes unless it can be part of no flow',
    limit:
      'A NewConnections block passes what is forwarded and may be part of a flow: UDP, ACKs and RSTs of a blocked source still reach pods, whatever connection tracking knows of them. `traffic: All` stops them.',
    config: { threshold: 1 },
    steps: [
      { frame: syn(1), expect: drop('DROP_SCAN_DETECTED') },
      ...each(
        [
          from(STRANGER4, udp(), { destination: POD4 }),
          ...['A', 'FA', 'R'].map((flags) => from(STRANGER4, tcp({ flags }), { destination: POD4 })),
        ],
        pass('PASS_FORWARDED'),
      ),
    ],
  },
  {
    name: 'limit: an answer to a masqueraded flow that connection tracking does not know is dropped',
    limit:
      'Where the node masquerades pods and neither a socket nor connection tracking knows the flow, the answers of a blocked source are dropped.',
    config: { threshold: 1 },
    steps: [
      { frame: syn(1), expect: drop('DROP_SCAN_DETECTED') },
      ...each(
        [
          ...['SA', 'A', 'FA'].map((flags) =>
            from(STRANGER4, tcp({ flags, sourcePort: 443, destinationPort: 32_768 })),
          ),
          from(STRANGER4, udp({ sourcePort: 53, destinationPort: 32_768 })),
        ],
        drop('DROP_SCAN_BLOCKED'),
      ),
    ],
  },
  {
    name: 'limit: a blocked source answers no ping',
    limit:
      'Answers to pings and later fragments are not told from new ones: a blocked source gets none of them through to the node, or to a pod behind its masquerade.',
    config: { threshold: 1 },
    steps: [
      { frame: syn(1), expect: drop('DROP_SCAN_DETECTED') },
      { frame: from(STRANGER4, icmp({ type: 0 })), expect: drop('DROP_SCAN_BLOCKED') },
      { frame: from(STRANGER4, udp({ data: 64 }), { fragmentOffset: 4 }), expect: drop('DROP_SCAN_BLOCKED') },
    ],
  },
  {
    name: 'limit: NodePorts are ports of the node',
    limit:
      'A NodePort or hostPort is a port of the node: a client of `distinctTargets` of them within `window` is blocked unless it is allowed, though each leads to a service.',
    config: { threshold: 15 },
    steps: [
      ...each(
        ports(14).map((port) => syn(30_000 + port)),
        NEW,
      ),
      { frame: syn(30_015), expect: drop('DROP_SCAN_DETECTED') },
    ],
  },
  {
    name: 'limit: neighbour discovery is never dropped',
    limit: 'ICMPv6 neighbour discovery with hop limit 255 passes from every source, listed and blocked ones too.',
    tables: [{ table: 'manual', prefix: STRANGER6, value: { until: START + 1_000 } }],
    steps: each(
      [133, 134, 135, 136, 137].map((type) => from(STRANGER6, icmpv6({ type }), { hopLimit: 255 })),
      pass('PASS_NEIGHBOUR_DISCOVERY'),
    ),
  },
  {
    name: 'limit: a never-block source scans unhindered',
    limit: 'A source in the never-block set, or one that forges such an address, is reported and never dropped.',
    tables: [{ table: 'classes', prefix: STRANGER4, value: { neverBlock: true } }],
    steps: [
      ...each([syn(1), syn(2)], NEW),
      { frame: syn(3), expect: pass('SPARED_SCAN_DETECTED') },
      ...each(
        ports(40).map((port) => syn(port)),
        pass('PASS_NEVER_BLOCK'),
      ),
    ],
  },
  {
    name: 'limit: an IPv6 chain beyond the limit does not vote',
    limit:
      'A packet with more IPv6 extension headers than the limit is dropped in Enforce, but does not count as a probe; in Monitor it passes.',
    config: { enforce: false, threshold: 1 },
    steps: each(
      ports(20).map((port) => syn(port, STRANGER6, { extensions: longChain(), destination: NODE6 })),
      pass('WOULD_DROP_EXTENSION_HEADERS'),
    ),
  },
];

function decoys(): string[] {
  return [STRANGER4, '203.0.113.4', '203.0.113.5', '8.8.4.4', '192.0.2.77'];
}

function longChain(): Extension[] {
  return ports(9).map(() => ({ kind: 'destination' }));
}

function sctpInit(port: number): Buffer {
  const packet = Buffer.alloc(32);
  packet.writeUInt16BE(40_000, 0);
  packet.writeUInt16BE(port, 2);
  packet[12] = 1;
  packet.writeUInt16BE(20, 14);
  return packet;
}
