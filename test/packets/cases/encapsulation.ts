/** VLAN tags, IPv4 options, IPv6 extension headers and fragments in front of a probe change nothing. */
import { EXTENSION, type Extension, type ExtensionKind, type Tag, tcp, udp } from '../../support/packets.ts';
import { type Case, drop, each, from, pass, ports, STRANGER4, STRANGER6, scanIsBlocked, syn } from './case.ts';

const FAMILIES = Object.entries({ IPv4: STRANGER4, IPv6: STRANGER6 });

const TAGS: Record<string, Tag[]> = {
  'one tag 0x8100': [{}],
  'one tag 0x88a8': [{ tpid: 0x88a8 }],
  'a priority tag': [{ tci: 0xe000 }],
  'QinQ 0x88a8 and 0x8100': [{ tpid: 0x88a8 }, {}],
  'two tags 0x8100': [{}, {}],
  'two tags 0x88a8': [{ tpid: 0x88a8 }, { tpid: 0x88a8 }],
  'tags in the other order': [{}, { tpid: 0x88a8 }],
};

const SYN_PORTS = ports(3);

const tags: Case[] = FAMILIES.flatMap(([family, source]) =>
  Object.entries(TAGS).map(([name, list]) => ({
    name: `${family}: a scan behind ${name} is blocked at the third target`,
    steps: scanIsBlocked(
      SYN_PORTS.map((port) => syn(port, source, {}, { tags: list })),
      'PASS_NEW_CONNECTION',
    ),
  })),
);

const mixedTags: Case[] = FAMILIES.map(([family, source]) => ({
  name: `${family}: tagged and untagged frames of a source count together and are blocked together`,
  steps: [
    ...each([syn(1, source), syn(2, source, {}, { tags: [{}] })], pass('PASS_NEW_CONNECTION')),
    { frame: syn(3, source, {}, { tags: [{ tpid: 0x88a8 }, {}] }), expect: drop('DROP_SCAN_DETECTED') },
    ...each(
      [syn(4, source), syn(4, source, {}, { tags: [{ tci: 7 }] }), from(source, udp(), {}, { tags: [{}, {}] })],
      drop('DROP_SCAN_BLOCKED'),
    ),
  ],
}));

const options: Case[] = ports(10)
  .map((words) => words * 4)
  .flatMap((bytes) => [
    {
      name: `a scan behind ${bytes} bytes of IPv4 options is blocked at the third target`,
      steps: scanIsBlocked(
        SYN_PORTS.map((port) => syn(port, STRANGER4, { options: bytes })),
        'PASS_NEW_CONNECTION',
      ),
    },
    {
      name: `a FIN scan behind ${bytes} bytes of IPv4 options in a VLAN, its checksum offloaded, is blocked`,
      steps: scanIsBlocked(
        SYN_PORTS.map((destinationPort) =>
          from(
            STRANGER4,
            tcp({ flags: 'F', destinationPort, checksum: 'offload' }),
            { options: bytes },
            { tags: [{}] },
          ),
        ),
      ),
    },
  ]);

const KINDS = Object.keys(EXTENSION) as ExtensionKind[];
const LENGTHS: Record<ExtensionKind, number[]> = {
  'hop-by-hop': [8, 16, 64, 264],
  routing: [8, 24, 40],
  fragment: [8],
  ah: [8, 12, 24, 44],
  destination: [8, 16, 128, 512],
  mobility: [8, 24],
  hip: [8, 40],
  shim6: [8, 16],
};

function chain(name: string, extensions: Extension[]): Case {
  return {
    name: `a scan behind ${name} is blocked at the third target`,
    steps: scanIsBlocked(
      SYN_PORTS.map((port) => syn(port, STRANGER6, { extensions })),
      'PASS_NEW_CONNECTION',
    ),
  };
}

const extensions: Case[] = [
  ...KINDS.flatMap((kind) =>
    LENGTHS[kind].map((bytes) => chain(`one ${kind} header of ${bytes} bytes`, [{ kind, bytes }])),
  ),
  ...KINDS.map((kind) => chain(`two ${kind} headers`, [{ kind }, { kind }])),
  chain(
    'every kind of extension header',
    KINDS.map((kind) => ({ kind })),
  ),
  chain(
    'every kind of extension header in reverse',
    KINDS.toReversed().map((kind) => ({ kind })),
  ),
  chain('long headers', [
    { kind: 'hop-by-hop', bytes: 256 },
    { kind: 'destination', bytes: 256 },
    { kind: 'routing', bytes: 136 },
    { kind: 'ah', bytes: 100 },
  ]),
  chain('a hop-by-hop header that does not come first', [{ kind: 'destination' }, { kind: 'hop-by-hop' }]),
];

const fragmentedChains: Case[] = [
  {
    name: 'a first fragment behind other extension headers is a probe',
    steps: scanIsBlocked(
      SYN_PORTS.map((destinationPort) =>
        from(STRANGER6, tcp({ flags: 'S', destinationPort }), {
          extensions: [{ kind: 'destination' }, { kind: 'fragment', more: true }],
          slice: [0, 8],
        }),
      ),
    ),
  },
  {
    name: 'a first fragment with extension headers behind the fragment header is a probe',
    steps: scanIsBlocked(
      SYN_PORTS.map((destinationPort) =>
        from(STRANGER6, tcp({ flags: 'S', destinationPort }), {
          extensions: [{ kind: 'fragment', more: true }, { kind: 'destination' }],
          slice: [0, 8],
        }),
      ),
    ),
  },
  {
    name: 'an atomic fragment is a whole packet: a wrong checksum does not count',
    config: { threshold: 1 },
    steps: each(
      [from(STRANGER6, tcp({ flags: 'S', checksum: 'wrong' }), { extensions: [{ kind: 'fragment' }] })],
      pass('PASS_BAD_CHECKSUM'),
    ),
  },
  {
    name: 'an atomic fragment is a whole packet: a short TCP header is malformed',
    config: { threshold: 1 },
    steps: each(
      [from(STRANGER6, tcp({ flags: 'S' }), { extensions: [{ kind: 'fragment' }], slice: [0, 12] })],
      pass('PASS_MALFORMED'),
    ),
  },
];

const MAX = 8;
const destinations = (count: number): Extension[] => ports(count).map(() => ({ kind: 'destination' }));
const overLimit = (maxExtensionHeaders: number, source = STRANGER6) =>
  syn(1, source, { extensions: destinations(maxExtensionHeaders + 1) });

const chainLimit: Case[] = [
  ...[0, 1, 2, MAX, 16].map((maxExtensionHeaders) => ({
    name: `with a limit of ${maxExtensionHeaders} extension headers that many are read and one more is dropped`,
    config: { maxExtensionHeaders },
    steps: [
      {
        frame: syn(1, STRANGER6, { extensions: destinations(maxExtensionHeaders) }),
        expect: pass('PASS_NEW_CONNECTION'),
      },
      { frame: overLimit(maxExtensionHeaders), repeat: 3, expect: drop('DROP_EXTENSION_HEADERS', 1) },
      { frame: syn(2, STRANGER6), expect: pass('PASS_NEW_CONNECTION') },
    ],
  })),
  {
    name: 'a chain beyond the limit is dropped whatever it carries and wherever it goes',
    steps: each(
      [
        from(STRANGER6, udp(), { extensions: destinations(MAX + 1) }),
        from(STRANGER6, udp(), { extensions: destinations(MAX + 1), destination: '2001:db8:0:9::9' }),
        from(STRANGER6, tcp({ flags: 'A' }), { extensions: destinations(MAX + 3) }),
      ],
      drop('DROP_EXTENSION_HEADERS', 1),
    ),
  },
  {
    name: 'a chain beyond the limit is counted and passed in Monitor',
    config: { enforce: false },
    steps: [{ frame: overLimit(MAX), repeat: 3, expect: pass('WOULD_DROP_EXTENSION_HEADERS', 1) }],
  },
  {
    name: 'a chain beyond the limit is counted and passed where no policy governs',
    config: { detect: false, policy: 0 },
    instances: [{ enforce: false }, { enforce: true }],
    steps: [
      { instance: 1, frame: overLimit(MAX), expect: pass('WOULD_DROP_EXTENSION_HEADERS', 0) },
      { frame: overLimit(MAX), repeat: 3, expect: pass('WOULD_DROP_EXTENSION_HEADERS', 0) },
    ],
  },
  {
    name: 'a chain beyond the limit from a never-block source is passed',
    steps: [{ frame: overLimit(MAX, '2001:db8:53::53'), repeat: 3, expect: pass('PASS_NEVER_BLOCK') }],
  },
  {
    name: 'a chain beyond the limit from a blocked source is dropped as blocked, and passed when forwarded',
    config: { threshold: 1 },
    steps: [
      { frame: syn(1, STRANGER6), expect: drop('DROP_SCAN_DETECTED') },
      { frame: overLimit(MAX), expect: drop('DROP_SCAN_BLOCKED') },
      {
        frame: from(STRANGER6, udp(), { extensions: destinations(MAX + 1), destination: '2001:db8:0:9::9' }),
        expect: pass('PASS_FORWARDED'),
      },
    ],
  },
  {
    name: 'a chain whose later fragment stands at the limit is a later fragment',
    steps: [
      {
        frame: from(STRANGER6, udp({ data: 64 }), {
          extensions: [...destinations(MAX - 1), { kind: 'fragment', offset: 2 }],
          slice: [16],
        }),
        expect: pass('PASS_OTHER'),
      },
    ],
  },
];

export const cases: Case[] = [...tags, ...mixedTags, ...options, ...extensions, ...fragmentedChains, ...chainLimit];
