import fc from 'fast-check';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { KubeClient } from './client.ts';
import { KubeError } from './errors.ts';
import { eventMetrics } from './event-metrics.ts';
import { seriesWindowMs } from './event-series.ts';
import { EventRecorder, type EventRecorderOptions, type Occurrence, referenceTo } from './events.ts';
import type { NewKubeObject } from './objects.ts';
import { resources } from './resources.ts';
import { FakeClock } from './testing/fake-clock.ts';

type Stored = NewKubeObject & Record<string, unknown> & { series?: { count: number; lastObservedTime: string } };

let clock: FakeClock;
let stop: AbortController;
let registry: Registry;
let errors: unknown[];
/** What the server has, by name, and each request that it got. */
let stored: Map<string, Stored>;
let requests: { verb: 'create' | 'patch'; name: string; namespace: string | undefined; atMs: number }[];
/** Thrown instead of an answer; `after`: although the request was carried out. */
let fault: (() => { readonly error: unknown; readonly after?: boolean } | undefined) | undefined;
let ends: Promise<void>[];

beforeEach(() => {
  clock = new FakeClock();
  stop = new AbortController();
  registry = new Registry();
  errors = [];
  stored = new Map();
  requests = [];
  fault = undefined;
  ends = [];
});

afterEach(async () => {
  stop.abort();
  await clock.advance(10_000);
  await Promise.all(ends);
  expect(clock.timers).toBe(0);
});

function answer<T>(
  verb: 'create' | 'patch',
  name: string,
  namespace: string | undefined,
  carryOut: () => T,
): Promise<T> {
  requests.push({ verb, name, namespace, atMs: clock.nowMs() });
  const broken = fault?.();
  if (broken !== undefined && broken.after !== true) return Promise.reject(broken.error);
  try {
    const result = carryOut();
    return broken === undefined ? Promise.resolve(result) : Promise.reject(broken.error);
  } catch (error) {
    return Promise.reject(error);
  }
}

const client = {
  create: (_resource: unknown, object: Stored, options: { namespace?: string }) =>
    answer('create', object.metadata.name, options.namespace, () => {
      if (stored.has(object.metadata.name)) throw new KubeError({ message: 'exists', status: 409 });
      stored.set(object.metadata.name, object);
      return object;
    }),
  mergePatch: (_resource: unknown, name: string, patch: object, options: { namespace?: string }) =>
    answer('patch', name, options.namespace, () => {
      const before = stored.get(name);
      if (before === undefined) throw new KubeError({ message: 'not found', status: 404 });
      stored.set(name, { ...before, ...patch });
      return before;
    }),
} as Partial<KubeClient> as KubeClient;

function start(options: Partial<EventRecorderOptions> = {}): EventRecorder {
  const recorder = new EventRecorder({
    client,
    component: 'portcullis.dev/operator',
    instance: 'operator-0',
    clock,
    random: () => Math.random(),
    onError: (error) => errors.push(error),
    metrics: eventMetrics(registry),
    ...options,
  });
  ends.push(recorder.run(stop.signal));
  return recorder;
}

const regarding = referenceTo(resources.portScanPolicies, { metadata: { name: 'ssh', uid: 'u1' } });
const blocked: Occurrence = {
  regarding,
  type: 'Normal',
  reason: 'ScanBlocked',
  action: 'Block',
  note: '203.0.113.7 is blocked on node-a',
};
const about = (name: string): Occurrence => ({ ...blocked, regarding: { ...regarding, name, uid: `u-${name}` } });
const events = () => [...stored.values()];
const counts = () => events().map(({ series }) => series?.count ?? 1);
const lost = async (why: string) => {
  const text = await registry.metrics();
  return Number(new RegExp(`events_lost_total{reason="${why}"} (\\d+)`).exec(text)![1]);
};

test('the first occurrence is written at once, in the form of events.k8s.io/v1', async () => {
  const recorder = start();
  recorder.record(blocked);
  await clock.advance(0);
  expect(events()).toEqual([
    {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name: expect.stringMatching(/^ssh\.[0-9a-f]{16}$/), namespace: 'default' },
      eventTime: '2026-01-01T00:00:00.000000Z',
      reportingController: 'portcullis.dev/operator',
      reportingInstance: 'operator-0',
      type: 'Normal',
      reason: 'ScanBlocked',
      action: 'Block',
      note: '203.0.113.7 is blocked on node-a',
      regarding: { apiVersion: 'portcullis.dev/v1alpha1', kind: 'PortScanPolicy', name: 'ssh', uid: 'u1' },
    },
  ]);
  expect(requests[0]!.namespace).toBe('default');
});

test('equal occurrences are counted in one event, which is written once in half a minute', async () => {
  const recorder = start();
  for (let second = 0; second < 100; second++) {
    for (let i = 0; i < 1000; i++) recorder.record({ ...blocked, note: `${i}` });
    await clock.advance(1000);
  }
  expect(requests.map(({ verb, atMs }) => [verb, atMs])).toEqual([
    ['create', 0],
    ['patch', 30_000],
    ['patch', 60_000],
    ['patch', 90_000],
  ]);
  await clock.advance(60_000);
  expect(counts()).toEqual([100_000]);
  expect(events()[0]!.series!.lastObservedTime).toBe('2026-01-01T00:01:39.000000Z');
});

test.each([
  ['object', { regarding: { ...regarding, uid: 'u2' } }],
  ['type', { type: 'Warning' as const }],
  ['reason', { reason: 'TableFull' }],
  ['action', { action: 'Refuse' }],
  ['related object', { related: { apiVersion: 'v1', kind: 'Node', name: 'a', uid: 'n1' } }],
])('another %s makes another event', async (_what, change) => {
  const recorder = start();
  recorder.record(blocked);
  recorder.record({ ...blocked, ...change });
  await clock.advance(60_000);
  expect(counts()).toEqual([1, 1]);
});

test('an occurrence more than six minutes after the last one begins a new event', async () => {
  const recorder = start();
  recorder.record(blocked);
  await clock.advance(seriesWindowMs - 1);
  recorder.record(blocked);
  await clock.advance(seriesWindowMs - 1);
  recorder.record(blocked);
  await clock.advance(seriesWindowMs);
  recorder.record(blocked);
  await clock.advance(60_000);
  expect(counts()).toEqual([3, 1]);
});

test('an event about what has a namespace is in that one', async () => {
  const recorder = start();
  recorder.record({ ...blocked, regarding: { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'net', name: 'list' } });
  await clock.advance(0);
  expect(requests).toMatchObject([{ verb: 'create', namespace: 'net' }]);
});

test('a note is cut at 1024 bytes, between characters', async () => {
  const recorder = start();
  recorder.record({ ...blocked, note: 'é'.repeat(2000) });
  await clock.advance(0);
  const note = events()[0]!.note as string;
  expect(Buffer.byteLength(note)).toBeLessThanOrEqual(1024);
  expect(note).toMatch(/^é{510}…$/);
});

test('the longest name leaves room for what makes it unique', async () => {
  const recorder = start();
  recorder.record(about(`${'a'.repeat(235)}.${'b'.repeat(17)}`));
  await clock.advance(0);
  expect([...stored.keys()][0]).toMatch(/^a{235}\.[0-9a-f]{16}$/);
});

test('no more than the burst at once and so many a minute, and nothing is lost by it', async () => {
  const recorder = start({ burst: 5, maxPerMinute: 10 });
  for (let i = 0; i < 30; i++) recorder.record(about(`p${i}`));
  await clock.advance(0);
  expect(requests).toHaveLength(5);
  await clock.advance(60_000);
  expect(requests).toHaveLength(15);
  await clock.advance(90_000);
  expect(counts()).toEqual(Array(30).fill(1));
  expect(await lost('evicted')).toBe(0);
});

test('of too many series the one that is quiet for longest goes, and what it had not written is counted', async () => {
  const recorder = start({ maxSeries: 2, burst: 1, maxPerMinute: 1 });
  recorder.record(about('a'));
  await clock.advance(0);
  // Waits for the bucket, while the server has all of a.
  recorder.record(about('b'));
  recorder.record(about('c'));
  expect(await lost('evicted')).toBe(0);
  recorder.record(about('d'));
  expect(await lost('evicted')).toBe(1);
  await clock.advance(300_000);
  expect(events().map(({ regarding }) => (regarding as { name: string }).name)).toEqual(['a', 'c', 'd']);
});

test('one goes first that has nothing left to write, although it was heard of later', async () => {
  const recorder = start({ maxSeries: 2 });
  recorder.record(about('a'));
  await clock.advance(0);
  recorder.record(about('a'));
  recorder.record(about('b'));
  await clock.advance(0);
  recorder.record(about('c'));
  await clock.advance(60_000);
  expect(counts()).toEqual([2, 1, 1]);
  expect(await lost('evicted')).toBe(0);
});

test('what happens while a request is under way is not taken for written', async () => {
  const slow = (...args: Parameters<KubeClient['create']>) =>
    new Promise<void>((resolve) => clock.startTimer(5000, resolve)).then(() => client.create(...args));
  const recorder = start({ client: { ...client, create: slow } as KubeClient });
  recorder.record(blocked);
  await clock.advance(1000);
  recorder.record(blocked);
  await clock.advance(60_000);
  expect(counts()).toEqual([2]);
});

test('what happens while the server is away is counted, and written when it is back', async () => {
  const recorder = start();
  fault = () => ({ error: new KubeError({ message: 'refused', code: 'ECONNREFUSED' }) });
  for (let second = 0; second < 3600; second++) {
    recorder.record(blocked);
    await clock.advance(1000);
  }
  expect(requests.length).toBeLessThan(120);
  fault = undefined;
  await clock.advance(120_000);
  expect(counts()).toEqual([3600]);
  expect(events()[0]!.eventTime).toBe('2026-01-01T00:00:00.000000Z');
});

test('waits as long as the server asks', async () => {
  const recorder = start();
  fault = () => ({ error: new KubeError({ message: 'busy', status: 429, retryAfterMs: 20_000 }) });
  recorder.record(blocked);
  await clock.advance(19_999);
  expect(requests).toHaveLength(1);
  fault = undefined;
  await clock.advance(1);
  expect(counts()).toEqual([1]);
});

test('an event that was written although the answer was lost is not written twice', async () => {
  const recorder = start();
  fault = () => ({ error: new KubeError({ message: 'reset', code: 'ECONNRESET' }), after: true });
  recorder.record(blocked);
  await clock.advance(0);
  fault = undefined;
  recorder.record(blocked);
  await clock.advance(60_000);
  expect(counts()).toEqual([2]);
});

test('an event that the server no longer has is made again, with its count', async () => {
  const recorder = start();
  recorder.record(blocked);
  await clock.advance(1000);
  stored.clear();
  recorder.record(blocked);
  await clock.advance(60_000);
  expect(counts()).toEqual([2]);
});

test('a name that somebody else has is not used', async () => {
  const numbers = [0, 0, 0.5, 0.25];
  stored.set('ssh.0000000000000000', { apiVersion: '', kind: '', metadata: { name: 'theirs' } });
  const recorder = start({ random: () => numbers.shift() ?? 0.75 });
  recorder.record(blocked);
  await clock.advance(10_000);
  expect(stored.get('ssh.0000000000000000')!.metadata.name).toBe('theirs');
  expect(stored.size).toBe(2);
});

test('what the server refuses is lost and counted, does not hold up the rest, and is tried again later', async () => {
  const recorder = start();
  let refusals = 0;
  fault = () => (refusals++ === 0 ? { error: new KubeError({ message: 'forbidden', status: 403 }) } : undefined);
  recorder.record(blocked);
  recorder.record(about('other'));
  await clock.advance(0);
  for (let i = 0; i < 9; i++) recorder.record(blocked);
  await clock.advance(seriesWindowMs);
  expect(events().map(({ regarding }) => (regarding as { name: string }).name)).toEqual(['other']);
  expect(await lost('refused')).toBe(10);
  recorder.record(blocked);
  await clock.advance(0);
  expect(stored.size).toBe(2);
});

test('one event that the server fails on does not hold up the rest for ever', async () => {
  const recorder = start();
  fault = () => {
    const { name } = requests.at(-1)!;
    return name.startsWith('ssh') ? { error: new KubeError({ message: 'oops', status: 500 }) } : undefined;
  };
  recorder.record(blocked);
  recorder.record(about('other'));
  await clock.advance(15 * 60_000);
  expect(counts()).toEqual([1]);
  expect(await lost('refused')).toBe(1);
});

test('a request that hangs is given up', async () => {
  const create = () => new Promise<never>(() => {});
  const recorder = start({ client: { ...client, create } as unknown as KubeClient });
  recorder.record(blocked);
  await clock.advance(10_000);
  expect(String(errors)).toContain('no answer within 10000 ms');
});

test('the end writes what is left', async () => {
  const recorder = start();
  recorder.record(blocked);
  await clock.advance(0);
  recorder.record(blocked);
  recorder.record(about('other'));
  stop.abort();
  await Promise.all(ends);
  expect(counts()).toEqual([2, 1]);
  recorder.record(blocked);
  expect(await lost('ended')).toBe(1);
});

test('the end waits for two seconds at most, and counts what is lost then', async () => {
  const create = () => new Promise<never>(() => {});
  const recorder = start({ client: { ...client, create } as unknown as KubeClient });
  for (let i = 0; i < 3; i++) recorder.record(blocked);
  recorder.record(about('other'));
  await clock.advance(0);
  stop.abort();
  await clock.advance(2000);
  await Promise.all(ends);
  expect(await lost('ended')).toBe(4);
});

test('nothing recorded means no request and no timer that fires', async () => {
  start();
  await clock.advance(20 * 3_600_000);
  expect(requests).toEqual([]);
});

test('every occurrence is counted once or known to be lost', async () => {
  const step = fc.record({
    name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    times: fc.nat(20),
    waitMs: fc.constantFrom(0, 10, 5000, 40_000, seriesWindowMs),
    fault: fc.constantFrom(undefined, undefined, 'refused', 'reset', 'busy', 'forbidden', 'expired'),
  });
  const property = fc.asyncProperty(fc.array(step, { maxLength: 30, size: 'max' }), async (steps) => {
    clock = new FakeClock();
    stop = new AbortController();
    registry = new Registry();
    stored = new Map();
    fault = undefined;
    const recorder = start({ maxSeries: 3, burst: 3, maxPerMinute: 20 });
    let recorded = 0;
    const kinds = new Set(steps.map((step) => step.fault));
    for (const { name, times, waitMs, fault: kind } of steps) {
      fault = {
        refused: () => ({ error: new KubeError({ message: '', code: 'ECONNREFUSED' }) }),
        reset: () => ({ error: new KubeError({ message: '', code: 'ECONNRESET' }), after: true }),
        busy: () => ({ error: new KubeError({ message: '', status: 429, retryAfterMs: 3000 }) }),
        forbidden: () => ({ error: new KubeError({ message: '', status: 403 }) }),
      }[kind as string];
      if (kind === 'expired') stored.clear();
      for (let i = 0; i < times; i++) recorder.record(about(name));
      recorded += times;
      await clock.advance(waitMs);
    }
    fault = undefined;
    await clock.advance(600_000);
    stop.abort();
    await clock.advance(3000);
    const counted = counts().reduce((sum, count) => sum + count, 0);
    const missing = (await lost('evicted')) + (await lost('refused')) + (await lost('ended'));
    // What the server forgot is written again only when there is news of it.
    if (!kinds.has('expired')) expect(counted + missing).toBeGreaterThanOrEqual(recorded);
    // A write whose answer was lost may have been counted although its series was then given up.
    if (!kinds.has('reset')) expect(counted + missing).toBeLessThanOrEqual(recorded);
    expect(counted).toBeLessThanOrEqual(recorded);
    expect(clock.timers).toBe(0);
  });
  await fc.assert(property, { numRuns: 60 });
});
