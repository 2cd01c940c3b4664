import { expect, test } from 'vitest';
import { parse } from 'yaml';
import type { NodeBlock } from '../blocks.ts';
import { formatBlocked } from './blocked.ts';

const nowMs = Date.UTC(2030, 0, 1, 12);
const block: NodeBlock = {
  node: 'node-1',
  source: '198.51.100.200',
  policy: 'web',
  state: 'Blocked',
  proven: true,
  interface: 'eth0',
  probes: 15,
  ports: [8080, 443, 80, 25, 22, 21, 3306, 110, 143, 993],
  startedAgoMs: 8000,
  endsInMs: 592_000,
  packetsDropped: 12_985,
};
const blocks = [
  { ...block, source: '2001:db8:bad::/64', ports: [], startedAgoMs: 90_000_000, packetsDropped: 1 },
  block,
  { ...block, node: 'node-2' },
  { ...block, node: 'node-3' },
];

test('a line for each source, the newest first', () => {
  expect(formatBlocked(blocks, 'table', nowMs)).toBe(
    [
      'SOURCE             POLICY  NODES                     PROBES  PORTS                            SINCE     UNTIL     DROPPED',
      '198.51.100.200     web     node-1,node-2 and 1 more      15  8080,443,80,25,22,21,3306,110+2  8s ago    in 9m52s   38,955',
      '2001:db8:bad::/64  web     node-1                        15  -                                1d1h ago  in 9m52s        1',
      '',
    ].join('\n'),
  );
});

test('wide: a line for each node, with state, interface and proof', () => {
  const lines = formatBlocked(blocks, 'wide', nowMs).split('\n');
  expect(lines[0]).toMatch(/^SOURCE +POLICY +STATE +NODES .* DROPPED +INTERFACE +PROVEN$/);
  expect(lines).toHaveLength(6);
  expect(lines[2]).toMatch(/^198\.51\.100\.200 +web +Blocked +node-\d .* 12,985 +eth0 +yes$/);
});

test('a record that drops nothing is told apart', () => {
  const text = formatBlocked([block, { ...block, source: '192.0.2.1', state: 'Spared' }], 'table', nowMs);
  expect(text).toMatch(/^SOURCE +POLICY +STATE/);
  expect(text).toMatch(/192\.0\.2\.1 +web +Spared/);
});

test('JSON and YAML have the same items, with exact times by the clock of the API server', () => {
  const items = JSON.parse(formatBlocked(blocks, 'json', nowMs));
  expect(items[0]).toEqual({
    source: '198.51.100.200',
    node: 'node-1',
    policy: 'web',
    state: 'Blocked',
    proven: true,
    interface: 'eth0',
    probes: 15,
    ports: block.ports,
    since: '2030-01-01T11:59:52Z',
    until: '2030-01-01T12:09:52Z',
    endsInSeconds: 592,
    packetsDropped: 12_985,
  });
  expect(parse(formatBlocked(blocks, 'yaml', nowMs))).toEqual(items);
});

test('nothing that a report says acts upon the terminal', () => {
  const hostile = { ...block, policy: 'a\x1b[31m\u202e', interface: '\x07' };
  for (const output of ['table', 'wide', 'json', 'yaml'] as const) {
    expect(formatBlocked([hostile], output, nowMs).replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  }
});

test('nobody blocked is said, and is an empty list for programs', () => {
  expect(formatBlocked([], 'table', nowMs)).toBe('No source is blocked.\n');
  expect(formatBlocked([], 'json', nowMs)).toBe('[]\n');
});
