/** Distinct targets in a sliding window: what counts, for how long, and what starts again. */
import { tcp } from '../../support/packets.ts';
import {
  type Case,
  drop,
  each,
  from,
  NODE4_SECOND,
  NODE6,
  NODE6_SECOND,
  pass,
  ports,
  START,
  STRANGER4,
  STRANGER6,
  scanIsBlocked,
  syn,
  unblocked,
} from './case.ts';

const WINDOW = 6_000;
const NEW = pass('PASS_NEW_CONNECTION');
const DETECTED = drop('DROP_SCAN_DETECTED');
const BLOCKED = drop('DROP_SCAN_BLOCKED');

const thresholds: Case[] = [STRANGER4, STRANGER6].flatMap((source) =>
  [1, 2, 3, 15, 16, 17, 63, 64].map((threshold) => ({
    name: `with N = ${threshold} exactly ${threshold - 1} targets of ${source} are reached`,
    config: { threshold },
    steps: [
      ...each(
        ports(threshold - 1).map((port) => syn(port, source)),
        NEW,
      ),
      {
        frame: syn(threshold, source),
        // The record keeps 16 ports, the event all.
        expect: { ...DETECTED, block: { ports: ports(threshold).reverse() } },
      },
      ...each(
        ports(20, threshold).map((port) => syn(port, source)),
        BLOCKED,
      ),
    ],
  })),
);

const repeats: Case[] = [
  {
    name: 'repeats of a target never count, whatever kind of probe they are',
    config: { threshold: 2 },
    steps: [
      { frame: syn(80), repeat: 200, expect: NEW },
      { frame: from(STRANGER4, tcp({ flags: 'F', destinationPort: 80 })), repeat: 50, expect: pass('PASS_PROBE') },
      { frame: from(STRANGER4, tcp({ flags: 'S', destinationPort: 80, sourcePort: 9 })), repeat: 50, expect: NEW },
    ],
  },
  {
    name: 'an honest client of two ports is never touched with N = 3',
    steps: ports(100).flatMap((round) => [
      { frame: syn(80), atTick: START + round * 7, expect: NEW },
      { frame: syn(443), expect: NEW },
    ]),
  },
  {
    name: 'one port on several addresses is as many targets',
    steps: [
      ...each([syn(22, STRANGER6), syn(22, STRANGER6, { destination: NODE6_SECOND })], NEW),
      { frame: syn(22, STRANGER6, { destination: 'fe80::1' }), expect: DETECTED },
    ],
  },
  {
    name: 'one port on two IPv4 addresses is two targets',
    config: { threshold: 2 },
    steps: [
      { frame: syn(22), expect: NEW },
      { frame: syn(22, STRANGER4, { destination: NODE4_SECOND }), expect: DETECTED },
    ],
  },
  {
    name: 'the source port makes no difference',
    steps: each(
      ports(50, 1000).map((sourcePort) => from(STRANGER4, tcp({ flags: 'S', sourcePort }))),
      NEW,
    ),
  },
  {
    name: 'a scan from a fixed source port that firewalls trust is detected like any other',
    steps: [20, 53, 80].flatMap((sourcePort, index) => {
      const source = `198.51.100.${index + 1}`;
      const scan = ports(3).map((destinationPort) => from(source, tcp({ flags: 'S', sourcePort, destinationPort })));
      return scanIsBlocked(scan, 'PASS_NEW_CONNECTION');
    }),
  },
  {
    name: 'port 0 and port 65535 are targets like any other',
    steps: [...each([syn(0), syn(65_535)], NEW), { frame: syn(32_768), expect: DETECTED }],
  },
  {
    name: 'ports that differ in one byte only are distinct',
    steps: [...each([syn(0x0100), syn(0x0001)], NEW), { frame: syn(0x0101), expect: DETECTED }],
  },
];

const sliding: Case[] = [
  {
    name: 'a target counts until the last tick of the window',
    config: { threshold: 2 },
    steps: [
      { frame: syn(1), expect: NEW },
      { frame: syn(2), atTick: START + WINDOW - 1, expect: DETECTED },
    ],
  },
  {
    name: 'a target no longer counts exactly one window later',
    config: { threshold: 2 },
    steps: [
      { frame: syn(1), expect: NEW },
      { frame: syn(2), atTick: START + WINDOW, expect: NEW },
      { frame: syn(3), atTick: START + 2 * WINDOW, expect: NEW },
      { frame: syn(4), atTick: START + 3 * WINDOW - 1, expect: DETECTED },
    ],
  },
  {
    name: 'the window slides: only targets of the last window count together',
    steps: [
      { frame: syn(1), expect: NEW },
      { frame: syn(2), atTick: START + 4_000, expect: NEW },
      { frame: syn(3), atTick: START + WINDOW, expect: NEW },
      { frame: syn(4), atTick: START + 9_999, expect: DETECTED },
    ],
  },
  {
    name: 'the window slides past the second target too',
    steps: [
      { frame: syn(1), expect: NEW },
      { frame: syn(2), atTick: START + 4_000, expect: NEW },
      { frame: syn(3), atTick: START + WINDOW, expect: NEW },
      { frame: syn(4), atTick: START + 10_000, expect: NEW },
      { frame: syn(5), atTick: START + 11_999, expect: DETECTED },
    ],
  },
  {
    name: 'a repeat refreshes its target',
    config: { threshold: 2 },
    steps: [
      { frame: syn(1), expect: NEW },
      { frame: syn(1), atTick: START + 5_000, expect: NEW },
      { frame: syn(2), atTick: START + 10_999, expect: DETECTED },
    ],
  },
  {
    name: 'a repeat refreshes only its own target',
    steps: [
      { frame: syn(1), expect: NEW },
      { frame: syn(2), expect: NEW },
      { frame: syn(2), atTick: START + 5_999, expect: NEW },
      { frame: syn(3), atTick: START + 6_000, expect: NEW },
      { frame: syn(4), expect: { ...DETECTED, block: { ports: [4, 3, 2] } } },
    ],
  },
  {
    name: 'a target that comes back after its window counts afresh',
    config: { threshold: 2 },
    steps: [
      { frame: syn(1), expect: NEW },
      { frame: syn(1), atTick: START + WINDOW, expect: NEW },
      { frame: syn(2), atTick: START + 2 * WINDOW - 1, expect: DETECTED },
    ],
  },
  {
    name: 'a target whose time ran out leaves room for others',
    config: { threshold: 4 },
    steps: [
      ...ports(12).map((port) => ({ frame: syn(port), atTick: START + port * 2_000, expect: NEW })),
      { frame: syn(100), expect: { ...DETECTED, block: { ports: [100, 12, 11, 10] } } },
    ],
  },
  {
    name: 'the record tells the newest ports first, by when each was seen last',
    config: { threshold: 4 },
    steps: [
      { frame: syn(1), expect: NEW },
      { frame: syn(2), atTick: START + 10, expect: NEW },
      { frame: syn(3), atTick: START + 20, expect: NEW },
      { frame: syn(1), atTick: START + 30, expect: NEW },
      { frame: syn(9), atTick: START + 40, expect: { ...DETECTED, block: { ports: [9, 1, 3, 2] } } },
    ],
  },
  {
    name: 'a threshold that is lowered is met by the next new target, not by a repeat',
    instances: [{ threshold: 4 }, { threshold: 2 }],
    steps: [
      ...each([syn(1), syn(2), syn(3)], NEW),
      { frame: syn(1), instance: 1, expect: NEW },
      { frame: syn(4), instance: 1, expect: DETECTED },
    ],
  },
  {
    name: 'sources are counted apart',
    steps: [
      ...each(
        ['198.51.100.1', '198.51.100.2', '199.51.100.1', '198.51.100.129'].flatMap((source) => [
          syn(1, source),
          syn(2, source),
        ]),
        NEW,
      ),
      { frame: syn(3, '198.51.100.129'), expect: DETECTED },
      { frame: syn(2, '198.51.100.1'), expect: NEW },
      { frame: syn(3, '198.51.100.1'), expect: DETECTED },
    ],
  },
];

const expiry: Case[] = [
  {
    name: 'a block holds until its last tick and ends at the next',
    config: { threshold: 2, unprovenTicks: 300 },
    steps: [
      { frame: syn(1), expect: NEW },
      { frame: syn(2), expect: { ...DETECTED, block: { until: START + 300 } } },
      { frame: syn(3), atTick: START + 299, expect: BLOCKED },
      { frame: syn(3), atTick: START + 300, expect: NEW },
    ],
  },
  {
    name: 'a source whose block has ended starts again at zero targets',
    config: { threshold: 3, unprovenTicks: 300 },
    steps: [
      ...each([syn(1), syn(2)], NEW),
      { frame: syn(3), expect: DETECTED },
      { frame: syn(4), atTick: START + 300, expect: NEW },
      { frame: syn(1), expect: NEW },
      { frame: syn(2), expect: DETECTED },
      { frame: syn(2), atTick: START + 599, expect: BLOCKED },
      { frame: syn(2), atTick: START + 600, expect: NEW },
    ],
  },
  {
    name: 'a blocked source that tries fewer than N targets does not lengthen its block',
    config: { threshold: 3, unprovenTicks: 300 },
    steps: [
      { frame: syn(1), expect: NEW },
      { frame: syn(2), expect: NEW },
      { frame: syn(3), expect: DETECTED },
      ...ports(29).map((round) => ({ frame: syn(round % 2), atTick: START + round * 10, expect: BLOCKED })),
      { frame: syn(1), atTick: START + 300, expect: NEW },
    ],
  },
  {
    name: 'a blocked source that goes on to N targets is blocked anew from then on',
    config: { threshold: 3, unprovenTicks: 300 },
    steps: [
      { frame: syn(1), expect: NEW },
      { frame: syn(2), expect: NEW },
      { frame: syn(3), expect: DETECTED },
      { frame: syn(4), atTick: START + 100, expect: BLOCKED },
      { frame: syn(5), atTick: START + 200, expect: BLOCKED },
      { frame: syn(6), atTick: START + 250, expect: BLOCKED },
      { frame: syn(7), atTick: START + 549, expect: BLOCKED },
      { frame: syn(8), atTick: START + 550, expect: NEW },
      { frame: syn(9), expect: NEW },
      { frame: syn(10), expect: DETECTED },
    ],
  },
  {
    name: 'a blocked source is looked at once a tick',
    config: { threshold: 3, unprovenTicks: 300 },
    steps: [
      { frame: syn(1), expect: NEW },
      { frame: syn(2), expect: NEW },
      { frame: syn(3), expect: DETECTED },
      ...ports(20).map((port) => ({ frame: syn(100 + port), atTick: START + 100, expect: BLOCKED })),
      { frame: syn(1), atTick: START + 300, expect: NEW },
    ],
  },
  {
    name: 'what a blocked source sends does not count towards its next block',
    config: { threshold: 2, unprovenTicks: 300 },
    steps: [
      { frame: syn(1), expect: NEW },
      { frame: syn(2), expect: DETECTED },
      ...ports(20).map((port) => ({ frame: syn(port), atTick: START + 290, expect: BLOCKED })),
      { frame: syn(50), atTick: START + 300, expect: NEW },
      { frame: syn(51), expect: DETECTED },
    ],
  },
  {
    name: 'an unblocked source starts again at zero targets',
    config: { threshold: 2 },
    steps: [
      { frame: syn(1), expect: NEW },
      { frame: syn(2), expect: DETECTED },
      { frame: syn(2), atTick: START + 10, expect: BLOCKED },
      { change: unblocked(STRANGER4) },
      { frame: syn(2), expect: NEW },
      { frame: syn(1), expect: DETECTED },
    ],
  },
  {
    name: 'an IPv6 prefix that was unblocked starts again at zero targets',
    config: { threshold: 2 },
    steps: [
      { frame: syn(1, STRANGER6), expect: NEW },
      { frame: syn(2, '2001:db8:bad::8', { destination: NODE6 }), expect: DETECTED },
      { change: unblocked('2001:db8:bad::/64'), atTick: START + 10 },
      { frame: syn(2, STRANGER6), expect: NEW },
      { frame: syn(1, STRANGER6), expect: DETECTED },
    ],
  },
];

export const cases: Case[] = [...thresholds, ...repeats, ...sliding, ...expiry];
