/** What an attacker may try so that somebody else is blocked, or the node cut off. With N = 1 every vote would show. */
import { foreign, frame, icmpv6, ipv4, ipv6, raw, tcp, udp } from '../../support/packets.ts';
import {
  type Case,
  classed,
  drop,
  each,
  from,
  GATEWAY4,
  GATEWAY6,
  listed,
  manuallyBlocked,
  NODE4,
  NODE4_SECOND,
  NODE6,
  NODE6_LINK_LOCAL,
  neverBlock,
  POD4,
  POD6,
  pass,
  ports,
  RESOLVER4,
  RESOLVER6,
  START,
  STRANGER4,
  STRANGER6,
  syn,
} from './case.ts';

const FIRST_VOTE_BLOCKS = { threshold: 1 };
const FAMILIES = Object.entries({ IPv4: STRANGER4, IPv6: STRANGER6 });

const confusedParsers: Case[] = [
  {
    name: "an IPv6 frame whose bytes read as an IPv4 SYN is nobody's probe",
    config: FIRST_VOTE_BLOCKS,
    // Byte 23 of the frame, IPv4's protocol, is the second byte of the source 2606::/16; byte 47 is where IPv4 has TCP flags.
    steps: each(
      [
        from('2606:4700:c633:6407::2', udp({ data: Buffer.alloc(64, 2) })),
        from('2606:4700::2', udp({ data: 40 }), { destination: '2001:db8:0:1:2:202:202:2' }),
      ],
      pass('PASS_OTHER'),
    ),
  },
  {
    name: 'an IPv4 packet announced as IPv6 and the reverse are malformed',
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      [syn(1, STRANGER4, {}, { etherType: 0x86dd }), syn(1, STRANGER6, {}, { etherType: 0x0800 })],
      pass('PASS_MALFORMED'),
    ),
  },
  {
    name: 'an IPv6 packet from or to an IPv4-mapped address is malformed, so it speaks for no IPv4 host',
    config: FIRST_VOTE_BLOCKS,
    tables: [listed('198.51.100.0/24'), manuallyBlocked('203.0.113.9', START + 1_000)],
    steps: [
      ...each(
        [
          syn(1, `::ffff:${STRANGER4}`),
          syn(1, STRANGER6, { destination: `::ffff:${NODE4}` }),
          syn(1, '::ffff:203.0.113.9', { destination: `::ffff:${NODE4}` }),
          from('::ffff:192.0.2.77', udp()),
          from('::ffff:0.0.0.0', icmpv6({ type: 135 }), { hopLimit: 255 }),
          syn(1, '::ffff:255.255.255.255', {}, { tags: [{}] }),
        ],
        pass('PASS_MALFORMED', 0),
      ),
      // Their neighbours in the address space are ordinary IPv6.
      { frame: syn(1, '::fffe:192.0.2.77', { destination: '::1:ffff:0:1' }), expect: pass('PASS_NOT_OWN_ADDRESS') },
      { frame: syn(1, '::1:192.0.2.77'), expect: drop('DROP_SCAN_DETECTED') },
      { frame: syn(1, '192.0.2.77'), expect: drop('DROP_SCAN_DETECTED') },
    ],
  },
  {
    name: 'a wrong version number is malformed',
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      [0, 5, 6, 15]
        .map((version) => syn(1, STRANGER4, { version }))
        .concat([0, 4, 5, 7].map((version) => syn(1, STRANGER6, { version }))),
      pass('PASS_MALFORMED'),
    ),
  },
  {
    name: 'what is not IP passes',
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      [0x0806, 0x88cc, 0x8847, 0x8864, 0x9100, 0x002e, 0x0000, 0xffff].map((etherType) =>
        frame({ packet: foreign(etherType, 46) }),
      ),
      pass('PASS_NOT_IP', 0),
    ),
  },
  {
    name: 'a third VLAN tag passes as not IP',
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      [
        syn(1, STRANGER4, {}, { tags: [{}, {}, {}] }),
        syn(1, STRANGER6, {}, { tags: [{ tpid: 0x88a8 }, {}, {}] }),
        syn(1, STRANGER4, {}, { tags: [{ tpid: 0x88a8 }, {}, { tpid: 0x88a8 }] }),
        syn(1, STRANGER4, {}, { tags: [{ tpid: 0x9100 }] }),
      ],
      pass('PASS_NOT_IP', 0),
    ),
  },
];

const laterFragments: Case[] = FAMILIES.map(([family, source]) => ({
  name: `${family}: a later fragment whose payload looks like TCP is never read`,
  config: FIRST_VOTE_BLOCKS,
  steps: each(
    [1, 2, 185, 256, 4096, 8191].flatMap((offset) =>
      [true, false].flatMap((more) =>
        ['S', 'F', ''].map((flags) =>
          family === 'IPv4'
            ? from(source, tcp({ flags }), { fragmentOffset: offset, moreFragments: more })
            : from(source, tcp({ flags }), { extensions: [{ kind: 'fragment', offset, more }] }),
        ),
      ),
    ),
    pass('PASS_OTHER'),
  ),
}));

const badChecksums: Case[] = FAMILIES.flatMap(([family, source]) => [
  {
    name: `${family}: a segment with a wrong checksum never votes`,
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      ['S', 'SEW', 'F', '', 'FPU', 'SF', 'SR'].flatMap((flags) => [
        from(source, tcp({ flags, checksum: 'wrong' })),
        from(source, tcp({ flags, checksum: 'wrong', data: 7, options: 12 })),
        from(source, tcp({ flags, checksum: 'wrong' }), {}, { tags: [{}] }),
      ]),
      pass('PASS_BAD_CHECKSUM', 1),
    ),
  },
  {
    name: `${family}: one flipped bit anywhere in the segment is a wrong checksum`,
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      // Not the flags, the data offset and the ports: the packet would be another one.
      [4, 7, 8, 11, 14, 15, 16, 17, 18, 19, 20, 29, 30].map((at) => {
        const bytes = syn(1, source, {}, { padTo: 0 });
        const whole = from(source, tcp({ flags: 'S', data: 11 }), {}, { padTo: 0 });
        const transportAt = bytes.length - 20;
        whole.writeUInt8(whole.readUInt8(transportAt + at) ^ 0x10, transportAt + at);
        return whole;
      }),
      pass('PASS_BAD_CHECKSUM', 1),
    ),
  },
  {
    name: `${family}: padding of the frame is no part of the checksum`,
    config: { threshold: 2 },
    steps: [
      { frame: syn(1, source, {}, { padTo: 100 }), expect: pass('PASS_NEW_CONNECTION') },
      {
        frame: Buffer.concat([syn(2, source, {}, { padTo: 0 }), Buffer.alloc(33, 0xa5)]),
        expect: drop('DROP_SCAN_DETECTED'),
      },
    ],
  },
]);

const UNBLOCKABLE: Record<string, [string, string?]> = {
  'the gateway': [GATEWAY4],
  'the gateway, IPv6': [GATEWAY6],
  'a resolver': [RESOLVER4],
  'a resolver, IPv6': [RESOLVER6],
  'an own address': [NODE4_SECOND],
  'an own address, IPv6': [NODE6],
  'the own address that is the target': [NODE4],
  'an own link-local address': [NODE6_LINK_LOCAL],
  'a multicast address': ['224.0.0.251'],
  'a multicast address, IPv6': ['ff02::fb'],
  broadcast: ['255.255.255.255'],
  'the loopback address': ['127.0.0.1'],
  'a high loopback address': ['127.255.255.255'],
  'the loopback address, IPv6': ['::1'],
  'the unspecified address': ['0.0.0.0'],
  'the unspecified address, IPv6': ['::'],
};

const forgedSources: Case[] = Object.entries(UNBLOCKABLE).map(([name, [source]]) => ({
  name: `a scan forged from ${name} is reported and never dropped`,
  config: { blockAllTraffic: true },
  steps: [
    ...each([syn(1, source), syn(2, source)], pass('PASS_NEW_CONNECTION')),
    { frame: syn(3, source), expect: pass('SPARED_SCAN_DETECTED') },
    ...each(
      [syn(4, source), from(source, tcp({ flags: 'FPU' })), from(source, tcp({ flags: 'A' })), from(source, udp())],
      pass('PASS_NEVER_BLOCK'),
    ),
  ],
}));

const sparedAgain: Case[] = [
  {
    name: 'a never-block source is reported again when its record has ended',
    config: { threshold: 2, blockTicks: 500 },
    steps: [
      { frame: syn(1, GATEWAY4), expect: pass('PASS_NEW_CONNECTION') },
      { frame: syn(2, GATEWAY4), expect: { ...pass('SPARED_SCAN_DETECTED'), block: { until: 1_000_500 } } },
      { frame: syn(3, GATEWAY4), atTick: 1_000_499, expect: pass('PASS_NEVER_BLOCK') },
      { frame: syn(3, GATEWAY4), atTick: 1_000_500, expect: pass('PASS_NEW_CONNECTION') },
      { frame: syn(4, GATEWAY4), expect: pass('SPARED_SCAN_DETECTED') },
    ],
  },
  {
    name: 'a never-block source is spared from lists, manual blocks and scan blocks',
    tables: [
      { table: 'lists', slot: 0, prefix: '192.0.2.254', value: { owner: 11, enforce: true, allTraffic: true } },
      { table: 'manual', prefix: '192.0.2.254', value: { until: 2_000_000 } },
    ],
    steps: [
      { frame: syn(1, GATEWAY4), expect: pass('PASS_NEW_CONNECTION') },
      { frame: from(GATEWAY4, udp()), expect: pass('PASS_NEVER_BLOCK') },
    ],
  },
  {
    name: 'a blocked source that becomes never-block passes at once, and is detected as spared',
    config: { threshold: 2 },
    steps: [
      { frame: syn(1), expect: pass('PASS_NEW_CONNECTION') },
      { frame: syn(2), expect: drop('DROP_SCAN_DETECTED') },
      { frame: syn(3), expect: drop('DROP_SCAN_BLOCKED') },
      { change: neverBlock(STRANGER4), atTick: 1_000_010 },
      { frame: from(STRANGER4, udp()), expect: pass('PASS_NEVER_BLOCK') },
      { frame: syn(3), expect: pass('PASS_NEW_CONNECTION') },
      { frame: syn(4), expect: pass('SPARED_SCAN_DETECTED') },
    ],
  },
  {
    name: 'a spared record does not block a source that leaves the never-block set',
    config: { threshold: 2 },
    tables: [neverBlock(STRANGER4)],
    steps: [
      { frame: syn(1), expect: pass('PASS_NEW_CONNECTION') },
      { frame: syn(2), expect: pass('SPARED_SCAN_DETECTED') },
      { change: classed(STRANGER4, null), atTick: 1_000_010 },
      { frame: syn(3), expect: pass('PASS_NEW_CONNECTION') },
      { frame: syn(4), expect: drop('DROP_SCAN_DETECTED') },
      { frame: syn(4), expect: drop('DROP_SCAN_BLOCKED') },
    ],
  },
];

const replies: Case[] = FAMILIES.map(([family, source]) => ({
  name: `${family}: replies to own outbound traffic never count`,
  config: FIRST_VOTE_BLOCKS,
  steps: each(
    ports(40, 32_768).flatMap((destinationPort) =>
      ['SA', 'R', 'RA', 'A', 'PA', 'FA', 'FPA', 'RP', 'UA', 'SAE'].map((flags) =>
        from(source, tcp({ flags, sourcePort: 443, destinationPort, data: flags === 'PA' ? 64 : 0 })),
      ),
    ),
    pass('PASS_OTHER', 1),
  ),
}));

const foreignTargets: Case[] = FAMILIES.flatMap(([family, source]) => {
  const foreignAddresses =
    family === 'IPv4'
      ? [POD4, '192.0.2.3', '192.0.2.255', '224.0.0.1', '255.255.255.255', '127.0.0.1', '0.0.0.0']
      : [POD6, '2001:db8:0:1::3', 'ff02::1', 'fe80::2', '::1', '::'];
  const kinds = ['S', 'F', '', 'SF'];
  return [
    {
      name: `${family}: connections and probes to addresses that are not the node's own never count`,
      config: FIRST_VOTE_BLOCKS,
      steps: each(
        foreignAddresses.flatMap((destination) => kinds.map((flags) => from(source, tcp({ flags }), { destination }))),
        pass('PASS_NOT_OWN_ADDRESS', 1),
      ),
    },
    {
      name: `${family}: with destinations All a forwarded connection counts`,
      config: { allDestinations: true },
      steps: [
        { frame: syn(1, source), expect: pass('PASS_NEW_CONNECTION') },
        {
          frame: syn(1, source, { destination: foreignAddresses[0] as string }),
          expect: pass('PASS_NEW_CONNECTION'),
        },
        { frame: syn(1, source, { destination: foreignAddresses[1] as string }), expect: drop('DROP_SCAN_DETECTED') },
      ],
    },
    {
      name: `${family}: with destinations All multicast and broadcast still do not count`,
      config: { ...FIRST_VOTE_BLOCKS, allDestinations: true },
      steps: each(
        (family === 'IPv4'
          ? ['224.0.0.0', '224.0.0.1', '239.255.255.255', '255.255.255.255']
          : ['ff00::', 'ff02::1', 'ffff:ffff::1']
        ).map((destination) => syn(1, source, { destination })),
        pass('PASS_NOT_OWN_ADDRESS'),
      ),
    },
    {
      name: `${family}: with destinations All the neighbours of the multicast range count`,
      config: FIRST_VOTE_BLOCKS,
      instances: [{ allDestinations: true }],
      steps: each(
        [syn(1, source, { destination: family === 'IPv4' ? '223.255.255.255' : 'feff::1' })],
        drop('DROP_SCAN_DETECTED'),
      ),
    },
  ];
});

const truncated: Case[] = FAMILIES.flatMap(([family, source]) => {
  const whole = from(source, tcp({ flags: 'S', data: 30 }), {}, { padTo: 0 });
  const tagged = from(source, tcp({ flags: 'S', data: 30 }), {}, { padTo: 0, tags: [{ tpid: 0x88a8 }, {}] });
  return [
    {
      name: `${family}: a frame cut at any length is malformed and passes`,
      config: FIRST_VOTE_BLOCKS,
      steps: each(
        ports(whole.length - 14, 14).map((length) => whole.subarray(0, length)),
        pass('PASS_MALFORMED'),
      ),
    },
    {
      name: `${family}: a tagged frame cut at any length is malformed and passes`,
      config: FIRST_VOTE_BLOCKS,
      steps: each(
        ports(tagged.length - 14, 14).map((length) => tagged.subarray(0, length)),
        pass('PASS_MALFORMED'),
      ),
    },
    {
      name: `${family}: a whole packet that ends inside its TCP header is malformed and passes`,
      config: FIRST_VOTE_BLOCKS,
      steps: each(
        [0, 1, 3, 4, 8, 13, 14, 19].map((length) => from(source, tcp({ flags: 'S' }), { slice: [0, length] })),
        pass('PASS_MALFORMED', 1),
      ),
    },
    {
      name: `${family}: a TCP data offset that contradicts the packet is malformed`,
      config: FIRST_VOTE_BLOCKS,
      steps: each(
        [
          ...[0, 1, 4, 6, 15].map((dataOffset) => from(source, tcp({ flags: 'S', dataOffset }))),
          from(source, tcp({ flags: 'F', dataOffset: 4 })),
          from(source, tcp({ flags: 'S', options: 36, dataOffset: 15 })),
        ],
        pass('PASS_MALFORMED', 1),
      ),
    },
  ];
});

const lengthLies: Case[] = [
  {
    name: 'an IPv4 total length beyond the frame or below its header is malformed',
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      [0, 1, 19, 47, 48, 1500, 65_535].map((totalLength) => syn(1, STRANGER4, { totalLength })),
      pass('PASS_MALFORMED', 0),
    ),
  },
  {
    name: 'an IPv4 total length that leaves no whole TCP header is malformed',
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      [20, 21, 33, 34, 39].map((totalLength) => syn(1, STRANGER4, { totalLength })),
      pass('PASS_MALFORMED', 1),
    ),
  },
  {
    name: 'an IPv4 total length that takes padding into the segment makes its checksum wrong',
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      [41, 42, 46].map((totalLength) => syn(1, STRANGER4, { totalLength })),
      pass('PASS_BAD_CHECKSUM'),
    ),
  },
  {
    name: 'an IPv4 header length below 5 words or beyond the total length is malformed',
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      [0, 1, 4, 11, 15].map((headerWords) => syn(1, STRANGER4, { headerWords })),
      pass('PASS_MALFORMED', 0),
    ),
  },
  {
    name: 'an IPv6 payload length beyond the frame is malformed',
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      [21, 22, 1500, 65_535].map((payloadLength) => syn(1, STRANGER6, { payloadLength })),
      pass('PASS_MALFORMED', 0),
    ),
  },
  {
    name: 'an IPv6 payload length that leaves no whole TCP header is malformed',
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      [0, 1, 4, 19].map((payloadLength) => syn(1, STRANGER6, { payloadLength })),
      pass('PASS_MALFORMED', 1),
    ),
  },
  {
    name: 'payload length 0 before hop-by-hop options hides nothing: the host reads to the end of the frame',
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      [syn(1, STRANGER6, { payloadLength: 0, extensions: [{ kind: 'hop-by-hop' }] })],
      drop('DROP_SCAN_DETECTED'),
    ),
  },
  {
    name: 'payload length 0 before anything else carries nothing',
    config: FIRST_VOTE_BLOCKS,
    steps: each([syn(1, STRANGER6, { payloadLength: 0 })], pass('PASS_MALFORMED')),
  },
  {
    name: 'a first fragment that ends inside of an extension header hides what it carries and is dropped',
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      [
        syn(1, STRANGER6, {
          extensions: [
            { kind: 'fragment', offset: 0, more: true },
            { kind: 'destination', lengthField: 255 },
          ],
        }),
      ],
      drop('DROP_EXTENSION_HEADERS'),
    ),
  },
  {
    name: 'three VLAN tags with a priority tag among them are dropped: the host would take them off and read on',
    config: FIRST_VOTE_BLOCKS,
    steps: [
      ...[
        [0, 0, 0],
        [0, 5, 5],
        [5, 0, 5],
        [5, 5, 0],
      ].map((ids) => ({
        frame: syn(1, STRANGER4, {}, { tags: ids.map((tci) => ({ tci })) }),
        expect: drop('DROP_VLAN_TAGS'),
      })),
      { frame: syn(1, STRANGER4, {}, { tags: [{ tci: 0 }, { tci: 0 }] }), expect: drop('DROP_SCAN_DETECTED') },
    ],
  },
  {
    name: 'in Monitor three VLAN tags with a priority tag among them are counted and passed',
    config: { ...FIRST_VOTE_BLOCKS, enforce: false },
    steps: each([syn(1, STRANGER4, {}, { tags: [{ tci: 0 }, { tci: 0 }, { tci: 0 }] })], pass('WOULD_DROP_VLAN_TAGS')),
  },
  {
    name: 'an extension header that reaches beyond the payload is malformed',
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      [
        ...(['hop-by-hop', 'routing', 'destination', 'mobility', 'hip', 'shim6'] as const).flatMap((kind) =>
          [3, 4, 255].map((lengthField) => syn(1, STRANGER6, { extensions: [{ kind, lengthField }] })),
        ),
        ...[6, 7, 255].map((lengthField) => syn(1, STRANGER6, { extensions: [{ kind: 'ah', lengthField }] })),
        ...[1, 2, 7].map((payloadLength) =>
          syn(1, STRANGER6, { extensions: [{ kind: 'destination' }], payloadLength }),
        ),
        ...[1, 4, 7].map((payloadLength) => syn(1, STRANGER6, { extensions: [{ kind: 'fragment' }], payloadLength })),
      ],
      pass('PASS_MALFORMED', 1),
    ),
  },
  {
    name: 'an extension header that reaches beyond the payload is malformed whatever it announces',
    steps: each(
      [0, 1].map((more) =>
        from(STRANGER6, udp(), { extensions: [{ kind: 'destination', lengthField: 2 + more * 9 }] }, { padTo: 200 }),
      ),
      pass('PASS_MALFORMED', 1),
    ),
  },
  {
    name: 'an IP header without payload is whole',
    steps: each(
      [STRANGER4, STRANGER6].flatMap((source) => [0, 60].map((padTo) => from(source, raw(17, 0), {}, { padTo }))),
      pass('PASS_OTHER', 1),
    ),
  },
  {
    name: 'an extension header that swallows the TCP header leaves no probe',
    config: FIRST_VOTE_BLOCKS,
    steps: each(
      [1, 2].map((lengthField) => syn(1, STRANGER6, { extensions: [{ kind: 'destination', lengthField }] })),
      pass('PASS_MALFORMED', 1),
    ),
  },
];

const neighbourDiscovery: Case[] = [
  {
    name: 'neighbour discovery passes from a source that every table blocks',
    config: { threshold: 1, blockAllTraffic: true },
    tables: [{ table: 'manual', prefix: '2001:db8:bad::/64', value: { until: 2_000_000 } }],
    steps: [
      ...each(
        [133, 134, 135, 136, 137].map((type) => from(STRANGER6, icmpv6({ type }), { hopLimit: 255 })),
        pass('PASS_NEIGHBOUR_DISCOVERY', 1),
      ),
      ...each(
        [
          from(STRANGER6, icmpv6({ type: 132 }), { hopLimit: 255 }),
          from(STRANGER6, icmpv6({ type: 138 }), { hopLimit: 255 }),
          from(STRANGER6, icmpv6({ type: 135 }), { hopLimit: 254 }),
          from(STRANGER6, icmpv6({ type: 135 }), { hopLimit: 255, extensions: [{ kind: 'destination' }] }),
          from(STRANGER6, raw(58, 0), { hopLimit: 255 }),
        ],
        drop('DROP_MANUAL', 0),
      ),
    ],
  },
  {
    name: 'neighbour discovery passes when tagged and when it is one byte long',
    steps: each(
      [
        frame({
          packet: ipv6({
            source: STRANGER6,
            destination: 'ff02::1',
            hopLimit: 255,
            payload: raw(58, Buffer.from([136])),
          }),
        }),
        from(STRANGER6, icmpv6({ type: 135 }), { hopLimit: 255 }, { tags: [{}, {}] }),
      ],
      pass('PASS_NEIGHBOUR_DISCOVERY'),
    ),
  },
  {
    name: 'an IPv4 packet of protocol 58 is not neighbour discovery',
    tables: [{ table: 'manual', prefix: STRANGER4, value: { until: 2_000_000 } }],
    steps: each(
      [
        frame({
          packet: ipv4({ source: STRANGER4, destination: NODE4, ttl: 255, payload: raw(58, Buffer.alloc(64, 135)) }),
        }),
      ],
      drop('DROP_MANUAL', 0),
    ),
  },
];

export const cases: Case[] = [
  ...confusedParsers,
  ...laterFragments,
  ...badChecksums,
  ...forgedSources,
  ...sparedAgain,
  ...replies,
  ...foreignTargets,
  ...truncated,
  ...lengthLies,
  ...neighbourDiscovery,
];
