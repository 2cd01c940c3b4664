import fc from 'fast-check';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KubeError } from './errors.ts';
import { FakeClock } from './testing/fake-clock.ts';
import { WorkQueue, type WorkQueueOptions, type WorkQueueRun } from './work-queue.ts';
import { WorkQueueMetrics } from './work-queue-metrics.ts';

let clock: FakeClock;
let stop: AbortController;
let errors: { key: string; error: unknown; failures: number; inMs: number }[];
/** Two runs of a key at once: gathered, since a handler's throw would only be tried again. */
let overlaps: string[];
/** Ends what a test left running. */
let ends: Promise<void>[];

beforeEach(() => {
  clock = new FakeClock();
  stop = new AbortController();
  errors = [];
  overlaps = [];
  ends = [];
});

afterEach(async () => {
  stop.abort();
  await Promise.all(ends);
  expect(clock.timers).toBe(0);
  expect(overlaps).toEqual([]);
});

/** Without chance a pause is three quarters of its full length. */
const queueOf = (options: WorkQueueOptions = {}) => new WorkQueue({ clock, random: () => 0.5, ...options });

function run(queue: WorkQueue, handle: WorkQueueRun<string>['handle'], workers = 1): Promise<void> {
  const onError: WorkQueueRun<string>['onError'] = (key, error, retry) => errors.push({ key, error, ...retry });
  const end = queue.run({ workers, handle, onError }, stop.signal);
  ends.push(end);
  return end;
}

/** A handler whose runs end when the test says so. */
function gate() {
  const open = new Map<string, () => void>();
  const started: string[] = [];
  return {
    started,
    handle: (key: string) => {
      started.push(key);
      if (open.has(key)) overlaps.push(key);
      return new Promise<void>((resolve) => open.set(key, resolve));
    },
    finish: async (key: string) => {
      open.get(key)!();
      open.delete(key);
      await clock.settle();
    },
  };
}

test('a key that is added many times runs once, in the order of its first', async () => {
  const queue = queueOf();
  for (const key of ['a', 'b', 'a', 'c', 'b']) queue.add(key);
  expect(queue.depth).toBe(3);
  const seen: string[] = [];
  run(queue, async (key) => void seen.push(key));
  await clock.advance(0);
  expect(seen).toEqual(['a', 'b', 'c']);
});

test('a key that is added during its run runs again after it, and not beside it', async () => {
  const queue = queueOf();
  const { started, handle, finish } = gate();
  run(queue, handle, 4);
  queue.add('a');
  await clock.settle();
  queue.add('a');
  queue.add('a');
  await clock.settle();
  expect(started).toEqual(['a']);
  await finish('a');
  expect(started).toEqual(['a', 'a']);
  await finish('a');
  await clock.advance(1_000_000);
  expect(started).toEqual(['a', 'a']);
});

test('no more runs at once than there are workers', async () => {
  const queue = queueOf();
  const { started, handle, finish } = gate();
  for (const key of ['a', 'b', 'c']) queue.add(key);
  run(queue, handle, 2);
  await clock.settle();
  expect(started).toEqual(['a', 'b']);
  await finish('b');
  expect(started).toEqual(['a', 'b', 'c']);
  await finish('a');
  await finish('c');
});

test('of several times the earliest counts', async () => {
  const queue = queueOf();
  const seenAtMs: number[] = [];
  run(queue, async () => void seenAtMs.push(clock.nowMs()));
  queue.addAfter('a', 5000);
  queue.addAfter('a', 2000);
  queue.addAfter('a', 9000);
  await clock.advance(20_000);
  expect(seenAtMs).toEqual([2000]);
});

test('a run in the meantime does not cancel a later time', async () => {
  const queue = queueOf();
  const seenAtMs: number[] = [];
  run(queue, async () => void seenAtMs.push(clock.nowMs()));
  queue.addAfter('a', 5000);
  await clock.advance(1000);
  queue.add('a');
  await clock.advance(20_000);
  expect(seenAtMs).toEqual([1000, 5000]);
});

test('a handler may ask for its next run', async () => {
  const queue = queueOf();
  const seenAtMs: number[] = [];
  run(queue, async () => {
    seenAtMs.push(clock.nowMs());
    return { againAfterMs: 60_000 };
  });
  queue.add('a');
  await clock.advance(130_000);
  expect(seenAtMs).toEqual([0, 60_000, 120_000]);
});

test('a key that fails is tried again after pauses that double up to the longest', async () => {
  const queue = queueOf({ baseDelayMs: 100, maxDelayMs: 1000 });
  const seenAtMs: number[] = [];
  run(queue, async () => {
    seenAtMs.push(clock.nowMs());
    throw new Error('no');
  });
  queue.add('a');
  await clock.advance(3100);
  expect(seenAtMs).toEqual([0, 75, 225, 525, 1125, 1875, 2625]);
  expect(errors.map(({ failures, inMs }) => [failures, inMs]).slice(0, 5)).toEqual([
    [1, 75],
    [2, 150],
    [3, 300],
    [4, 600],
    [5, 750],
  ]);
});

test('a success forgets the failures', async () => {
  const queue = queueOf({ baseDelayMs: 100 });
  let runs = 0;
  run(queue, async () => {
    runs++;
    if (runs !== 3 && runs <= 4) throw new Error('no');
  });
  queue.add('a');
  await clock.advance(1000);
  queue.add('a');
  await clock.advance(1000);
  expect(errors.map(({ failures }) => failures)).toEqual([1, 2, 1]);
  expect(runs).toBe(5);
});

test('news of a key that waits after a failure brings its next run forward', async () => {
  const queue = queueOf({ baseDelayMs: 60_000 });
  const seenAtMs: number[] = [];
  run(queue, async () => {
    seenAtMs.push(clock.nowMs());
    if (seenAtMs.length === 1) throw new Error('no');
  });
  queue.add('a');
  await clock.advance(1000);
  queue.add('a');
  await clock.advance(100_000);
  expect(seenAtMs).toEqual([0, 1000]);
});

test('a run that fails and makes news of its own key is held to the rate of the retries', async () => {
  const queue = queueOf({ qps: 10, burst: 5 });
  let runs = 0;
  run(queue, async (key) => {
    runs++;
    queue.add(key);
    throw new Error('no');
  });
  queue.add('a');
  await clock.advance(10_000);
  expect(runs).toBeGreaterThan(50);
  expect(runs).toBeLessThanOrEqual(1 + 5 + 100);
});

test('retries of all keys share one rate, and each has its turn', async () => {
  const queue = queueOf({ baseDelayMs: 1, maxDelayMs: 1, qps: 10, burst: 2 });
  const runs = new Map<string, number>();
  run(queue, async (key) => {
    runs.set(key, (runs.get(key) ?? 0) + 1);
    throw new Error('the server is away');
  });
  for (const key of ['a', 'b', 'c', 'd', 'e']) queue.add(key);
  await clock.advance(10_000);
  const counts = [...runs.values()];
  expect(counts.reduce((sum, count) => sum + count)).toBeLessThanOrEqual(5 + 2 + 100);
  expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
});

test('waits as long as the server asked, whatever the news', async () => {
  const queue = queueOf();
  const seenAtMs: number[] = [];
  run(queue, async () => {
    seenAtMs.push(clock.nowMs());
    if (seenAtMs.length === 1) throw new KubeError({ message: 'too many requests', retryAfterMs: 5000 });
  });
  queue.add('a');
  await clock.advance(1000);
  queue.add('a');
  await clock.advance(10_000);
  expect(seenAtMs).toEqual([0, 5000]);
});

test('does not wait longer than its longest pause, even when the server asks for a day', async () => {
  const queue = queueOf({ maxDelayMs: 60_000 });
  run(queue, async () => {
    throw new KubeError({ message: 'too many requests', retryAfterMs: 86_400_000 });
  });
  queue.add('a');
  await clock.settle();
  expect(errors[0]!.inMs).toBe(60_000);
});

test('ends only when the last handler has, and starts nothing after the stop', async () => {
  const queue = queueOf();
  const { started, handle, finish } = gate();
  let hasEnded = false;
  const end = run(queue, handle).then(() => {
    hasEnded = true;
  });
  queue.add('a');
  queue.add('b');
  await clock.settle();
  stop.abort();
  await clock.advance(1_000_000);
  expect(hasEnded).toBe(false);
  await finish('a');
  await end;
  expect(started).toEqual(['a']);
  expect(queue.depth).toBe(1);
});

test('what a handler throws because it was told to stop is no error', async () => {
  const queue = queueOf();
  const end = run(
    queue,
    (_key, signal) =>
      new Promise<void>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true })),
  );
  queue.add('a');
  await clock.settle();
  stop.abort();
  await end;
  expect(errors).toEqual([]);
});

test('what waits for a stopped queue runs when it is started again', async () => {
  const queue = queueOf();
  const seen: string[] = [];
  stop.abort();
  await run(queue, async (key) => void seen.push(key));
  queue.add('a');
  stop = new AbortController();
  run(queue, async (key) => void seen.push(key));
  await clock.settle();
  expect(seen).toEqual(['a']);
});

test('refuses to run twice at once, or with no worker', async () => {
  const queue = queueOf();
  run(queue, async () => {});
  const again = { workers: 1, handle: async () => {}, onError: () => {} };
  await expect(queue.run(again, stop.signal)).rejects.toThrow('runs already');
  await expect(queueOf().run({ ...again, workers: 0 }, stop.signal)).rejects.toThrow(RangeError);
});

test('counts what it does, by the name of the queue', async () => {
  const registry = new Registry();
  const queue = queueOf({ metrics: new WorkQueueMetrics(registry).of('policies') });
  expect(await registry.metrics()).toContain('portcullis_kube_queue_retries_total{queue="policies"} 0');
  queue.add('a');
  queue.add('a');
  queue.add('b');
  expect(await registry.metrics()).toContain('portcullis_kube_queue_depth{queue="policies"} 2');
  let runs = 0;
  run(queue, async () => {
    if (++runs === 1) throw new Error('no');
  });
  await clock.advance(1000);
  const text = await registry.metrics();
  expect(text).toContain('portcullis_kube_queue_depth{queue="policies"} 0');
  expect(text).toContain('portcullis_kube_queue_adds_total{queue="policies"} 3');
  expect(text).toContain('portcullis_kube_queue_retries_total{queue="policies"} 1');
  expect(text).toContain('portcullis_kube_queue_run_duration_seconds_count{queue="policies",outcome="ok"} 2');
  expect(text).toContain('portcullis_kube_queue_run_duration_seconds_count{queue="policies",outcome="failed"} 1');
});

test('whatever is added when and fails how often, the newest state of each key is seen in the end', async () => {
  const keys = ['a', 'b', 'c', 'd'];
  const step = fc.record({
    key: fc.constantFrom(...keys),
    waitMs: fc.constantFrom(0, 0, 1, 7, 40),
    runMs: fc.constantFrom(0, 3, 25),
    fails: fc.boolean(),
    afterMs: fc.constantFrom(0, 0, 10, 90),
  });
  const histories = fc.asyncProperty(
    fc.array(step, { maxLength: 40, size: 'max' }),
    fc.integer({ min: 1, max: 3 }),
    async (steps, workers) => {
      const at = new FakeClock();
      const halt = new AbortController();
      const queue = new WorkQueue({ clock: at, baseDelayMs: 2, maxDelayMs: 50, qps: 1000, burst: 10 });
      const state = new Map(keys.map((key) => [key, 0]));
      const seen = new Map(keys.map((key) => [key, 0]));
      const running = new Set<string>();
      const plan = [...steps];
      const handle = async (key: string) => {
        if (running.has(key) || running.size >= workers) overlaps.push(key);
        running.add(key);
        const read = state.get(key)!;
        const { runMs, fails } = plan.pop() ?? { runMs: 1, fails: false };
        await new Promise<void>((resolve) => at.startTimer(runMs, resolve));
        running.delete(key);
        if (fails) throw new Error('no');
        seen.set(key, read);
      };
      const end = queue.run({ workers, handle, onError: () => {} }, halt.signal);
      for (const { key, waitMs, afterMs } of steps) {
        state.set(key, state.get(key)! + 1);
        queue.addAfter(key, afterMs);
        await at.advance(waitMs);
      }
      await at.advance(10_000);
      expect(seen).toEqual(state);
      expect(queue.depth).toBe(0);
      halt.abort();
      await end;
      expect(at.timers).toBe(0);
    },
  );
  await fc.assert(histories, { numRuns: 60 });
});
