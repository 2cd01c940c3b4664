import { Backoff } from './backoff.ts';
import { type Clock, sleep, systemClock } from './clock.ts';
import { isConnection, isThrottled, KubeError } from './errors.ts';

export interface RetryOptions {
  readonly signal?: AbortSignal;
  /** In all; default 4. */
  readonly attempts?: number;
  /** First wait; default 200. */
  readonly baseMs?: number;
  /** Longest wait, also when the server asks for more: then its error is the caller's; default 5,000. */
  readonly maxMs?: number;
  readonly random?: () => number;
  readonly clock?: Clock;
}

/**
 * Repeats what is idempotent (a read, an apply, a delete) after a failed connection, 429 and 5xx; any other error is thrown at
 * once, and the last one when all attempts failed.
 */
export async function withRetry<T>(fn: () => Promise<T>, options: RetryOptions = {}): Promise<T> {
  const { signal, attempts = 4, baseMs = 200, maxMs = 5000, random = Math.random, clock = systemClock } = options;
  const backoff = new Backoff({ baseMs, maxMs, random });
  for (let attempt = 1; ; attempt++) {
    try {
      return await fn();
    } catch (error) {
      if (attempt >= attempts || !isPassing(error)) throw error;
      const askedMs = error.retryAfterMs ?? 0;
      if (askedMs > maxMs) throw error;
      await sleep(clock, Math.max(askedMs, backoff.nextMs()), signal);
      signal?.throwIfAborted();
    }
  }
}

function isPassing(error: unknown): error is KubeError {
  return isConnection(error) || isThrottled(error) || (error instanceof KubeError && error.status >= 500);
}
