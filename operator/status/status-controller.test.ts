import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PortScanPolicyStatus } from '../../api/types/port-scan-policy.ts';
import type { KubeClient } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import type { KubeObject } from '../../kube/objects.ts';
import type { Change } from '../../kube/reflector.ts';
import { FakeClock } from '../../kube/testing/fake-clock.ts';
import type { ControllerContext, Happening } from '../controller.ts';
import { PortScanPolicyController } from '../controllers/port-scan-policy/controller.ts';
import { ReportFeed } from '../reports/feed.ts';
import { parseCommandLine } from '../settings.ts';
import type { Watched } from '../shared.ts';
import type { StoredPolicy } from '../stored/policy-object.ts';
import { aNode, aPolicy, aReport, type ReportParts } from '../testing/objects.ts';
import { StatusMetrics } from './status-controller.ts';

/** A collection that the test changes. */
class Collection<T extends KubeObject> implements Watched<T> {
  readonly name = 'collection';
  readonly items = new Map<string, T>();
  readonly hasSynced = true;
  readonly #listeners = new Set<(change: Change<T>) => void>();

  subscribe(listener: (change: Change<T>) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  set(object: T): void {
    const { name } = object.metadata;
    const previous = this.items.get(name);
    this.items.set(name, object);
    const change = previous === undefined ? { type: 'added' as const } : { type: 'updated' as const, previous };
    for (const listener of this.#listeners) listener({ object, ...change } as Change<T>);
  }
}

let clock: FakeClock;
let policies: Collection<StoredPolicy>;
let nodes: Collection<ReturnType<typeof aNode>>;
let reports: Collection<ReturnType<typeof aReport>>;
/** When each write came, and what it wrote. */
let writes: { readonly atMs: number; readonly status: PortScanPolicyStatus }[];
let happenings: Happening[];
/** What the API server does with a write: by default it keeps it and tells the watch. */
let serve: (status: PortScanPolicyStatus) => void;
let stop: AbortController;
let running: Promise<unknown>;

const keep = (status: PortScanPolicyStatus) => policies.set({ ...policies.items.get('web')!, status });
const report = (parts: ReportParts, node = 'a') => reports.set(aReport(node, parts));
const blocks = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ source: `192.0.2.${i}`, secondsLeft: 100_000 }));
const said = (more: object = {}) => ({ policies: [{ name: 'web', ...more }] });

beforeEach(async () => {
  clock = new FakeClock();
  policies = new Collection();
  nodes = new Collection();
  reports = new Collection();
  writes = [];
  happenings = [];
  serve = keep;
  stop = new AbortController();
  const client = {
    get: async () => ({ metadata: { name: 'lease' } }),
    apply: async (_: unknown, { status }: { status: PortScanPolicyStatus }) => {
      writes.push({ atMs: clock.nowMs(), status });
      serve(status);
      return {};
    },
  } as unknown as KubeClient;
  const command = parseCommandLine(['run'], {});
  const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
  const observer = { added: () => {}, retried: () => {}, depth: () => {}, ran: () => {} };
  const context = {
    client,
    shared: { policies, nodes, reports },
    settings: command.name === 'run' && command.settings,
    namespace: 'x',
    clock,
    random: () => 0.5,
    logger: quiet,
    registry: new Registry(),
    queueMetrics: () => observer,
    happened: (happening: Happening) => happenings.push(happening),
  } as unknown as ControllerContext;
  const feed = new ReportFeed(context);
  const facts = { factsState: () => undefined, subscribe: () => () => {} };
  const metrics = new StatusMetrics(context.registry);
  const controller = new PortScanPolicyController(context, feed, facts, metrics);
  nodes.set(aNode('a'));
  await feed.load(stop.signal);
  running = Promise.all([feed.run(stop.signal), controller.run(stop.signal)]);
});

afterEach(async () => {
  stop.abort();
  await running;
  expect(clock.timers).toBe(0);
});

const minutes = (count: number) => clock.advance(count * 60_000);

describe('the status of an object', () => {
  it('is written a moment after the first news, and not again while nothing changes', async () => {
    policies.set(aPolicy('web'));
    await clock.advance(500);
    expect(writes).toHaveLength(1);
    report(said());
    await clock.advance(1500);
    expect(writes).toHaveLength(2);
    expect(writes[1]!.status.summary).toBe('1/1');
    for (let i = 0; i < 20; i++) {
      report(said());
      await minutes(5);
    }
    expect(writes).toHaveLength(2);
  });

  it('is written six times in a burst at most, and once in ten seconds while news never end', async () => {
    policies.set(aPolicy('web'));
    const startMs = clock.nowMs();
    for (let i = 0; i < 600; i++) {
      report({ ...said({ blocked: 1 }), blocks: blocks(1 + (i % 10)) });
      await clock.advance(1000);
    }
    const elapsedMs = clock.nowMs() - startMs;
    expect(writes.length).toBeLessThanOrEqual(6 + elapsedMs / 10_000);
    expect(writes.length).toBeGreaterThan(elapsedMs / 10_000 - 2);
  });

  it('tells of a new source within a second after a quiet time', async () => {
    policies.set(aPolicy('web'));
    report(said());
    await minutes(2);
    const before = writes.length;
    report({ ...said({ blocked: 1 }), blocks: blocks(1) });
    await clock.advance(1000);
    expect(writes.slice(before).map(({ status }) => status.blocks?.length)).toEqual([1]);
    expect(happenings).toMatchObject([{ reason: 'ScanBlocked', regarding: { kind: 'PortScanPolicy', name: 'web' } }]);
  });

  it('is written once in five minutes when nothing but counters changes', async () => {
    policies.set(aPolicy('web'));
    report(said());
    await minutes(10);
    const before = writes.length;
    for (let i = 1; i <= 60; i++) {
      report(said({ packetsDropped: i }));
      await minutes(0.5);
    }
    expect(writes.length - before).toBeLessThanOrEqual(6);
    expect(writes.length - before).toBeGreaterThanOrEqual(5);
    await minutes(5);
    expect(writes.at(-1)!.status.blocked!.packetsDropped).toBe(60);
  });

  it('is written again when the API server does not take it, with what is so by then', async () => {
    serve = () => {
      throw new KubeError({ message: 'x', status: 500 });
    };
    policies.set(aPolicy('web'));
    await clock.advance(300);
    report(said());
    await minutes(1);
    serve = keep;
    await minutes(6);
    expect(writes.at(-1)!.status.summary).toBe('1/1');
    expect(policies.items.get('web')!.status.summary).toBe('1/1');
  });

  it('is written again when an older state of the store comes back', async () => {
    policies.set(aPolicy('web'));
    await minutes(1);
    const old = policies.items.get('web')!.status;
    report(said());
    await clock.advance(1500);
    keep(old);
    await minutes(1);
    expect(policies.items.get('web')!.status.summary).toBe('1/1');
  });

  it('is written again when the watch never tells of the write, as after a restore that lost it', async () => {
    serve = () => {};
    policies.set(aPolicy('web'));
    await clock.advance(1000);
    expect(writes).toHaveLength(1);
    serve = keep;
    await minutes(6);
    expect(policies.items.get('web')!.status.summary).toBe('0/1');
  });

  it('is not written without end where another manager keeps a field that does not belong there', async () => {
    serve = (status) => keep({ ...status, prefixSet: 'of somebody else' } as PortScanPolicyStatus);
    policies.set(aPolicy('web'));
    await minutes(60);
    // The first, one that does not help either, and then at the pace of counters.
    expect(writes.length).toBeLessThanOrEqual(2 + 12);
  });

  it('is about the object that is there now, not about its namesake', async () => {
    policies.set(aPolicy('web'));
    report(said());
    await minutes(1);
    policies.set(aPolicy('web', { uid: 'another' }));
    await clock.advance(2000);
    expect(writes.at(-1)!.status.summary).toBe('0/1');
    report(said());
    await clock.advance(5000);
    expect(writes.at(-1)!.status.summary).toBe('1/1');
  });
});
