import { type Clock, systemClock } from './clock.ts';
import { KubeError } from './errors.ts';
import { RateBucket } from './rate-bucket.ts';

/** What a queue tells of itself; kube/work-queue-metrics.ts makes metrics of it. */
export interface WorkQueueObserver {
  added(): void;
  /** A run failed, and its key will run again. */
  retried(): void;
  /** Keys that wait for a worker now; those that wait for a time are not counted. */
  depth(keys: number): void;
  ran(durationMs: number, outcome: 'ok' | 'failed'): void;
}

export interface WorkQueueOptions {
  readonly clock?: Clock;
  /** In [0, 1). */
  readonly random?: () => number;
  /** The pause after a key's first failure; it doubles with each further one, up to `maxDelayMs`. */
  readonly baseDelayMs?: number;
  readonly maxDelayMs?: number;
  /** Retries of all keys together, a second. */
  readonly qps?: number;
  /** Retries that may go ahead at once after a quiet time. */
  readonly burst?: number;
  readonly metrics?: WorkQueueObserver;
}

/** `againAfterMs`: run this key once more after that time, although nothing failed. */
export type RunResult = undefined | { readonly againAfterMs?: number };

export interface WorkQueueRun<K> {
  /** Handlers at once; never two of the same key. */
  readonly workers: number;
  /** A throw means: again later. */
  // biome-ignore lint/suspicious/noConfusingVoidType: most handlers return nothing at all
  readonly handle: (key: K, signal: AbortSignal) => Promise<RunResult | void>;
  /** Must not throw. `failures`: of this key, one after the other. */
  readonly onError: (key: K, error: unknown, retry: { readonly failures: number; readonly inMs: number }) => void;
}

interface Retry {
  readonly atMs: number;
  /** The server named the time: news of the key does not bring it forward. */
  readonly isFixed: boolean;
}

/**
 * Keys of objects that are to be looked at. However often a key is added it runs once, never twice at the same time, and
 * once more when it was added during its run: so a handler that reads the state of things when it starts misses nothing.
 */
export class WorkQueue<K extends string = string> {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #baseDelayMs: number;
  readonly #maxDelayMs: number;
  readonly #retryBucket: RateBucket;
  readonly #metrics: WorkQueueObserver | undefined;
  /** First in, first out. */
  readonly #ready = new Set<K>();
  readonly #running = new Set<K>();
  /** Added during their run. */
  readonly #dirty = new Set<K>();
  readonly #later = new Map<K, number>();
  readonly #retries = new Map<K, Retry>();
  readonly #failures = new Map<K, number>();
  /** Nothing in #later or #retries can go ahead before this. */
  #nextDueMs = Number.POSITIVE_INFINITY;
  #wake: () => void = () => {};
  #isTaken = false;

  constructor(options: WorkQueueOptions = {}) {
    const { clock = systemClock, random = Math.random, qps = 10, burst = 100 } = options;
    this.#clock = clock;
    this.#random = random;
    this.#baseDelayMs = options.baseDelayMs ?? 5;
    this.#maxDelayMs = options.maxDelayMs ?? 300_000;
    this.#retryBucket = new RateBucket({ burst, intervalMs: 1000 / qps, nowMs: () => clock.nowMs() });
    this.#metrics = options.metrics;
  }

  /** Keys that wait for a worker. */
  get depth(): number {
    return this.#ready.size;
  }

  /** Runs the key as soon as a worker is free; one that failed before also waits for the bucket of the retries. */
  add(key: K): void {
    this.#metrics?.added();
    if (this.#running.has(key)) this.#dirty.add(key);
    // What failed may be what makes the news, as a status that is written in vain: it must not run as fast as it can.
    else if (this.#failures.has(key)) this.#retryAt(key, this.#clock.nowMs());
    else this.#makeReady(key);
    this.#wake();
  }

  /** Runs the key after `ms`. Of several such wishes the earliest counts; `add` in the meantime does not cancel it. */
  addAfter(key: K, ms: number): void {
    if (ms <= 0) {
      this.add(key);
      return;
    }
    const atMs = this.#clock.nowMs() + ms;
    const before = this.#later.get(key);
    if (before !== undefined && before <= atMs) return;
    this.#later.set(key, atMs);
    this.#dueAt(atMs);
    this.#wake();
  }

  /** Runs handlers until `signal` aborts, and ends when the last of them has. What waits then keeps waiting. */
  async run({ workers, handle, onError }: WorkQueueRun<K>, signal: AbortSignal): Promise<void> {
    if (!(workers >= 1)) throw new RangeError(`workers ${workers}: give a whole number from 1`);
    if (this.#isTaken) throw new Error('the queue runs already');
    this.#isTaken = true;
    const active = new Set<Promise<void>>();
    const start = (key: K) => {
      const run = this.#runOnce(key, handle, onError, signal).finally(() => {
        active.delete(run);
        this.#wake();
      });
      active.add(run);
    };
    try {
      while (!signal.aborted) {
        this.#promote();
        for (const key of this.#ready) {
          if (active.size >= workers) break;
          this.#ready.delete(key);
          this.#metrics?.depth(this.#ready.size);
          start(key);
        }
        await this.#untilNextDue(signal);
      }
    } finally {
      await Promise.all(active);
      this.#isTaken = false;
    }
  }

  async #runOnce(
    key: K,
    handle: WorkQueueRun<K>['handle'],
    onError: WorkQueueRun<K>['onError'],
    signal: AbortSignal,
  ): Promise<void> {
    const startedMs = this.#clock.nowMs();
    const ran = (outcome: 'ok' | 'failed') => {
      this.#running.delete(key);
      this.#metrics?.ran(this.#clock.nowMs() - startedMs, outcome);
      return this.#dirty.delete(key);
    };
    this.#running.add(key);
    try {
      const result = await handle(key, signal);
      this.#failures.delete(key);
      if (ran('ok')) this.#makeReady(key);
      if (result?.againAfterMs !== undefined) this.addAfter(key, result.againAfterMs);
    } catch (error) {
      const isNews = ran('failed');
      const failures = (this.#failures.get(key) ?? 0) + 1;
      this.#failures.set(key, failures);
      const nowMs = this.#clock.nowMs();
      const afterMs = Math.min((error instanceof KubeError && error.retryAfterMs) || 0, this.#maxDelayMs);
      const inMs = isNews && afterMs === 0 ? 0 : Math.max(this.#backoffMs(failures), afterMs);
      this.#retries.set(key, { atMs: nowMs + inMs, isFixed: afterMs > 0 });
      this.#dueAt(nowMs + inMs);
      // Who is told to stop may well throw for that reason.
      if (signal.aborted && isAbort(error, signal)) return;
      this.#metrics?.retried();
      onError(key, error, { failures, inMs });
    }
  }

  /** Half of the pause is left to chance, so that what failed together does not come back together. */
  #backoffMs(failures: number): number {
    const fullMs = Math.min(this.#baseDelayMs * 2 ** (failures - 1), this.#maxDelayMs);
    return fullMs * (0.5 + this.#random() / 2);
  }

  #makeReady(key: K): void {
    this.#ready.add(key);
    this.#metrics?.depth(this.#ready.size);
  }

  #retryAt(key: K, atMs: number): void {
    const before = this.#retries.get(key);
    // No entry: the bucket has let it pass, and it waits for a worker.
    if (before === undefined || before.isFixed || before.atMs <= atMs) return;
    this.#retries.set(key, { atMs, isFixed: false });
    this.#dueAt(atMs);
  }

  #dueAt(atMs: number): void {
    this.#nextDueMs = Math.min(this.#nextDueMs, atMs);
  }

  /** Moves what is due to where the workers take from. Looks at all that waits, but only when something is due. */
  #promote(): void {
    const nowMs = this.#clock.nowMs();
    if (nowMs < this.#nextDueMs) return;
    this.#nextDueMs = Number.POSITIVE_INFINITY;
    for (const [key, atMs] of this.#later) {
      if (atMs > nowMs) {
        this.#dueAt(atMs);
        continue;
      }
      this.#later.delete(key);
      this.add(key);
    }
    for (const [key, { atMs }] of this.#retries) {
      if (atMs > nowMs) this.#dueAt(atMs);
      else if (this.#retryBucket.take()) {
        this.#retries.delete(key);
        this.#makeReady(key);
      } else this.#dueAt(this.#retryBucket.nextAtMs());
    }
  }

  async #untilNextDue(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    let cancel = () => {};
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      signal.addEventListener('abort', this.#wake, { once: true });
      if (this.#nextDueMs !== Number.POSITIVE_INFINITY) {
        cancel = this.#clock.startTimer(this.#nextDueMs - this.#clock.nowMs(), resolve);
      }
    });
    cancel();
    signal.removeEventListener('abort', this.#wake);
    this.#wake = () => {};
  }
}

function isAbort(error: unknown, signal: AbortSignal): boolean {
  return error === signal.reason || (error instanceof Error && error.name === 'AbortError');
}
