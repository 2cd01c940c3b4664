import { expect, test } from 'vitest';
import type { BlockEvent, BlockRecord } from '../datapath/view.ts';
import { type ScanLogLine, ScanRecorder } from './scans.ts';

const start = Date.UTC(2030, 0, 1, 12);
const minute = 60_000;

function event(overrides: Partial<BlockEvent> = {}): BlockEvent {
  return {
    kind: 'block',
    policy: 'web',
    atMs: start,
    untilMs: start + minute,
    source: '2001:db8:0:1::77',
    blocked: '2001:db8:0:1::/64',
    state: 'blocked',
    proven: false,
    probes: 15,
    ports: [443, 80, 22],
    lastTarget: '2001:db8::1',
    interfaceName: 'eth0',
    ...overrides,
  };
}

function block(overrides: Partial<BlockRecord> = {}): BlockRecord {
  return {
    source: '2001:db8:0:1::/64',
    by: { kind: 'PortScanPolicy', name: 'web' },
    state: 'blocked',
    proven: false,
    probes: 15,
    ports: [443, 80],
    interfaceName: 'eth0',
    sinceMs: start,
    untilMs: start + minute,
    packetsDropped: 1,
    ...overrides,
  };
}

function recorder(options: { maxRecords?: number; linesPerSecond?: number; startedAtMs?: number } = {}) {
  const lines: ScanLogLine[] = [];
  const scans = new ScanRecorder((line) => lines.push(line), { startedAtMs: start - minute, ...options });
  return { scans, lines };
}

test('a block event is one record at once, with every port seen', () => {
  const { scans, lines } = recorder();
  scans.onEvent(event(), start);
  expect(lines).toEqual([
    {
      event: 'scan',
      policy: 'web',
      source: '2001:db8:0:1::77',
      blocked: '2001:db8:0:1::/64',
      state: 'blocked',
      proven: false,
      probes: 15,
      ports: [443, 80, 22],
      lastTarget: '2001:db8::1',
      interface: 'eth0',
      at: '2030-01-01T12:00:00.000Z',
      until: '2030-01-01T12:01:00.000Z',
    },
  ]);
});

test('further events of the same source and policy while it is blocked are no record', () => {
  const { scans, lines } = recorder();
  for (let i = 0; i < 83; i++) scans.onEvent(event({ atMs: start + i * 10 }), start + i * 10);
  expect(lines).toHaveLength(1);
});

test('the same source under another policy, and another source, are records of their own', () => {
  const { scans, lines } = recorder();
  scans.onEvent(event(), start);
  scans.onEvent(event({ policy: 'db' }), start);
  scans.onEvent(event({ blocked: '2001:db8:0:2::/64' }), start);
  expect(lines).toHaveLength(3);
});

test('the end of a block is one record with the packets dropped and the end that proof moved', () => {
  const { scans, lines } = recorder();
  scans.onEvent(event(), start);
  scans.onBlocks([block({ packetsDropped: 40, proven: true, untilMs: start + 10 * minute })], start + 30_000);
  scans.onBlocks([block({ packetsDropped: 985, proven: true, untilMs: start + 10 * minute })], start + 5 * minute);
  expect(lines).toHaveLength(1);
  scans.onBlocks([], start + 10 * minute + 500);
  scans.onBlocks([], start + 11 * minute);
  expect(lines.slice(1)).toEqual([
    {
      event: 'scan-ended',
      policy: 'web',
      blocked: '2001:db8:0:1::/64',
      state: 'blocked',
      proven: true,
      probes: 15,
      packetsDropped: 985,
      since: '2030-01-01T12:00:00.000Z',
      ended: '2030-01-01T12:10:00.000Z',
      cause: 'expired',
    },
  ]);
  expect(scans.size).toBe(0);
});

test('an expired entry that still stands in the table ends its record with its last count', () => {
  const { scans, lines } = recorder();
  scans.onEvent(event(), start);
  const expired = block({ packetsDropped: 7 });
  scans.onBlocks([expired], start + minute);
  scans.onBlocks([expired], start + minute + 1000);
  expect(lines.slice(1)).toMatchObject([{ event: 'scan-ended', packetsDropped: 7, cause: 'expired' }]);
});

test('a block that is gone before its time was lifted', () => {
  const { scans, lines } = recorder();
  scans.onEvent(event(), start);
  scans.onBlocks([block()], start + 1000);
  scans.onBlocks([], start + 5000);
  expect(lines[1]).toMatchObject({ event: 'scan-ended', cause: 'lifted', ended: '2030-01-01T12:00:05.000Z' });
});

test('a reading of the table that is older than the event does not end the record', () => {
  const { scans, lines } = recorder();
  scans.onEvent(event(), start);
  scans.onBlocks([], start + 1);
  scans.onBlocks([block()], start + 1000);
  expect(lines).toHaveLength(1);
});

test('a scan after the end of the last block is a new record', () => {
  const { scans, lines } = recorder();
  scans.onEvent(event(), start);
  scans.onEvent(event({ atMs: start + 2 * minute, untilMs: start + 3 * minute }), start + 2 * minute);
  expect(lines.map((line) => line.event)).toEqual(['scan', 'scan-ended', 'scan']);
});

test('a source that was unblocked by hand and scans again before the table is read is a new record', () => {
  const { scans, lines } = recorder();
  scans.onEvent(event(), start);
  scans.onBlocks([block({ packetsDropped: 100 })], start + 1000);
  scans.onEvent(event({ atMs: start + 5000, untilMs: start + 5000 + minute, ports: [8080] }), start + 5000);
  scans.onBlocks([block({ sinceMs: start + 5001, untilMs: start + 5001 + minute, packetsDropped: 500 })], start + 6000);
  expect(lines.slice(1)).toMatchObject([
    { event: 'scan-ended', cause: 'lifted', packetsDropped: 100 },
    { event: 'scan', ports: [8080] },
  ]);
  expect(lines).toHaveLength(3);
});

test('a step of the wall clock ends nothing and begins nothing', () => {
  const { scans, lines } = recorder();
  scans.onEvent(event({ untilMs: start + 10 * minute }), start);
  scans.onBlocks([block({ untilMs: start + 10 * minute, packetsDropped: 5 })], start + 1000);
  for (const hours of [1, -3]) {
    const step = hours * 60 * minute;
    const moved = block({ sinceMs: start + step, untilMs: start + 10 * minute + step, packetsDropped: 9 });
    scans.onBlocks([moved], start + step + 2000);
  }
  expect(lines).toHaveLength(1);
});

test('a block whose event was lost is recorded when the table is read, once, from what the table knows', () => {
  const { scans, lines } = recorder();
  scans.onBlocks([block()], start + 500);
  expect(lines).toEqual([]);
  for (const second of [3, 4, 5]) scans.onBlocks([block({ packetsDropped: second })], start + second * 1000);
  expect(lines).toMatchObject([{ event: 'scan', source: '2001:db8:0:1::/64', ports: [443, 80], probes: 15 }]);
  scans.onEvent(event(), start + 5500);
  expect(lines).toHaveLength(1);
});

test('a block of the agent before is taken over without a record, and its end is told', () => {
  const { scans, lines } = recorder({ startedAtMs: start + 10_000 });
  scans.onBlocks([block({ packetsDropped: 12 })], start + 15_000);
  expect(lines).toEqual([]);
  scans.onBlocks([], start + minute);
  expect(lines).toMatchObject([{ event: 'scan-ended', packetsDropped: 12, cause: 'expired' }]);
});

test('a block by hand is no scan', () => {
  const { scans, lines } = recorder();
  scans.onBlocks([block({ by: { kind: 'Manual', name: 'manual' } })], start + 5000);
  expect(lines).toEqual([]);
  expect(scans.size).toBe(0);
});

test('memory is bounded, what is forgotten is counted, and it is not recorded a second time', () => {
  const { scans, lines } = recorder({ maxRecords: 2 });
  const sources = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];
  for (const [i, source] of sources.entries()) {
    scans.onEvent(event({ source, blocked: source, atMs: start + i }), start + i);
  }
  expect(scans.size).toBe(2);
  expect(scans.evictions).toBe(1);
  const table = sources.map((source, i) => block({ source, sinceMs: start + i }));
  for (let second = 1; second < 30; second++) scans.onBlocks(table, start + second * 1000);
  expect(lines.filter((line) => line.event === 'scan')).toHaveLength(3);
  expect(scans.evictions).toBe(1);
});

test('a flood of scans is summarized beyond the budget of lines', () => {
  const { scans, lines } = recorder({ linesPerSecond: 10 });
  for (let i = 0; i < 500; i++) scans.onEvent(event({ blocked: `10.0.${i >> 8}.${i & 255}` }), start + 1);
  scans.onBlocks([], start + 1000);
  expect(lines).toHaveLength(11);
  expect(lines.at(-1)).toEqual({
    event: 'scans-summarized',
    from: '2030-01-01T12:00:00.000Z',
    lines: 490,
    byPolicy: { web: 490 },
  });
});
