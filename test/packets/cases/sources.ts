/** Sources over the whole of both address spaces, and how they are aggregated. */
import { tcp } from '../../support/packets.ts';
import { type Case, drop, each, from, NODE6_LINK_LOCAL, pass, ports, scanIsBlocked, syn } from './case.ts';

const IPV4 = [
  '1.0.0.1',
  '1.1.1.255',
  '8.8.8.0',
  '10.255.255.127',
  '100.64.0.128',
  '126.255.255.254',
  '128.0.0.1',
  '169.254.1.1',
  '172.16.0.0',
  '191.255.255.254',
  '192.168.0.127',
  '192.168.0.128',
  '192.0.2.99',
  '198.51.100.254',
  '198.51.100.255',
  '203.0.113.0',
  '223.255.255.254',
  '240.0.0.1',
  '255.255.255.254',
  '0.0.0.1',
];

const IPV6 = [
  '2001:db8::',
  '2001:db8:1::1',
  '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff',
  '2606:4700::1111',
  '2a00:8000::8000',
  'fd00::1',
  'fc00:1:2:3:4:5:6:7',
  '::2',
  '::1:2:3:4',
  '64:ff9b::198.51.100.7',
  '::8000:0:0:0',
  '8000::',
  'fe7f:ffff::1',
  'fec0::1',
  'feff::ff',
];

const ON_LINK = ['2001:db8:0:1::77', '2001:db8:0:1:ffff:ffff:ffff:ffff', 'fe80::77', 'febf:ffff::77', 'fe80:1::77'];

const everywhere: Case[] = [...IPV4, ...IPV6, ...ON_LINK].map((source) => ({
  name: `a scan from ${source} is blocked at the third target`,
  steps: scanIsBlocked(
    ports(3).map((port) => syn(port, source)),
    'PASS_NEW_CONNECTION',
  ),
}));

/** Two hosts, one target each; whether they are one source shows at the second with N = 2. */
function pair(name: string, prefixLength: number, hosts: [string, string], blocked: string | undefined): Case {
  const [first, second] = hosts;
  return {
    name,
    config: { threshold: 2, ipv6PrefixLength: prefixLength },
    steps: blocked
      ? [
          { frame: syn(1, first), expect: pass('PASS_NEW_CONNECTION') },
          { frame: syn(2, second), expect: { ...drop('DROP_SCAN_DETECTED'), block: { source: blocked } } },
          ...each([syn(3, first), syn(3, second)], drop('DROP_SCAN_BLOCKED')),
        ]
      : each([syn(1, first), syn(2, second)], pass('PASS_NEW_CONNECTION')),
  };
}

const aggregation: Case[] = [
  pair('hosts of one /64 are one source', 64, ['2001:db8:5:5::1', '2001:db8:5:5:ffff::'], '2001:db8:5:5::/64'),
  pair('hosts of neighbouring /64s are two sources', 64, ['2001:db8:5:5::1', '2001:db8:5:6::1'], undefined),
  pair('hosts of one /56 are one source at /56', 56, ['2001:db8:5:500::1', '2001:db8:5:5ff::1'], '2001:db8:5:500::/56'),
  pair('hosts of neighbouring /56s are two sources', 56, ['2001:db8:5:5ff::1', '2001:db8:5:600::1'], undefined),
  pair('hosts of one /48 are one source at /48', 48, ['2001:db8:5::1', '2001:db8:5:ffff::1'], '2001:db8:5::/48'),
  pair('hosts of neighbouring /48s are two sources', 48, ['2001:db8:5:ffff::', '2001:db8:6::'], undefined),
  pair('hosts of one /65 are one source at /65', 65, ['2001:db8:5:5::1', '2001:db8:5:5:7fff::'], '2001:db8:5:5::/65'),
  pair('halves of a /64 are two sources at /65', 65, ['2001:db8:5:5::1', '2001:db8:5:5:8000::1'], undefined),
  pair('at /127 two neighbours are one source', 127, ['2001:db8:5:5::4', '2001:db8:5:5::5'], '2001:db8:5:5::4/127'),
  pair('at /128 every address is a source', 128, ['2001:db8:5:5::4', '2001:db8:5:5::5'], undefined),
  pair('on-link hosts of one /64 are two sources', 64, ['2001:db8:0:1::7', '2001:db8:0:1::8'], undefined),
  pair('link-local hosts are two sources', 64, ['fe80::7', 'fe80::8'], undefined),
  pair('link-local hosts are two sources at /48 too', 48, ['fe80::7', 'fe80::8'], undefined),
  pair('link-local reaches to febf::', 64, ['febf:ffff::7', 'febf:ffff::8'], undefined),
  pair('fec0::/10 is not link-local', 64, ['fec0::7', 'fec0::8'], 'fec0::/64'),
  pair('IPv4 neighbours are two sources whatever the IPv6 length', 48, ['198.51.100.6', '198.51.100.7'], undefined),
  pair(
    'an IPv4 source and its mapped look-alike prefix are two sources',
    64,
    ['198.51.100.7', '::c633:6407'],
    undefined,
  ),
];

const neighbours: Case[] = [
  {
    name: 'a block of an on-link scanner leaves its neighbours on the link alone',
    config: { threshold: 1 },
    steps: [
      {
        frame: syn(1, '2001:db8:0:1::66'),
        expect: { ...drop('DROP_SCAN_DETECTED'), block: { source: '2001:db8:0:1::66/128' } },
      },
      { frame: from('2001:db8:0:1::67', tcp({ flags: 'A' })), expect: pass('PASS_OTHER') },
      { frame: syn(2, '2001:db8:0:1::66'), expect: drop('DROP_SCAN_BLOCKED') },
    ],
  },
  {
    name: 'a block of a link-local scanner leaves its neighbours on the link alone',
    config: { threshold: 1 },
    steps: [
      {
        frame: syn(1, 'fe80::66', { destination: NODE6_LINK_LOCAL }),
        expect: { ...drop('DROP_SCAN_DETECTED'), block: { source: 'fe80::66/128' } },
      },
      {
        frame: from('fe80::67', tcp({ flags: 'A' }), { destination: NODE6_LINK_LOCAL }),
        expect: pass('PASS_OTHER'),
      },
      { frame: syn(2, 'fe80::66', { destination: NODE6_LINK_LOCAL }), expect: drop('DROP_SCAN_BLOCKED') },
    ],
  },
  {
    name: 'a block of an IPv4 scanner leaves its neighbours alone',
    config: { threshold: 1 },
    steps: [
      {
        frame: syn(1, '198.51.100.128'),
        expect: { ...drop('DROP_SCAN_DETECTED'), block: { source: '198.51.100.128/32' } },
      },
      ...each(
        ['198.51.100.0', '198.51.100.127', '198.51.100.129', '198.51.101.128'].map((source) =>
          from(source, tcp({ flags: 'A' })),
        ),
        pass('PASS_OTHER'),
      ),
      { frame: syn(2, '198.51.100.128'), expect: drop('DROP_SCAN_BLOCKED') },
    ],
  },
];

export const cases: Case[] = [...everywhere, ...aggregation, ...neighbours];
