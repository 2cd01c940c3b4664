/** Every kind of probe, each detected at exactly the third distinct target and blocked afterwards. */
import { icmp, icmpv6, raw, type TcpSpec, tcp, udp } from '../../support/packets.ts';
import {
  type Case,
  drop,
  each,
  from,
  NODE4_SECOND,
  NODE6_SECOND,
  ports,
  STRANGER4,
  STRANGER6,
  scanIsBlocked,
  syn,
} from './case.ts';

const SOURCES = { IPv4: STRANGER4, IPv6: STRANGER6 };
const FAMILIES = Object.entries(SOURCES);

const newConnections: Record<string, Partial<TcpSpec>> = {
  'plain SYN': { flags: 'S' },
  'SYN of a full connect (options, window)': {
    flags: 'S',
    window: 64_240,
    options: Buffer.from('020405b40402080a0000000100000000', 'hex'),
  },
  'ECN SYN (ECE and CWR)': { flags: 'SEW' },
  'SYN with data': { flags: 'S', data: 100 },
  'SYN with PSH': { flags: 'SP' },
  'SYN with URG': { flags: 'SU' },
  'SYN with the longest options': { flags: 'S', options: 40 },
  'SYN with data of an odd length': { flags: 'S', data: 33 },
  'SYN whose checksum is left to offload': { flags: 'S', checksum: 'offload' },
  'SYN with data whose checksum is left to offload': { flags: 'S', checksum: 'offload', data: 200 },
};

const probes: Record<string, Partial<TcpSpec>> = {
  FIN: { flags: 'F' },
  NULL: { flags: 0 },
  XMAS: { flags: 'FPU' },
  'PSH alone': { flags: 'P' },
  'URG alone': { flags: 'U' },
  'ECE and CWR alone': { flags: 'EW' },
  'SYN+FIN': { flags: 'SF' },
  'SYN+RST': { flags: 'SR' },
  'SYN+FIN+ACK': { flags: 'SFA' },
  'SYN+RST+ACK': { flags: 'SRA' },
  'all flags': { flags: 255 },
  'FIN with data': { flags: 'F', data: 10 },
  'XMAS whose checksum is left to offload': { flags: 'FPU', checksum: 'offload' },
};

const wholeSegments: Case[] = FAMILIES.flatMap(([family, source]) => {
  const scan = (spec: Partial<TcpSpec>) =>
    ports(3).map((destinationPort) => from(source, tcp({ flags: 'S', ...spec, destinationPort })));
  return [
    ...Object.entries(newConnections).map(([kind, spec]) => ({
      name: `${family}: ${kind} counts as a new connection and is blocked at the third target`,
      steps: scanIsBlocked(scan(spec), 'PASS_NEW_CONNECTION'),
    })),
    ...Object.entries(probes).map(([kind, spec]) => ({
      name: `${family}: ${kind} counts as a probe and is blocked at the third target`,
      steps: scanIsBlocked(scan(spec)),
    })),
  ];
});

/** First fragments of a SYN that end before its TCP header does. */
function shortFragments(source: string, bytes: number, padTo: number): Buffer[] {
  const split = source.includes(':')
    ? { extensions: [{ kind: 'fragment', more: true } as const] }
    : { moreFragments: true };
  return ports(3, 4000).map((destinationPort) =>
    from(source, tcp({ flags: 'S', destinationPort }), { ...split, slice: [0, bytes] }, { padTo }),
  );
}

const shortFirstFragments: Case[] = FAMILIES.flatMap(([family, source]) =>
  [4, 5, 8, 13, 14, 16, 19].flatMap((bytes) =>
    [0, 80].map((padTo) => ({
      name: `${family}: a first fragment of ${bytes} bytes of TCP${padTo ? ', padded,' : ''} is a probe of its port`,
      steps: scanIsBlocked(shortFragments(source, bytes, padTo)),
    })),
  ),
);

const portlessFragments: Case[] = FAMILIES.flatMap(([family, source]) =>
  [0, 1, 2, 3].map((bytes) => {
    const [first] = shortFragments(source, bytes, 60) as [Buffer];
    const second = source.includes(':') ? NODE6_SECOND : NODE4_SECOND;
    const split = source.includes(':')
      ? { extensions: [{ kind: 'fragment', more: true } as const] }
      : { moreFragments: true };
    const elsewhere = from(source, tcp({ flags: 'S' }), { ...split, slice: [0, bytes], destination: second });
    return {
      name: `${family}: a first fragment of ${bytes} bytes of TCP is a probe of port 0`,
      config: { threshold: 2 },
      steps: [
        { frame: first, repeat: 3, expect: { verdict: 'pass', reason: 'PASS_PROBE' } },
        { frame: elsewhere, expect: drop('DROP_SCAN_DETECTED') },
      ],
    } satisfies Case;
  }),
);

const wholeFirstFragments: Case[] = FAMILIES.flatMap(([family, source]) => {
  const split = source.includes(':')
    ? { extensions: [{ kind: 'fragment', more: true } as const] }
    : { moreFragments: true };
  const build = (spec: Partial<TcpSpec>, slice: [number, number?]) =>
    ports(3).map((destinationPort) => from(source, tcp({ flags: 'S', ...spec, destinationPort }), { ...split, slice }));
  return [
    {
      name: `${family}: a first fragment with a whole TCP header is read like a packet`,
      steps: scanIsBlocked(build({ data: 64 }, [0, 24]), 'PASS_NEW_CONNECTION'),
    },
    {
      name: `${family}: a first fragment that ends in the TCP options is read like a packet`,
      steps: scanIsBlocked(build({ options: 20 }, [0, 24]), 'PASS_NEW_CONNECTION'),
    },
    {
      name: `${family}: the checksum of a first fragment cannot be verified and counts as right`,
      steps: scanIsBlocked(build({ data: 64, checksum: 'wrong' }, [0, 24]), 'PASS_NEW_CONNECTION'),
    },
    {
      name: `${family}: a FIN in a first fragment is a probe`,
      steps: scanIsBlocked(build({ flags: 'F', data: 64 }, [0, 24])),
    },
  ];
});

const longSegments: Case[] = [
  {
    name: 'a SYN of 2,048 bytes is verified: with a wrong checksum it does not count',
    config: { threshold: 1 },
    steps: each([from(STRANGER4, tcp({ flags: 'S', data: 2028, checksum: 'wrong' }))], {
      verdict: 'pass',
      reason: 'PASS_BAD_CHECKSUM',
    }),
  },
  {
    name: 'a SYN of 2,049 bytes is too long to verify and counts as right',
    config: { threshold: 1 },
    steps: each([from(STRANGER4, tcp({ flags: 'S', data: 2029, checksum: 'wrong' }))], drop('DROP_SCAN_DETECTED')),
  },
  {
    name: 'a SYN of 2,048 bytes with a right checksum counts',
    config: { threshold: 1 },
    steps: each([from(STRANGER4, tcp({ flags: 'S', data: 2028 }))], drop('DROP_SCAN_DETECTED')),
  },
];

const mixedScan: Case[] = FAMILIES.map(([family, source]) => ({
  name: `${family}: kinds of probes add up, and a blocked source gets nothing through to the node`,
  config: { threshold: 4 },
  steps: [
    { frame: syn(1, source), expect: { verdict: 'pass', reason: 'PASS_NEW_CONNECTION' } },
    { frame: from(source, tcp({ flags: 'F', destinationPort: 2 })), expect: { verdict: 'pass', reason: 'PASS_PROBE' } },
    { frame: from(source, tcp({ flags: 0, destinationPort: 3 })), expect: { verdict: 'pass', reason: 'PASS_PROBE' } },
    {
      frame: from(source, tcp({ flags: 'FPU', destinationPort: 4 })),
      expect: { ...drop('DROP_SCAN_DETECTED'), block: { ports: [4, 3, 2, 1] } },
    },
    ...each(
      [
        ...['S', 'SA', 'A', 'R', 'RA', 'F', 'FA', 'PA', 'FPU', 'SF', '', 'SEW'].map((flags) =>
          from(source, tcp({ flags, destinationPort: 443 })),
        ),
        from(source, udp()),
        from(source, family === 'IPv4' ? icmp({ type: 8 }) : icmpv6({ type: 128 })),
        from(source, family === 'IPv4' ? icmp({ type: 3 }) : icmpv6({ type: 1 })),
        from(source, raw(132, 12)),
        from(source, raw(47, 12)),
        from(source, raw(50, 12)),
        from(source, raw(6, 12)),
        from(source, tcp({ flags: 'A', dataOffset: 4 })),
        ...shortFragments(source, 8, 60),
        family === 'IPv4'
          ? from(source, udp({ data: 64 }), { fragmentOffset: 1, slice: [8] })
          : from(source, udp({ data: 64 }), { extensions: [{ kind: 'fragment', offset: 1 }], slice: [8] }),
      ],
      drop('DROP_SCAN_BLOCKED'),
    ),
  ],
}));

export const cases: Case[] = [
  ...wholeSegments,
  ...shortFirstFragments,
  ...portlessFragments,
  ...wholeFirstFragments,
  ...longSegments,
  ...mixedScan,
];
