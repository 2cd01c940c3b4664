import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { BlockRecord, CounterSample, DatapathView } from '../datapath/view.ts';
import {
  AgentMetrics,
  countBlocked,
  eventLosses,
  evictionLosses,
  type MetricsInput,
  refusedBlockLoss,
} from './metrics.ts';

function sample(reason: string, verdict: CounterSample['verdict'], packets: number): CounterSample {
  return { ownerKind: 'PortScanPolicy', ownerName: 'web', verdict, reason, packets };
}

const view: DatapathView = {
  interfaces: [{ ifindex: 2, name: 'eth0', mode: 'native', programId: 71, policy: 'web', verifiedInstructions: 900 }],
  counters: [
    sample('new-connection', 'pass', 1200),
    sample('scan-detected', 'drop', 3),
    sample('scan-blocked', 'drop', 985),
    { ownerKind: 'Node', ownerName: '', verdict: 'pass', reason: 'not-ip', packets: 44 },
  ],
  losses: { 'ring-full': 7, 'source-evicted': 2, 'block-table-full': 1 },
  tables: [
    { table: 'blocks', entries: 3, capacity: 65_536 },
    { table: 'first-targets', entries: 17, capacity: 1_572_864 },
    { table: 'sources', entries: 4, capacity: 65_536 },
  ],
};

const input: MetricsInput = {
  view,
  blockedByPolicy: new Map([['web', 2]]),
  findings: [],
  policyErrors: 0,
  isDetached: false,
  logLinesSuppressed: { connection: 0, scan: 0, output: 0 },
};

function metrics(read: () => MetricsInput): AgentMetrics {
  const usage = () => ({ residentBytes: 85e6, cpuSeconds: 1.5, startTimeSeconds: 1_900_000_000 });
  return new AgentMetrics({ version: '1.2.3', layoutVersion: 1, read, usage });
}

async function lines(read: () => MetricsInput): Promise<string[]> {
  return seriesOf(await metrics(read).render());
}

function seriesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

test('shows what the kernel counted, by verdict, reason and the object that decided', async () => {
  expect(await lines(() => input)).toEqual(
    expect.arrayContaining([
      'portcullis_packets_total{verdict="drop",reason="scan-blocked",kind="PortScanPolicy",owner="web"} 985',
      'portcullis_packets_total{verdict="pass",reason="not-ip",kind="Node",owner=""} 44',
      'portcullis_new_connections_total{policy="web"} 1200',
      'portcullis_blocks_total{policy="web",state="blocked"} 3',
      'portcullis_blocks_total{policy="web",state="would-block"} 0',
      'portcullis_blocked_sources{policy="web"} 2',
      'portcullis_interface_attached{interface="eth0",mode="native"} 1',
      'portcullis_table_entries{table="blocks"} 3',
      'portcullis_table_capacity{table="blocks"} 65536',
      'portcullis_tracked_sources{stage="one-target"} 17',
      'portcullis_tracked_sources{stage="several-targets"} 4',
      'portcullis_evictions_total{table="sources"} 2',
      'portcullis_evictions_total{table="blocks"} 0',
      'portcullis_events_lost_total{kind="ring-full"} 7',
      'portcullis_blocks_refused_total 1',
      'portcullis_datapath_readable 1',
      'portcullis_build_info{version="1.2.3",layout="1"} 1',
      'process_resident_memory_bytes 85000000',
      'process_cpu_seconds_total 1.5',
      'process_start_time_seconds 1900000000',
    ]),
  );
});

test('a counter is the total of the kernel at every scrape, not a sum of scrapes, also in a new agent', async () => {
  let packets = 10;
  const read = () => ({ ...input, view: { ...view, counters: [sample('new-connection', 'pass', packets)] } });
  const first = metrics(read);
  for (packets of [10, 10, 25]) {
    expect(seriesOf(await first.render())).toContain(`portcullis_new_connections_total{policy="web"} ${packets}`);
  }
  expect(seriesOf(await metrics(read).render())).toContain('portcullis_new_connections_total{policy="web"} 25');
});

test('counters are of type counter, with a help text each', async () => {
  const text = await metrics(() => input).render();
  expect(text).toContain('# TYPE portcullis_packets_total counter');
  expect(text).toContain('# TYPE portcullis_blocked_sources gauge');
  expect(text.match(/^# HELP \S+ \S/gm)?.length).toBe(text.match(/^# TYPE /gm)?.length);
});

test('series of what is gone disappear', async () => {
  let current = input;
  const scraped = metrics(() => current);
  await scraped.render();
  current = { ...input, view: { ...view, interfaces: [], counters: [], tables: [] }, blockedByPolicy: new Map() };
  const text = await scraped.render();
  expect(text).not.toContain('eth0');
  expect(text).not.toContain('"web"');
});

test('when the tables cannot be read, the rest is still served and says so', async () => {
  const { view: _unread, ...rest } = input;
  const series = await lines(() => rest);
  expect(series).toContain('portcullis_datapath_readable 0');
  expect(series).toContain('process_resident_memory_bytes 85000000');
  expect(series.some((line) => line.startsWith('portcullis_packets_total'))).toBe(false);
});

test('findings are counted by code and severity, and one that is gone is gone', async () => {
  const finding = { code: 'GenericFallback', severity: 'warning', message: 'm', remedy: 'r' } as const;
  let findings: MetricsInput['findings'] = [finding, { ...finding, interfaceName: 'eth1' }];
  const scraped = metrics(() => ({ ...input, findings, policyErrors: 3 }));
  const series = seriesOf(await scraped.render());
  expect(series).toContain('portcullis_findings{code="GenericFallback",severity="warning"} 2');
  expect(series).toContain('portcullis_policy_errors 3');
  findings = [];
  expect(await scraped.render()).not.toContain('GenericFallback');
});

test('tells when the policies were last applied, how long it took and how often it failed', async () => {
  const scraped = metrics(() => input);
  expect(seriesOf(await scraped.render())).toContain('portcullis_last_apply_timestamp_seconds 0');
  scraped.observeApply({ ok: true, durationMs: 30, atMs: 1_900_000_000_500 });
  scraped.observeApply({ ok: false, durationMs: 700, atMs: 1_900_000_060_000 });
  expect(seriesOf(await scraped.render())).toEqual(
    expect.arrayContaining([
      'portcullis_last_apply_timestamp_seconds 1900000000.5',
      'portcullis_apply_failures_total 1',
      'portcullis_apply_duration_seconds_count 2',
      'portcullis_apply_duration_seconds_bucket{le="0.1"} 1',
    ]),
  );
});

test('scrapes at the same time read the tables once', async () => {
  let reads = 0;
  const scraped = metrics(() => {
    reads++;
    return input;
  });
  const [one, two] = await Promise.all([scraped.render(), scraped.render()]);
  expect(reads).toBe(1);
  expect(two).toBe(one);
  await scraped.render();
  expect(reads).toBe(2);
});

test('a scrape that fails does not spoil the next', async () => {
  let broken = true;
  const scraped = metrics(() => {
    if (broken) throw new Error('unreadable');
    return input;
  });
  await expect(scraped.render()).rejects.toThrow('unreadable');
  broken = false;
  expect(seriesOf(await scraped.render())).toContain('portcullis_datapath_readable 1');
});

test('every loss that the kernel counts has a metric', () => {
  const layout = readFileSync(new URL('../../bpf/layout.h', import.meta.url), 'utf8');
  const names = [...layout.matchAll(/\bLOSS_([A-Z_]+) = \d+/g)]
    .map((match) => match[1]!.toLowerCase().replaceAll('_', '-'))
    .filter((name) => name !== 'count');
  expect(names.length).toBeGreaterThan(5);
  const known = [...Object.keys(evictionLosses), ...Object.keys(eventLosses), refusedBlockLoss];
  expect(known.sort()).toEqual(names.sort());
});

test('blocked sources are those that a policy blocks now: no records, no expired ones, none by hand', () => {
  const block: BlockRecord = {
    source: '192.0.2.7',
    by: { kind: 'PortScanPolicy', name: 'web' },
    state: 'blocked',
    proven: false,
    probes: 15,
    ports: [],
    sinceMs: 0,
    untilMs: 1000,
    packetsDropped: 1,
  };
  const blocks: BlockRecord[] = [
    block,
    { ...block, by: { kind: 'PortScanPolicy', name: 'db' } },
    { ...block, source: '192.0.2.8' },
    { ...block, state: 'would-block' },
    { ...block, state: 'spared' },
    { ...block, untilMs: 999 },
    { ...block, by: { kind: 'Manual', name: 'manual' } },
  ];
  expect(countBlocked(blocks, 999)).toEqual(
    new Map([
      ['web', 2],
      ['db', 1],
    ]),
  );
});
