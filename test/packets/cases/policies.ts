/** Modes, traffic, several policies and several interfaces. */
import { icmp, icmpv6, ipv4, ipv6, quoted, raw, tcp, udp } from '../../support/packets.ts';
import {
  type Case,
  drop,
  each,
  from,
  GATEWAY4,
  NODE4,
  NODE6,
  OTHER_POLICY,
  POD4,
  POD6,
  POLICY,
  pass,
  START,
  STRANGER4,
  STRANGER6,
  syn,
} from './case.ts';

const FAMILIES = Object.entries({ IPv4: STRANGER4, IPv6: STRANGER6 });
const NEW = pass('PASS_NEW_CONNECTION');

/** The first `bytes` of a TCP header, more to come. */
const shortFirstFragment = (source: string, destination: string, bytes: number): Buffer =>
  from(source, tcp({ flags: 'A' }), {
    ...{ destination, slice: [0, bytes], moreFragments: true },
    ...(source.includes(':') && { extensions: [{ kind: 'fragment', more: true }] }),
  });

const monitor: Case[] = FAMILIES.flatMap(([family, source]) => [
  {
    name: `${family}: in Monitor the Nth target is counted and passed, and so is what a block would drop`,
    config: { enforce: false, blockTicks: 900 },
    steps: [
      ...each([syn(1, source), syn(2, source)], NEW),
      {
        frame: syn(3, source),
        expect: { ...pass('WOULD_DROP_SCAN_DETECTED', POLICY), block: { until: START + 900, ports: [3, 2, 1] } },
      },
      ...each(
        [syn(4, source), from(source, udp()), from(source, tcp({ flags: 'A' })), from(source, tcp({ flags: '' }))],
        pass('WOULD_DROP_SCAN_BLOCKED', POLICY),
      ),
      {
        frame: from(source, udp(), { destination: family === 'IPv4' ? POD4 : POD6 }),
        expect: pass('PASS_FORWARDED', POLICY),
      },
      { frame: syn(4, source), atTick: START + 899, expect: pass('WOULD_DROP_SCAN_BLOCKED', POLICY) },
      { frame: syn(4, source), atTick: START + 900, expect: NEW },
    ],
  },
  {
    name: `${family}: in Monitor with traffic All everything would be dropped`,
    config: { enforce: false, blockAllTraffic: true, threshold: 1 },
    steps: [
      { frame: syn(1, source), expect: pass('WOULD_DROP_SCAN_DETECTED', POLICY) },
      ...each(
        [syn(1, source), from(source, udp(), { destination: family === 'IPv4' ? POD4 : POD6 })],
        pass('WOULD_DROP_SCAN_BLOCKED', POLICY),
      ),
    ],
  },
  {
    name: `${family}: where no policy governs nothing is detected`,
    config: { detect: false, enforce: false, policy: 0, threshold: 1 },
    steps: each(
      [
        syn(1, source),
        from(source, tcp({ flags: 'FPU' })),
        from(source, tcp({ flags: 'S', checksum: 'wrong' })),
        from(source, tcp({ flags: 'S' }), { slice: [0, 8] }),
        from(source, udp()),
      ],
      pass('PASS_OTHER', 0),
    ),
  },
  {
    name: `${family}: a blocked source with traffic All gets nothing through, forwarded or not`,
    config: { blockAllTraffic: true, threshold: 1 },
    steps: [
      { frame: syn(1, source), expect: drop('DROP_SCAN_DETECTED', POLICY) },
      ...each(
        [NODE4, POD4, '192.0.2.255', '224.0.0.1', '255.255.255.255', NODE6, POD6, 'ff02::1']
          .filter((destination) => destination.includes(':') === (family === 'IPv6'))
          .flatMap((destination) => [
            from(source, udp(), { destination }),
            from(source, tcp({ flags: 'A' }), { destination }),
            syn(1, source, { destination }),
            from(source, raw(47, 20), { destination }),
          ]),
        drop('DROP_SCAN_BLOCKED', POLICY),
      ),
    ],
  },
  {
    name: `${family}: of a blocked source only new connections and probes are dropped when they are forwarded`,
    config: { threshold: 1 },
    steps: [
      { frame: syn(1, source), expect: drop('DROP_SCAN_DETECTED') },
      ...(family === 'IPv4' ? [POD4, '192.0.2.255', '224.0.0.1', '255.255.255.255'] : [POD6, 'ff02::1']).flatMap(
        (destination) => [
          ...each(
            ['A', 'SA', 'FA', 'RA', 'R'].map((flags) => from(source, tcp({ flags }), { destination })),
            pass('PASS_FORWARDED', POLICY),
          ),
          ...each(
            [
              from(source, udp(), { destination }),
              from(source, raw(132, 20), { destination }),
              from(source, tcp({ flags: 'S' }), { destination, slice: [0, 19] }),
            ],
            pass('PASS_FORWARDED', POLICY),
          ),
          ...each(
            [
              ...['S', 'SEW', 'SF', 'SR', 'SFA', 'SRA', 'F', '', 'FPU'].map((flags) =>
                from(source, tcp({ flags }), { destination }),
              ),
              // Flags that travel in the next fragment may be a SYN's.
              ...[0, 8, 16].map((bytes) => shortFirstFragment(source, destination, bytes)),
            ],
            drop('DROP_SCAN_BLOCKED', POLICY),
          ),
        ],
      ),
    ],
  },
]);

const forwarding: Case[] = [
  {
    name: 'a source that opens connections to 40 pods is not counted',
    config: { threshold: 2 },
    steps: each(
      Array.from({ length: 40 }, (_, i) => syn(9_100, STRANGER4, { destination: `10.0.0.${i + 1}` })),
      pass('PASS_NOT_OWN_ADDRESS', POLICY),
    ),
  },
  {
    name: 'answers to what the node masquerades, at 40 ports of its own, are not counted',
    config: { threshold: 1 },
    steps: each(
      Array.from({ length: 40 }, (_, i) => 32_768 + i).flatMap((destinationPort) => [
        ...['SA', 'A', 'PA', 'FA', 'R', 'RA'].map((flags) =>
          from(STRANGER4, tcp({ flags, sourcePort: 443, destinationPort })),
        ),
        from(STRANGER4, udp({ sourcePort: 53, destinationPort })),
      ]),
      pass('PASS_OTHER', POLICY),
    ),
  },
];

const icmpErrors: Case[] = [
  {
    name: 'an ICMP error of a blocked source that quotes no live flow is dropped, whatever it quotes',
    config: { threshold: 1 },
    steps: [
      { frame: syn(1), expect: drop('DROP_SCAN_DETECTED') },
      ...each(
        [3, 11, 12, 4, 5, 0].flatMap((type) => [
          from(STRANGER4, icmp({ type, body: quoted(ownTcp4()) })),
          from(STRANGER4, icmp({ type, body: quoted(ownTcp4(), 20) })),
          from(STRANGER4, icmp({ type, body: quoted(ownTcp4(), 22) })),
          from(STRANGER4, icmp({ type })),
        ]),
        drop('DROP_SCAN_BLOCKED'),
      ),
    ],
  },
  {
    name: 'an ICMPv6 error of a blocked source that quotes no live flow is dropped, whatever it quotes',
    config: { threshold: 1 },
    steps: [
      { frame: syn(1, STRANGER6), expect: drop('DROP_SCAN_DETECTED') },
      ...each(
        [1, 2, 3, 4, 128].flatMap((type) => [
          from(STRANGER6, icmpv6({ type, body: quoted(ownTcp6()) })),
          from(STRANGER6, icmpv6({ type, body: quoted(ownTcp6(), 40) })),
          from(STRANGER6, icmpv6({ type, body: quoted(ownTcp6(), 42) })),
        ]),
        drop('DROP_SCAN_BLOCKED'),
      ),
    ],
  },
];

function ownTcp4() {
  return ipv4({ source: NODE4, destination: STRANGER4, payload: tcp({ flags: 'A', sourcePort: 80 }) });
}

function ownTcp6() {
  return ipv6({ source: NODE6, destination: STRANGER6, payload: tcp({ flags: 'A', sourcePort: 80 }) });
}

const several: Case[] = FAMILIES.flatMap(([family, source]) => [
  {
    name: `${family}: two policies on two interfaces count and block apart`,
    instances: [{ ifindex: 1 }, { ifindex: 2, policy: OTHER_POLICY }],
    steps: [
      ...each([syn(1, source), syn(2, source)], NEW),
      { frame: syn(3, source), instance: 1, expect: pass('PASS_NEW_CONNECTION', OTHER_POLICY) },
      { frame: syn(4, source), instance: 1, expect: pass('PASS_NEW_CONNECTION', OTHER_POLICY) },
      { frame: syn(3, source), instance: 0, expect: drop('DROP_SCAN_DETECTED', POLICY) },
      { frame: syn(3, source), instance: 0, expect: drop('DROP_SCAN_BLOCKED', POLICY) },
      { frame: from(source, udp()), instance: 1, expect: pass('PASS_OTHER', OTHER_POLICY) },
      { frame: syn(5, source), instance: 1, expect: drop('DROP_SCAN_DETECTED', OTHER_POLICY) },
    ],
  },
  {
    name: `${family}: one policy on two interfaces pools its targets and its blocks`,
    instances: [{ ifindex: 1 }, { ifindex: 2 }],
    steps: [
      { frame: syn(1, source), instance: 0, expect: NEW },
      { frame: syn(2, source), instance: 1, expect: NEW },
      { frame: syn(3, source), instance: 0, expect: { ...drop('DROP_SCAN_DETECTED'), block: { ports: [3, 2, 1] } } },
      { frame: syn(4, source), instance: 1, expect: drop('DROP_SCAN_BLOCKED') },
      { frame: syn(4, source), instance: 0, expect: drop('DROP_SCAN_BLOCKED') },
    ],
  },
  {
    name: `${family}: a policy that turns to Enforce does not enforce what it recorded in Monitor`,
    instances: [{ enforce: false }, {}],
    config: { threshold: 2 },
    steps: [
      { frame: syn(1, source), expect: NEW },
      { frame: syn(2, source), expect: pass('WOULD_DROP_SCAN_DETECTED') },
      { frame: from(source, udp()), instance: 1, atTick: START + 10, expect: pass('PASS_OTHER') },
      { frame: syn(1, source), instance: 1, expect: NEW },
      { frame: syn(2, source), instance: 1, expect: drop('DROP_SCAN_DETECTED') },
      { frame: syn(2, source), instance: 1, expect: drop('DROP_SCAN_BLOCKED') },
    ],
  },
  {
    name: `${family}: a policy that turns to Monitor drops no longer and goes on counting`,
    instances: [{}, { enforce: false }],
    config: { threshold: 2 },
    steps: [
      { frame: syn(1, source), expect: NEW },
      { frame: syn(2, source), expect: drop('DROP_SCAN_DETECTED') },
      { frame: syn(2, source), instance: 1, expect: pass('WOULD_DROP_SCAN_BLOCKED') },
    ],
  },
  {
    name: `${family}: a change from NewConnections to All holds for the blocks that exist`,
    instances: [{}, { blockAllTraffic: true }],
    config: { threshold: 1 },
    steps: [
      { frame: syn(1, source), expect: drop('DROP_SCAN_DETECTED') },
      {
        frame: from(source, udp(), { destination: family === 'IPv4' ? POD4 : POD6 }),
        expect: pass('PASS_FORWARDED'),
      },
      {
        frame: from(source, udp(), { destination: family === 'IPv4' ? POD4 : POD6 }),
        instance: 1,
        expect: drop('DROP_SCAN_BLOCKED'),
      },
    ],
  },
]);

const neverBlockMonitor: Case[] = [
  {
    name: 'in Monitor a never-block source is reported as spared too',
    config: { enforce: false, threshold: 2 },
    steps: [
      { frame: syn(1, GATEWAY4), expect: NEW },
      { frame: syn(2, GATEWAY4), expect: pass('SPARED_SCAN_DETECTED', POLICY) },
      { frame: syn(3, GATEWAY4), expect: pass('PASS_NEVER_BLOCK', POLICY) },
    ],
  },
  {
    name: 'a connection log changes no verdict',
    config: { logConnections: true, threshold: 2 },
    steps: [
      { frame: syn(1), repeat: 3, expect: NEW },
      { frame: from(STRANGER4, tcp({ flags: 'A' })), expect: pass('PASS_OTHER') },
      { frame: syn(2), expect: drop('DROP_SCAN_DETECTED') },
      { frame: syn(2), expect: drop('DROP_SCAN_BLOCKED') },
    ],
  },
];

const ordinary: Case[] = FAMILIES.map(([family, source]) => ({
  name: `${family}: ordinary traffic that is no new connection passes uncounted as a target`,
  config: { threshold: 1 },
  steps: each(
    [
      from(source, udp()),
      from(source, family === 'IPv4' ? icmp({ type: 8 }) : icmpv6({ type: 128 })),
      from(source, raw(50, 40)),
      from(source, raw(59, 0)),
      from(source, raw(4, 20)),
      ...['A', 'PA', 'FA', 'R', 'RA', 'SA'].map((flags) => from(source, tcp({ flags }))),
    ],
    pass('PASS_OTHER', POLICY),
  ),
}));

export const cases: Case[] = [...monitor, ...forwarding, ...icmpErrors, ...several, ...neverBlockMonitor, ...ordinary];
