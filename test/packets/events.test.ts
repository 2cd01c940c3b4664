/** The way of an event: the program writes it into the ring, the reader takes it out, in order and without loss. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { KernelClock, TickClock } from '../../agent/datapath/clock.ts';
import { readLosses } from '../../agent/datapath/counters.ts';
import { connectionEventStruct, eventKind } from '../../agent/datapath/layout.ts';
import { Owners } from '../../agent/datapath/owners.ts';
import { EventReader } from '../../agent/event-reader.ts';
import { RingBuffer } from '../../agent/libbpf/ring-buffer.ts';
import type { TestRun } from '../../agent/libbpf/test-run.ts';
import { ConnectionLog, type ConnectionLogLine } from '../../agent/telemetry/connections.ts';
import { ScanRecorder } from '../../agent/telemetry/scans.ts';
import { DEFAULT_CONFIG } from '../model/model.ts';
import { TestNet, waitFor } from '../support/namespaces.ts';
import { NODE4, own, START, STRANGER4, syn } from './cases/case.ts';
import { KernelNode, testSizes } from './kernel-node.ts';
import { nthSource, SynSender } from './syn-sender.ts';

const RING_BYTES = 4096;
const RECORD_BYTES = (connectionEventStruct.bytes + 8 + 7) & ~7;
/** Records that fit before the reader must come. */
const FIT = Math.floor((RING_BYTES - 1) / RECORD_BYTES);

let net: TestNet;
let node: KernelNode;
let ring: RingBuffer;
let run: TestRun;
beforeAll(async () => {
  net = await TestNet.create();
});
afterAll(async () => {
  await net?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  node = await KernelNode.create(net.pinPath(), { ...testSizes, domains: 4, ringBufferBytes: RING_BYTES });
  await node.apply(own(NODE4));
  node.tick = START;
  ring = new RingBuffer(node.tables.map('events'));
  run = await node.instance({ ...DEFAULT_CONFIG, threshold: 64, logConnections: true });
});
afterEach(async () => await node[Symbol.asyncDispose]());

/** Sources tell the records apart: one SYN each to the same target, so that nobody becomes a scanner. */
const sourceOf = (data: DataView, at: number) => data.getUint32(at + connectionEventStruct.source + 8, true);

describe('a ring of one page', () => {
  test('hands over every record once and in order while it wraps a thousand times', () => {
    const sender = new SynSender(run, NODE4);
    const seen: number[] = [];
    const total = 1_000 * FIT;
    for (let sent = 0; sent < total; ) {
      // Another number each time, so that records come to lie across the end of the ring everywhere.
      const some = 1 + (sent % FIT);
      for (let i = 0; i < some && sent < total; i++) sender.send(nthSource(sent++), 80);
      ring.drain((data, at, bytes) => {
        expect(bytes).toBe(connectionEventStruct.bytes);
        seen.push(sourceOf(data, at));
      });
    }
    expect(seen.length).toBe(total);
    expect(seen.every((source, i) => source === nthSource(i))).toBe(true);
    expect(readLosses(node.tables)['ring-full']).toBe(0);
  });

  test('that nobody reads loses the newest, counts them, and goes on when it is read again', () => {
    const sender = new SynSender(run, NODE4);
    for (let i = 0; i < FIT + 25; i++) expect(sender.send(nthSource(i), 80)).toBe(true);
    const seen: number[] = [];
    const take = () => ring.drain((data, at) => seen.push(sourceOf(data, at)));
    expect(take()).toBe(FIT);
    expect(readLosses(node.tables)['ring-full']).toBe(25);
    sender.send(nthSource(999), 80);
    expect(take()).toBe(1);
    expect(take()).toBe(0);
    expect(seen).toEqual([...Array.from({ length: FIT }, (_, i) => nthSource(i)), nthSource(999)]);
  });

  test('wakes its reader, which ends when it is told to and leaves nothing behind', async () => {
    const abort = new AbortController();
    const seen: number[] = [];
    const followed = ring.follow(abort.signal, (data, at) => seen.push(sourceOf(data, at)));
    const sender = new SynSender(run, NODE4);
    sender.send(nthSource(1), 80);
    await waitFor(() => seen.length === 1, 5_000, { what: 'the first record' });
    sender.send(nthSource(2), 80);
    abort.abort();
    await followed;
    expect(seen).toEqual([nthSource(1), nthSource(2)]);
  });

  test('can be told to end before it was ever waited for', async () => {
    await ring.follow(AbortSignal.abort(), () => {});
  });
});

test('a budget for each kind: connections beyond theirs are counted as lost, a block is told all the same', async () => {
  const limited = await KernelNode.create(net.pinPath(), { ...testSizes, domains: 4 });
  (limited.options as { connectionEventsPerSecond: number }).connectionEventsPerSecond = 5;
  await limited.apply(own(NODE4));
  limited.tick = START;
  const one = await limited.instance({ ...DEFAULT_CONFIG, threshold: 20, logConnections: true });
  for (let port = 1; port <= 20; port++) one.run(syn(port));
  expect(limited.events().map(({ kind }) => kind)).toEqual([
    ...new Array(5).fill(eventKind.EVENT_CONNECTION),
    eventKind.EVENT_BLOCK,
  ]);
  expect(readLosses(limited.tables)).toMatchObject({ 'connection-event-budget': 14, 'block-event-budget': 0 });
  // A second later the budget is there again.
  limited.tick = START + 100;
  one.run(syn(1, '203.0.113.9'));
  expect(limited.events()).toHaveLength(1);
  await limited[Symbol.asyncDispose]();
});

describe('the reader', () => {
  /** Tick START is 1,000,000 ms: the ticks of these events are the test's own, not the kernel's. */
  const clock: Pick<TickClock, 'toWallMs'> = { toWallMs: (tick) => 1_000_000 + (Number(tick) - START) * 10 };

  /** Reads what `send` brings about, and gives the lines that were logged. */
  async function read(linesPerSecond: number, send: (sender: SynSender) => Promise<void> | void) {
    const owners = new Owners(node.tables.map('owners'));
    owners.assign([{ kind: 'PortScanPolicy', name: 'web' }], 1);
    const lines: ConnectionLogLine[] = [];
    const scans: object[] = [];
    const connections = new ConnectionLog((line) => lines.push(line), linesPerSecond);
    const reader = new EventReader(
      { tables: node.tables, owners, clock: clock as KernelClock, options: node.options },
      {
        ...{ scans: new ScanRecorder((line) => scans.push(line), { startedAtMs: 0 }), connections },
        interfaceName: (ifindex) => (ifindex === 1 ? 'lo' : undefined),
      },
    );
    const abort = new AbortController();
    const running = reader.run(abort.signal);
    await send(new SynSender(run, NODE4));
    abort.abort();
    await running;
    connections.flush();
    return { lines, scans };
  }

  test('names policy, interface and wall clock time of a connection', async () => {
    const { lines } = await read(100, () => void run.run(syn(443)));
    expect(lines).toEqual([
      {
        ...{ event: 'connection', policy: 'web', source: STRANGER4, sourcePort: 40_000, target: NODE4 },
        ...{ targetPort: 443, interface: 'lo', reason: 'new-connection', at: new Date(1_000_000).toISOString() },
      },
    ]);
  });

  test('records a scan', async () => {
    const scanned = await node.instance({ ...DEFAULT_CONFIG, threshold: 3 });
    const { scans } = await read(100, () => {
      for (const port of [22, 80, 443]) scanned.run(syn(port));
    });
    // The Nth target's port first, the others in no order.
    const ports = [443, expect.any(Number), expect.any(Number)];
    expect(scans).toMatchObject([{ event: 'scan', policy: 'web', source: STRANGER4, ports }]);
    expect(new Set((scans as { ports: number[] }[])[0]!.ports)).toEqual(new Set([22, 80, 443]));
  });

  test('counts every connection of a flood, be it logged or summed up', async () => {
    const total = 5_000;
    const { lines } = await read(10, async (sender) => {
      for (let i = 0; i < total; i++) {
        sender.send(nthSource(i), 80);
        // The ring is one page: its reader must get its turn.
        if (i % (FIT - 1) === 0) await new Promise((resolve) => setTimeout(resolve, 8));
      }
    });
    const logged = lines.filter(({ event }) => event === 'connection').length;
    const summed = lines.reduce(
      (sum, line) => sum + (line.event === 'connections-summarized' ? line.connections : 0),
      0,
    );
    const lost = readLosses(node.tables)['ring-full']!;
    expect(logged + summed + lost).toBe(total);
    expect(logged).toBeGreaterThan(0);
    expect(summed).toBeGreaterThan(logged);
    for (const line of lines)
      if (line.event === 'connections-summarized') expect(line.byPolicy).toEqual({ web: line.connections });
  });
});
