import { expect, test } from 'vitest';
import type { BlockRecord } from '../datapath/view.ts';
import { formatBlocked } from './format-blocked.ts';

const nowMs = Date.UTC(2030, 0, 1, 12);

const scan: BlockRecord = {
  source: '198.51.100.200',
  by: { kind: 'PortScanPolicy', name: 'web' },
  state: 'blocked',
  proven: true,
  probes: 15,
  ports: [8080, 443, 80, 25, 22, 21, 3306, 110, 143, 993, 80],
  interfaceName: 'eth0',
  sinceMs: nowMs - 8000,
  untilMs: nowMs + 592_000,
  packetsDropped: 12_985,
};

const manual: BlockRecord = {
  source: '2001:db8:bad::/48',
  by: { kind: 'Manual', name: 'manual' },
  state: 'blocked',
  proven: false,
  probes: 0,
  ports: [],
  sinceMs: nowMs - 90_000_000,
  untilMs: nowMs + 3_600_000,
  packetsDropped: 0,
  reason: 'stuffing\x1b[31m',
};

test('shows blocks in aligned columns, the newest first', () => {
  expect(formatBlocked([manual, scan], { nowMs, output: 'table' })).toBe(
    [
      'SOURCE             POLICY    PROVEN  PROBES  PORTS                            SINCE     UNTIL     DROPPED',
      '198.51.100.200     web       yes         15  8080,443,80,25,22,21,3306,110+2  8s ago    in 9m52s   12,985',
      '2001:db8:bad::/48  (manual)  -            -  -                                1d1h ago  in 1h           0',
      '',
    ].join('\n'),
  );
});

test('wide adds interface, state and reason, with nothing that a terminal would act upon', () => {
  const lines = formatBlocked([manual, scan], { nowMs, output: 'wide' }).split('\n');
  expect(lines[0]).toMatch(/DROPPED +INTERFACE +STATE +REASON$/);
  expect(lines[1]).toMatch(/12,985 +eth0 +blocked +-$/);
  expect(lines[2]).toMatch(/ +- +blocked +stuffing\\u\{1b\}\[31m$/);
});

test('a record that drops nothing says so in every form', () => {
  const records: BlockRecord[] = [
    scan,
    { ...scan, source: '192.0.2.1', state: 'would-block' },
    { ...scan, source: '192.0.2.2', state: 'spared' },
  ];
  const lines = formatBlocked(records, { nowMs, output: 'table' }).split('\n');
  expect(lines[0]).toMatch(/^SOURCE +POLICY +STATE +PROVEN/);
  expect(lines.find((line) => line.startsWith('192.0.2.1'))).toContain('would-block');
  expect(lines.find((line) => line.startsWith('192.0.2.2'))).toContain('spared');
});

test('JSON has every field, all ports and exact times', () => {
  expect(JSON.parse(formatBlocked([scan, manual], { nowMs, output: 'json' }))).toEqual([
    {
      source: '198.51.100.200',
      kind: 'PortScanPolicy',
      policy: 'web',
      state: 'blocked',
      proven: true,
      probes: 15,
      ports: scan.ports,
      interface: 'eth0',
      since: '2030-01-01T11:59:52.000Z',
      until: '2030-01-01T12:09:52.000Z',
      packetsDropped: 12_985,
      reason: null,
    },
    {
      source: '2001:db8:bad::/48',
      kind: 'Manual',
      policy: null,
      state: 'blocked',
      proven: null,
      probes: null,
      ports: [],
      interface: null,
      since: '2029-12-31T11:00:00.000Z',
      until: '2030-01-01T13:00:00.000Z',
      packetsDropped: 0,
      reason: 'stuffing\x1b[31m',
    },
  ]);
});

test('what has expired is not shown', () => {
  const expired = { ...scan, untilMs: nowMs };
  expect(formatBlocked([expired], { nowMs, output: 'table' })).toBe('No source is blocked.\n');
  expect(formatBlocked([expired], { nowMs, output: 'json' })).toBe('[]\n');
});
