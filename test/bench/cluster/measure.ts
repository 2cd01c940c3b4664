import { setTimeout as sleep } from 'node:timers/promises';
import { difference, isWrite, load, sum } from './counters.ts';
import { monotonicMs, type Reading, ScaleRoom } from './room.ts';

export interface ScalePlan {
  readonly agents: number;
  readonly changes: number;
  /** After the last change, before the steady state is measured. */
  readonly quietMs: number;
  /**
   * An agent renews an unchanged report 4 to 6 minutes after the last one: in the 5 minutes that begin one minute after the last
   * change each does it exactly once.
   */
  readonly steadyMs: number;
  /** Agents whose node is scanned, each by a new source every second. */
  readonly scanned: number;
  readonly onsetMs: number;
  readonly scanMs: number;
}

export const fullPlan = (agents: number): ScalePlan => ({
  agents,
  changes: 6,
  quietMs: 60_000,
  steadyMs: 300_000,
  scanned: Math.min(agents, 100),
  onsetMs: 60_000,
  scanMs: 180_000,
});

/** What happened between two readings. */
export interface Span {
  readonly seconds: number;
  /** A second, by `VERB resource`. */
  readonly writes: ReadonlyMap<string, number>;
  readonly writesPerSecond: number;
  readonly readsPerSecond: number;
  /** Bytes a second that reached an agent: mean, and the one that got most. */
  readonly toAgent: { readonly mean: number; readonly max: number };
  readonly fromAgent: number;
  readonly toOperator: number;
  /** Of one core, in percent. */
  readonly cpu: Reading['cpu'];
  /** Of the time that all these processes wanted to run, the share for which no core was free, in percent. */
  readonly starved: number;
  /** Connections that were opened anew: their bytes are missing. */
  readonly reopened: number;
  readonly load: number;
}

export interface ScaleResult {
  readonly plan: ScalePlan;
  readonly startSeconds: number;
  readonly startBytes: number;
  readonly change: {
    /** From the API server's having been asked until an agent had it: of all agents and changes. */
    readonly p50Ms: number;
    readonly p95Ms: number;
    readonly maxMs: number;
    /** Until the policy's status said that all nodes have it: median and maximum of the changes. */
    readonly programmedMs: readonly number[];
    /** To one agent, for one change. */
    readonly bytes: number;
    /** Seconds of CPU for one change, beyond those of the steady state: API server, and all agents. */
    readonly apiServerSeconds: number;
    readonly agentsSeconds: number;
    /** As of a Span. */
    readonly starved: number;
  };
  readonly steady: Span;
  readonly onset: Span;
  readonly scan: Span;
  readonly memory: {
    readonly leader: { readonly rssMiB: number; readonly peakMiB: number };
    readonly follower: { readonly rssMiB: number; readonly peakMiB: number };
    readonly apiServer: { readonly rssMiB: number; readonly peakMiB: number };
  };
  readonly writes: Readonly<Record<string, number>>;
  readonly findings: readonly string[];
  readonly troubles: readonly string[];
  /** Of operators. */
  readonly restarts: number;
  /** Of the machine, over the whole run. */
  readonly load: { readonly min: number; readonly max: number };
}

/** Between changes: agents report what was ordered three times at once, and then every five seconds. */
const betweenChangesMs = 6000;

export async function measure(plan: ScalePlan, print: (text: string) => void): Promise<ScaleResult> {
  const { agents } = plan;
  const loads = [load()];
  const startedMs = monotonicMs();
  await using room = await ScaleRoom.create({ agents });
  const startSeconds = (monotonicMs() - startedMs) / 1000;
  const atStart = await room.read();
  print(`${agents} agents are in force ${startSeconds.toFixed(0)} s after nothing was there`);

  const arrivals: number[] = [];
  const programmedMs: number[] = [];
  for (let change = 0; change < plan.changes; change++) {
    await sleep(betweenChangesMs);
    const times = await room.change(change % room.policies.length, 16 + change);
    arrivals.push(...times.arrivalsMs);
    programmedMs.push(times.programmedMs);
    loads.push(load());
  }
  arrivals.sort((a, b) => a - b);
  programmedMs.sort((a, b) => a - b);
  const at = (share: number) => arrivals[Math.min(Math.floor(arrivals.length * share), arrivals.length - 1)] ?? 0;
  const changed = await room.read();
  const changing = span(atStart, changed);
  const secondsOfChange = changing.seconds / Math.max(plan.changes, 1);
  print(`a change reaches all: median ${at(0.5).toFixed(0)} ms, last ${at(1).toFixed(0)} ms; ${describe(changing)}`);

  await sleep(plan.quietMs);
  const beforeSteady = await room.read();
  await sleep(plan.steadyMs);
  const afterSteady = await room.read();
  loads.push(load());
  const steady = span(beforeSteady, afterSteady);
  print(`steady: ${describe(steady)}`);

  room.scan(plan.scanned, 1000);
  await sleep(plan.onsetMs);
  const afterOnset = await room.read();
  const onset = span(afterSteady, afterOnset);
  print(`onset of scans: ${describe(onset)}`);
  await sleep(plan.scanMs);
  const afterScan = await room.read();
  loads.push(load());
  const scan = span(afterOnset, afterScan);
  print(`scans go on: ${describe(scan)}`);

  const { writes, findings } = await room.counts();
  return {
    plan,
    startSeconds,
    startBytes: perAgent(atStart.connections.map(({ received }) => received)),
    change: {
      p50Ms: at(0.5),
      p95Ms: at(0.95),
      maxMs: at(1),
      programmedMs,
      bytes: changing.toAgent.mean * secondsOfChange,
      apiServerSeconds: ((changing.cpu.apiServer - steady.cpu.apiServer) / 100) * secondsOfChange,
      agentsSeconds: ((changing.cpu.agents - steady.cpu.agents) / 100) * secondsOfChange,
      starved: changing.starved,
    },
    steady,
    onset,
    scan,
    memory: { ...room.operatorMemory(), apiServer: room.apiServerMemory() },
    writes,
    findings,
    troubles: room.troubles(),
    restarts: room.restarts,
    load: { min: Math.min(...loads), max: Math.max(...loads) },
  };
}

const perAgent = (bytes: readonly number[]): number => sum(bytes) / Math.max(bytes.length, 1);

export function span(earlier: Reading, later: Reading): Span {
  const seconds = (later.atMs - earlier.atMs) / 1000;
  const requests = difference(later.requests, earlier.requests);
  const writes = new Map([...requests].filter(([key]) => isWrite(key)).map(([key, count]) => [key, count / seconds]));
  const before = new Map(
    earlier.connections.map((connection) => [`${connection.pid} ${connection.localPort}`, connection]),
  );
  const kept = later.connections.flatMap((connection) => {
    const known = before.get(`${connection.pid} ${connection.localPort}`);
    return known === undefined
      ? []
      : [{ received: connection.received - known.received, sent: connection.sent - known.sent }];
  });
  const received = kept.map((each) => each.received / seconds);
  const cpu = Object.fromEntries(
    Object.entries(later.cpu).map(([name, used]) => [
      name,
      ((used - earlier.cpu[name as keyof Reading['cpu']]) / seconds) * 100,
    ]),
  ) as Reading['cpu'];
  const waited = later.waited - earlier.waited;
  return {
    seconds,
    writes,
    writesPerSecond: sum(writes.values()),
    readsPerSecond: sum([...requests].filter(([key]) => !isWrite(key)).map(([, count]) => count)) / seconds,
    toAgent: { mean: perAgent(received), max: received.reduce((a, b) => Math.max(a, b), 0) },
    fromAgent: perAgent(kept.map((each) => each.sent / seconds)),
    toOperator: (later.operatorBytes - earlier.operatorBytes) / seconds,
    cpu,
    starved: (waited / Math.max(waited + (sum(Object.values(cpu)) * seconds) / 100, 0.001)) * 100,
    reopened: earlier.connections.length - kept.length,
    load: load(),
  };
}

const describe = ({ writesPerSecond, toAgent, cpu, writes, starved }: Span): string =>
  [
    `${writesPerSecond.toFixed(2)} writes/s (${[...writes].map(([key, rate]) => `${key} ${rate.toFixed(2)}`).join(', ')})`,
    `${toAgent.mean.toFixed(0)} B/s to an agent, at most ${toAgent.max.toFixed(0)}`,
    `CPU ${Object.entries(cpu)
      .map(([name, percent]) => `${name} ${percent.toFixed(1)} %`)
      .join(', ')}, starved ${starved.toFixed(0)} %`,
  ].join('; ');
