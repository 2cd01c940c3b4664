import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { ServerMetrics } from '../../cli/server-metrics.ts';
import type { BlockRecord, DatapathView } from '../datapath/view.ts';
import type { Finding } from '../finding.ts';

/** All that a scrape shows beside what the metrics count themselves. */
export interface MetricsInput {
  /** Absent when the pinned tables could not be read: then the metrics out of them are left out. */
  readonly view?: DatapathView;
  /** Live blocks by policy, as `countBlocked` gives them; read together with the view. */
  readonly blockedByPolicy: ReadonlyMap<string, number>;
  readonly findings: readonly Finding[];
  /** Objects and files that the policy source refuses now. */
  readonly policyErrors: number;
  /** Break-glass is in force. */
  readonly isDetached: boolean;
  /** Lines that the log holds back or lost, by kind. */
  readonly logLinesSuppressed: Readonly<Record<'connection' | 'scan' | 'output', number>>;
}

export interface ProcessUsage {
  readonly residentBytes: number;
  /** User and system time since the process began. */
  readonly cpuSeconds: number;
  readonly startTimeSeconds: number;
}

/** Live blocks that drop, by policy: records of Monitor mode and of spared sources are not counted. */
export function countBlocked(blocks: Iterable<BlockRecord>, nowMs: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { by, state, untilMs } of blocks) {
    if (by.kind !== 'PortScanPolicy' || state !== 'blocked' || untilMs <= nowMs) continue;
    counts.set(by.name, (counts.get(by.name) ?? 0) + 1);
  }
  return counts;
}

const scanStates: Readonly<Record<string, BlockRecord['state']>> = {
  drop: 'blocked',
  'would-drop': 'would-block',
  spared: 'spared',
};

/** Which table lost an entry that was still wanted, by name of `enum loss`. */
export const evictionLosses: Readonly<Record<string, string>> = {
  'first-target-evicted': 'first-targets',
  'source-evicted': 'sources',
  'block-evicted': 'blocks',
};

/** Why an event was not written or not read, by name of `enum loss`. */
export const eventLosses: Readonly<Record<string, string>> = {
  'connection-event-budget': 'connection-budget',
  'block-event-budget': 'block-budget',
  'ring-full': 'ring-full',
};

/** A block that found no room, by name of `enum loss`. */
export const refusedBlockLoss = 'block-table-full';

const stages: Readonly<Record<string, string>> = { 'first-targets': 'one-target', sources: 'several-targets' };

/**
 * The agent's Prometheus metrics. Counters out of the kernel are set to its totals at each scrape: those are pinned, so a
 * restart of the agent neither resets nor doubles them.
 */
export class AgentMetrics {
  readonly registry = new Registry();
  readonly #read: () => MetricsInput | Promise<MetricsInput>;
  readonly #usage: () => ProcessUsage;
  #rendering: Promise<string> | undefined;

  readonly #buildInfo = this.#gauge(
    'build_info',
    'Version of the agent and of the layout of its pinned tables; always 1.',
    ['version', 'layout'],
  );
  readonly #readable = this.#gauge('datapath_readable', '1 when the pinned tables could be read for this scrape.');
  readonly #attached = this.#gauge('interface_attached', 'Guarded interfaces by XDP mode; always 1.', [
    'interface',
    'mode',
  ]);
  readonly #packets = this.#counter('packets_total', 'Packets by verdict and reason, and by the object that decided.', [
    'verdict',
    'reason',
    'kind',
    'owner',
  ]);
  readonly #newConnections = this.#counter('new_connections_total', 'New TCP connections that were seen and passed.', [
    'policy',
  ]);
  readonly #blocks = this.#counter('blocks_total', 'Scans detected, by what came of them.', ['policy', 'state']);
  readonly #blocksRefused = this.#counter(
    'blocks_refused_total',
    'Scanners not blocked because the block table was full.',
  );
  readonly #blockedSources = this.#gauge('blocked_sources', 'Sources blocked now.', ['policy']);
  readonly #tracked = this.#gauge('tracked_sources', 'Sources whose targets are remembered now.', ['stage']);
  readonly #tableEntries = this.#gauge('table_entries', 'Entries of each table.', ['table']);
  readonly #tableCapacity = this.#gauge('table_capacity', 'Entries that each table can hold.', ['table']);
  readonly #evictions = this.#counter('evictions_total', 'Entries still wanted that made room for others.', ['table']);
  readonly #eventsLost = this.#counter('events_lost_total', 'Events that were not delivered to the agent.', ['kind']);
  readonly #logLines = this.#counter('log_lines_suppressed_total', 'Log lines that were summarized or lost.', ['kind']);
  readonly #findings = this.#gauge('findings', 'Findings that hold now.', ['code', 'severity']);
  readonly #policyErrors = this.#gauge('policy_errors', 'Errors in the policies that hold now.');
  readonly #breakGlass = this.#gauge('break_glass', '1 while break-glass is in force: nothing is attached.');
  readonly #lastApply = this.#gauge(
    'last_apply_timestamp_seconds',
    'When the policies were last applied without a failure; 0 before the first time.',
  );
  readonly #applyFailures = this.#counter('apply_failures_total', 'Attempts to apply the policies that failed.');
  /** Of the server that gives these metrics out. */
  readonly server = new ServerMetrics(this.registry);
  readonly #applyDuration: Histogram;
  readonly #residentBytes: Gauge;
  readonly #cpuSeconds: Counter;
  readonly #startTime: Gauge;

  constructor(options: {
    readonly version: string;
    readonly layoutVersion: number;
    readonly read: () => MetricsInput | Promise<MetricsInput>;
    readonly usage?: () => ProcessUsage;
  }) {
    this.#read = options.read;
    this.#usage = options.usage ?? processUsage;
    const registers = [this.registry];
    this.#applyDuration = new Histogram({
      name: 'portcullis_apply_duration_seconds',
      help: 'Time that applying the policies took.',
      buckets: [0.005, 0.02, 0.1, 0.5, 1, 2, 5, 15],
      registers,
    });
    // Without our prefix: dashboards know these names.
    this.#residentBytes = new Gauge({
      name: 'process_resident_memory_bytes',
      help: 'Resident memory of the agent.',
      registers,
    });
    this.#cpuSeconds = new Counter({
      name: 'process_cpu_seconds_total',
      help: 'CPU time of the agent, user and system.',
      registers,
    });
    this.#startTime = new Gauge({
      name: 'process_start_time_seconds',
      help: 'When the agent was started, since the epoch.',
      registers,
    });
    this.#buildInfo.set({ version: options.version, layout: String(options.layoutVersion) }, 1);
  }

  /** Counts one attempt to apply the policies. */
  observeApply(result: { readonly ok: boolean; readonly durationMs: number; readonly atMs: number }): void {
    this.#applyDuration.observe(result.durationMs / 1000);
    if (result.ok) this.#lastApply.set(result.atMs / 1000);
    else this.#applyFailures.inc();
  }

  /** The text of a scrape. Scrapes that come while one is under way share its result, so they cannot pile up. */
  render(): Promise<string> {
    this.#rendering ??= this.#renderOnce().finally(() => {
      this.#rendering = undefined;
    });
    return this.#rendering;
  }

  async #renderOnce(): Promise<string> {
    const input = await this.#read();
    this.#setUsage();
    this.#setFindings(input);
    this.#setView(input);
    return await this.registry.metrics();
  }

  #setUsage(): void {
    const usage = this.#usage();
    this.#residentBytes.set(usage.residentBytes);
    setTotal(this.#cpuSeconds, usage.cpuSeconds);
    this.#startTime.set(usage.startTimeSeconds);
  }

  #setFindings(input: MetricsInput): void {
    this.#findings.reset();
    for (const { code, severity } of input.findings) this.#findings.inc({ code, severity });
    this.#policyErrors.set(input.policyErrors);
    this.#breakGlass.set(input.isDetached ? 1 : 0);
    this.#logLines.reset();
    for (const [kind, lines] of Object.entries(input.logLinesSuppressed)) this.#logLines.inc({ kind }, lines);
  }

  #setView(input: MetricsInput): void {
    const ofKernel = [
      this.#attached,
      this.#packets,
      this.#newConnections,
      this.#blocks,
      this.#blockedSources,
      this.#tracked,
    ];
    const alsoOfKernel = [
      this.#tableEntries,
      this.#tableCapacity,
      this.#evictions,
      this.#eventsLost,
      this.#blocksRefused,
    ];
    for (const metric of [...ofKernel, ...alsoOfKernel]) metric.reset();
    const { view } = input;
    this.#readable.set(view === undefined ? 0 : 1);
    if (view === undefined) return;
    for (const { name, mode } of view.interfaces) this.#attached.set({ interface: name, mode }, 1);
    this.#setCounters(view, input.blockedByPolicy);
    this.#setTables(view);
  }

  #setCounters(view: DatapathView, blockedByPolicy: ReadonlyMap<string, number>): void {
    const policies = new Set(blockedByPolicy.keys());
    for (const { policy } of view.interfaces) if (policy !== undefined) policies.add(policy);
    for (const sample of view.counters) if (sample.ownerKind === 'PortScanPolicy') policies.add(sample.ownerName);
    for (const policy of policies) {
      // A series that begins at 0 lets rate() and increase() see its first step.
      this.#newConnections.inc({ policy }, 0);
      for (const state of Object.values(scanStates)) this.#blocks.inc({ policy, state }, 0);
      this.#blockedSources.set({ policy }, blockedByPolicy.get(policy) ?? 0);
    }
    for (const { verdict, reason, ownerKind, ownerName, packets } of view.counters) {
      this.#packets.inc({ verdict, reason, kind: ownerKind, owner: ownerName }, packets);
      if (ownerKind !== 'PortScanPolicy') continue;
      if (reason === 'new-connection') this.#newConnections.inc({ policy: ownerName }, packets);
      const state = scanStates[verdict];
      if (reason === 'scan-detected' && state !== undefined) this.#blocks.inc({ policy: ownerName, state }, packets);
    }
  }

  #setTables(view: DatapathView): void {
    for (const { table, entries, capacity } of view.tables) {
      this.#tableEntries.set({ table }, entries);
      this.#tableCapacity.set({ table }, capacity);
      const stage = stages[table];
      if (stage !== undefined) this.#tracked.set({ stage }, entries);
    }
    for (const [loss, table] of Object.entries(evictionLosses)) this.#evictions.inc({ table }, view.losses[loss] ?? 0);
    for (const [loss, kind] of Object.entries(eventLosses)) this.#eventsLost.inc({ kind }, view.losses[loss] ?? 0);
    setTotal(this.#blocksRefused, view.losses[refusedBlockLoss] ?? 0);
  }

  #gauge<L extends string>(name: string, help: string, labelNames: readonly L[] = []): Gauge<L> {
    return new Gauge({ name: `portcullis_${name}`, help, labelNames, registers: [this.registry] });
  }

  #counter<L extends string>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> {
    return new Counter({ name: `portcullis_${name}`, help, labelNames, registers: [this.registry] });
  }
}

function setTotal(counter: Counter, total: number): void {
  counter.reset();
  counter.inc(total);
}

function processUsage(): ProcessUsage {
  const cpu = process.cpuUsage();
  return {
    residentBytes: process.memoryUsage.rss(),
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    startTimeSeconds: performance.timeOrigin / 1000,
  };
}
