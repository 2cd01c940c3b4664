/** Blocklists, manual blocks and allow entries: what each does alone, and which comes first. */
import { tcp, udp } from '../../support/packets.ts';
import {
  allowed,
  type Case,
  drop,
  type Expectation,
  each,
  from,
  GATEWAY4,
  LIST,
  listed,
  manuallyBlocked,
  OTHER_LIST,
  POD4,
  POD6,
  pass,
  ports,
  START,
  STRANGER4,
  STRANGER6,
  syn,
} from './case.ts';

const FAMILIES = Object.entries({ IPv4: STRANGER4, IPv6: STRANGER6 });
const LATER = START + 1_000;

const wouldDrop = (expect: Expectation, owner = LIST): Expectation => ({
  ...expect,
  also: [[owner, 'WOULD_DROP_LIST']],
});

function everything(source: string): Buffer[] {
  const pod = source.includes(':') ? POD6 : POD4;
  return [
    syn(80, source),
    from(source, tcp({ flags: 'A' })),
    from(source, tcp({ flags: 'FPU' })),
    from(source, tcp({ flags: 'S', checksum: 'wrong' })),
    from(source, udp()),
    from(source, tcp({ flags: 'S' }), { slice: [0, 4] }),
    syn(80, source, {}, { tags: [{}, {}] }),
    syn(80, source, { destination: pod }),
    from(source, tcp({ flags: 'A' }), { destination: pod }),
    from(source, udp(), { destination: pod }),
  ];
}

const lists: Case[] = FAMILIES.flatMap(([family, source]) => {
  const pod = family === 'IPv4' ? POD4 : POD6;
  const prefixes =
    family === 'IPv4'
      ? ['198.51.100.7', '198.51.100.0/24', '198.51.0.0/16', '192.0.0.0/2', '0.0.0.0/0']
      : ['2001:db8:bad::7', '2001:db8:bad::/64', '2001:db8:bad::/48', '2000::/3', '::/0'];
  const laterFragment =
    family === 'IPv4'
      ? (destination: string) => from(source, udp({ data: 64 }), { destination, fragmentOffset: 1, slice: [8] })
      : (destination: string) =>
          from(source, udp({ data: 64 }), { destination, extensions: [{ kind: 'fragment', offset: 1 }], slice: [8] });
  const firstFragment = (payload: ReturnType<typeof tcp>, bytes: number, destination: string) =>
    family === 'IPv4'
      ? from(source, payload, { destination, moreFragments: true, slice: [0, bytes] })
      : from(source, payload, { destination, extensions: [{ kind: 'fragment', more: true }], slice: [0, bytes] });
  const node = family === 'IPv4' ? '192.0.2.1' : '2001:db8:0:1::1';
  return [
    ...prefixes.map((prefix) => ({
      name: `${family}: everything of a source within the listed ${prefix} is dropped`,
      tables: [listed(prefix)],
      steps: each(everything(source), drop('DROP_LIST', LIST)),
    })),
    {
      name: `${family}: a list drops where no policy governs`,
      config: { detect: false, enforce: false, policy: 0 },
      tables: [listed(source)],
      steps: each(everything(source), drop('DROP_LIST', LIST)),
    },
    {
      name: `${family}: a list in Enforce drops although the policy is in Monitor`,
      config: { enforce: false },
      tables: [listed(source)],
      steps: each(everything(source), drop('DROP_LIST', LIST)),
    },
    {
      name: `${family}: a list of another slot does not hold on this interface`,
      instances: [{ setSlot: 0 }, { setSlot: 1 }],
      tables: [listed(source, {}, 1)],
      steps: [
        { frame: syn(80, source), instance: 0, expect: pass('PASS_NEW_CONNECTION') },
        { frame: syn(80, source), instance: 1, expect: drop('DROP_LIST', LIST) },
      ],
    },
    {
      name: `${family}: a NewConnections list drops all to the node that belongs to no live flow`,
      tables: [listed(source, { allTraffic: false })],
      steps: each(
        [
          ...['S', 'SEW', 'SA', 'A', 'PA', 'FA', 'R', 'RA', 'F', '', 'FPU', 'SF', 'SR', 'SRA'].map((flags) =>
            from(source, tcp({ flags })),
          ),
          from(source, udp()),
          laterFragment(node),
          firstFragment(tcp({ flags: 'A' }), 20, node),
          firstFragment(tcp({ flags: 'S' }), 8, node),
        ],
        drop('DROP_LIST', LIST),
      ),
    },
    {
      name: `${family}: a NewConnections list passes what is forwarded and may be part of a flow`,
      tables: [listed(source, { allTraffic: false })],
      steps: each(
        [
          ...['SA', 'A', 'PA', 'FA', 'R', 'RA'].map((flags) => from(source, tcp({ flags }), { destination: pod })),
          from(source, udp(), { destination: pod }),
          laterFragment(pod),
          firstFragment(tcp({ flags: 'A', data: 64 }), 24, pod),
        ],
        pass('PASS_FORWARDED', LIST),
      ),
    },
    {
      name: `${family}: a NewConnections list drops forwarded SYNs, and probes, which are part of no flow`,
      tables: [listed(source, { allTraffic: false })],
      steps: each(
        [
          ...['S', 'SEW', 'SF', 'SR', 'SPU', 'SFA', 'SRA', 'F', '', 'FPU'].map((flags) =>
            from(source, tcp({ flags }), { destination: pod }),
          ),
          from(source, tcp({ flags: 'S', checksum: 'wrong' }), { destination: pod }),
          firstFragment(tcp({ flags: 'S', data: 64 }), 24, pod),
          // Its flags travel in the next fragment.
          ...[0, 8, 16].map((bytes) => firstFragment(tcp({ flags: 'A' }), bytes, pod)),
        ],
        drop('DROP_LIST', LIST),
      ),
    },
    {
      name: `${family}: a Monitor list counts what it would drop, and the packet goes on`,
      tables: [listed(source, { enforce: false })],
      steps: [
        ...each([syn(1, source), syn(2, source)], wouldDrop(pass('PASS_NEW_CONNECTION', 1))),
        { frame: from(source, udp()), expect: wouldDrop(pass('PASS_OTHER', 1)) },
        { frame: syn(3, source), expect: wouldDrop(drop('DROP_SCAN_DETECTED', 1)) },
        { frame: syn(4, source), expect: wouldDrop(drop('DROP_SCAN_BLOCKED', 1)) },
      ],
    },
    {
      name: `${family}: a Monitor list on NewConnections counts only what that would drop`,
      tables: [listed(source, { enforce: false, allTraffic: false })],
      steps: [
        { frame: syn(1, source), expect: wouldDrop(pass('PASS_NEW_CONNECTION', 1)) },
        { frame: from(source, tcp({ flags: 'A' })), expect: wouldDrop(pass('PASS_OTHER', 1)) },
        { frame: from(source, tcp({ flags: 'A' }), { destination: pod }), expect: pass('PASS_OTHER', 1) },
        { frame: from(source, udp(), { destination: pod }), expect: { ...pass('PASS_OTHER', 1), also: [] } },
        { frame: syn(1, source, { destination: pod }), expect: wouldDrop(pass('PASS_NOT_OWN_ADDRESS', 1)) },
      ],
    },
    {
      name: `${family}: a spared entry is as no entry`,
      tables: [listed(source, { spared: true })],
      steps: [
        ...each([syn(1, source), syn(2, source)], { ...pass('PASS_NEW_CONNECTION', 1), also: [] }),
        { frame: syn(3, source), expect: drop('DROP_SCAN_DETECTED', 1) },
      ],
    },
  ] satisfies Case[];
});

const nested: Case[] = [
  {
    name: 'of nested entries the longest decides: spared, dropped, monitored, dropped',
    tables: [
      listed('198.0.0.0/8', { owner: OTHER_LIST }),
      listed('198.51.0.0/16', { enforce: false }),
      listed('198.51.100.0/24'),
      listed('198.51.100.7', { spared: true }),
    ],
    steps: [
      { frame: from('198.50.1.1', udp()), expect: drop('DROP_LIST', OTHER_LIST) },
      { frame: from('198.51.1.1', udp()), expect: wouldDrop(pass('PASS_OTHER', 1)) },
      { frame: from('198.51.100.6', udp()), expect: drop('DROP_LIST', LIST) },
      { frame: from('198.51.100.7', udp()), expect: pass('PASS_OTHER', 1) },
      { frame: from('199.0.0.0', udp()), expect: pass('PASS_OTHER', 1) },
      { frame: from('197.255.255.255', udp()), expect: pass('PASS_OTHER', 1) },
    ],
  },
  {
    name: 'of nested IPv6 entries the longest decides',
    tables: [
      listed('2001:db8::/32', { owner: OTHER_LIST }),
      listed('2001:db8:bad::/48', { spared: true }),
      listed('2001:db8:bad::7'),
    ],
    steps: [
      { frame: from('2001:db8:1::1', udp()), expect: drop('DROP_LIST', OTHER_LIST) },
      { frame: from('2001:db8:bad::6', udp()), expect: pass('PASS_OTHER', 1) },
      { frame: from('2001:db8:bad::7', udp()), expect: drop('DROP_LIST', LIST) },
      { frame: from('2001:db7:ffff::', udp()), expect: pass('PASS_OTHER', 1) },
      { frame: from('2001:db9::', udp()), expect: pass('PASS_OTHER', 1) },
    ],
  },
  {
    name: 'both ends of a listed prefix are in it, their neighbours are not',
    tables: [listed('203.0.113.64/26'), listed('2001:db8:7:40::/58')],
    steps: [
      ...each(
        ['203.0.113.64', '203.0.113.127', '2001:db8:7:40::', '2001:db8:7:7f:ffff:ffff:ffff:ffff'].map((source) =>
          from(source, udp()),
        ),
        drop('DROP_LIST', LIST),
      ),
      ...each(
        ['203.0.113.63', '203.0.113.128', '2001:db8:7:3f:ffff:ffff:ffff:ffff', '2001:db8:7:80::'].map((source) =>
          from(source, udp()),
        ),
        pass('PASS_OTHER'),
      ),
    ],
  },
  {
    name: 'an IPv4 list does not hold for IPv6 and the reverse',
    tables: [listed('0.0.0.0/0')],
    steps: [
      { frame: from(STRANGER6, udp()), expect: pass('PASS_OTHER') },
      { frame: from(STRANGER4, udp()), expect: drop('DROP_LIST') },
      { change: listed('0.0.0.0/0', null) },
      { change: listed('::/0') },
      { frame: from(STRANGER6, udp()), expect: drop('DROP_LIST') },
      { frame: from(STRANGER4, udp()), expect: pass('PASS_OTHER') },
    ],
  },
  {
    name: 'an entry holds from the moment it is listed to the moment it is taken off',
    steps: [
      { frame: from(STRANGER4, udp()), expect: pass('PASS_OTHER') },
      { change: listed(STRANGER4) },
      { frame: from(STRANGER4, udp()), expect: drop('DROP_LIST') },
      { change: listed(STRANGER4, null) },
      { frame: from(STRANGER4, udp()), expect: pass('PASS_OTHER') },
    ],
  },
];

const manual: Case[] = FAMILIES.flatMap(([family, source]) => [
  {
    name: `${family}: a manual block drops all traffic until its last tick`,
    tables: [manuallyBlocked(source, LATER)],
    steps: [
      ...each(everything(source), drop('DROP_MANUAL', 0)),
      { frame: from(source, udp()), atTick: LATER - 1, expect: drop('DROP_MANUAL', 0) },
      { frame: from(source, udp()), atTick: LATER, expect: pass('PASS_OTHER', 1) },
      { frame: syn(1, source), expect: pass('PASS_NEW_CONNECTION', 1) },
    ],
  },
  {
    name: `${family}: a manual block holds in Monitor and where no policy governs`,
    instances: [{ enforce: false }, { enforce: false, detect: false, policy: 0 }],
    tables: [manuallyBlocked(source, LATER)],
    steps: [
      { frame: syn(1, source), expect: drop('DROP_MANUAL', 0) },
      { frame: syn(1, source), instance: 1, expect: drop('DROP_MANUAL', 0) },
    ],
  },
  {
    name: `${family}: an expired longer manual block hides the wider one, as its writer meant`,
    tables: [
      manuallyBlocked(source, START),
      manuallyBlocked(family === 'IPv4' ? '198.51.100.0/24' : '2001:db8:bad::/64', LATER),
    ],
    steps: [
      { frame: from(source, udp()), expect: pass('PASS_OTHER') },
      {
        frame: from(family === 'IPv4' ? '198.51.100.8' : '2001:db8:bad::8', udp()),
        expect: drop('DROP_MANUAL', 0),
      },
    ],
  },
]);

const allow: Case[] = FAMILIES.flatMap(([family, source]) => [
  {
    name: `${family}: an allowed source is not detected until its entry ends`,
    config: { threshold: 2 },
    tables: [allowed(source, LATER)],
    steps: [
      ...each(
        ports(30).map((port) => syn(port, source)),
        pass('PASS_ALLOWED', 1),
      ),
      ...each([from(source, udp()), from(source, tcp({ flags: 'FPU' }))], pass('PASS_ALLOWED', 1)),
      { frame: syn(1, source), atTick: LATER - 1, expect: pass('PASS_ALLOWED', 1) },
      { frame: syn(1, source), atTick: LATER, expect: pass('PASS_NEW_CONNECTION', 1) },
      { frame: syn(2, source), expect: drop('DROP_SCAN_DETECTED', 1) },
    ],
  },
  {
    name: `${family}: an allow entry spares a source from its scan block`,
    config: { threshold: 1 },
    steps: [
      { frame: syn(1, source), expect: drop('DROP_SCAN_DETECTED') },
      { frame: syn(2, source), expect: drop('DROP_SCAN_BLOCKED') },
      { change: allowed(source, LATER) },
      { frame: syn(3, source), expect: pass('PASS_ALLOWED') },
      { frame: syn(3, source), atTick: LATER, expect: drop('DROP_SCAN_BLOCKED') },
    ],
  },
  {
    name: `${family}: an allow entry of another slot does not hold on this interface`,
    instances: [{ setSlot: 0 }, { setSlot: 1 }],
    tables: [allowed(source, LATER, 1)],
    steps: [
      { frame: syn(1, source), expect: pass('PASS_NEW_CONNECTION') },
      { frame: syn(1, source), instance: 1, expect: pass('PASS_ALLOWED') },
    ],
  },
]);

const order: Case[] = [
  {
    name: 'an allow entry does not weaken a list or a manual block',
    tables: [allowed('198.51.100.0/24', LATER), listed('198.51.100.7'), manuallyBlocked('198.51.100.8', LATER)],
    steps: [
      { frame: syn(1, '198.51.100.7'), expect: drop('DROP_LIST', LIST) },
      { frame: syn(1, '198.51.100.8'), expect: drop('DROP_MANUAL', 0) },
      { frame: syn(1, '198.51.100.9'), expect: pass('PASS_ALLOWED', 1) },
    ],
  },
  {
    name: 'a list comes before a manual block, a manual block before a scan block',
    config: { threshold: 1 },
    tables: [],
    steps: [
      { frame: syn(1), expect: drop('DROP_SCAN_DETECTED') },
      { frame: syn(1), expect: drop('DROP_SCAN_BLOCKED', 1) },
      { change: manuallyBlocked(STRANGER4, LATER) },
      { frame: syn(1), expect: drop('DROP_MANUAL', 0) },
      { change: listed(STRANGER4) },
      { frame: syn(1), expect: drop('DROP_LIST', LIST) },
    ],
  },
  {
    name: 'a Monitor list does not keep a manual block or an allow entry from deciding',
    tables: [
      listed('198.51.100.0/24', { enforce: false }),
      manuallyBlocked('198.51.100.8', LATER),
      allowed('198.51.100.9', LATER),
    ],
    steps: [
      { frame: syn(1, '198.51.100.8'), expect: wouldDrop(drop('DROP_MANUAL', 0)) },
      { frame: syn(1, '198.51.100.9'), expect: wouldDrop(pass('PASS_ALLOWED', 1)) },
    ],
  },
  {
    name: 'a spared list entry does not spare from a manual block or a scan block',
    config: { threshold: 1 },
    tables: [listed('198.51.100.7', { spared: true })],
    steps: [
      { frame: syn(1), expect: drop('DROP_SCAN_DETECTED') },
      { frame: syn(1), expect: drop('DROP_SCAN_BLOCKED') },
      { change: manuallyBlocked(STRANGER4, LATER) },
      { frame: syn(1), expect: drop('DROP_MANUAL') },
    ],
  },
  {
    name: 'what a NewConnections list decides about what is forwarded is not detected',
    config: { threshold: 1, allDestinations: true },
    tables: [listed(STRANGER4, { allTraffic: false })],
    steps: [
      { frame: from(STRANGER4, tcp({ flags: 'A' }), { destination: POD4 }), expect: pass('PASS_FORWARDED', LIST) },
      { frame: from(STRANGER4, tcp({ flags: 'F' }), { destination: POD4 }), expect: drop('DROP_LIST', LIST) },
      { frame: syn(1, STRANGER4, { destination: POD4 }), expect: drop('DROP_LIST', LIST) },
    ],
  },
  {
    name: 'the never-block set comes before lists and manual blocks',
    tables: [listed(GATEWAY4), manuallyBlocked(GATEWAY4, LATER), listed('0.0.0.0/0')],
    steps: each([from(GATEWAY4, udp()), from(GATEWAY4, tcp({ flags: 'A' }))], pass('PASS_NEVER_BLOCK', 1)),
  },
  {
    name: 'malformed packets and what is not IP pass whatever is listed',
    tables: [listed('0.0.0.0/0'), listed('::/0')],
    steps: each(
      [syn(1, STRANGER4, { totalLength: 1500 }), syn(1, STRANGER6, { payloadLength: 1500 })],
      pass('PASS_MALFORMED', 0),
    ),
  },
];

export const cases: Case[] = [...lists, ...nested, ...manual, ...allow, ...order];
