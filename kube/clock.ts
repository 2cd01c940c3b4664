/** Time as the loops of this room see it, passed in so that tests can run hours in no time. */
export interface Clock {
  /** Monotonic, in ms from any origin: for what is measured and waited for. */
  nowMs(): number;
  /** Wall clock, in ms since 1970: only to be written down or shown, since somebody may set it. */
  wallMs(): number;
  /** Calls back once, after `delayMs`; what it returns takes that back. */
  startTimer(delayMs: number, callback: () => void): () => void;
}

/** What setTimeout can wait at most; it takes more than that for 1 ms. */
const maxTimerMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  startTimer(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(Math.max(delayMs, 0), maxTimerMs));
    return () => clearTimeout(timer);
  },
};

/** Resolves after `ms`, or as soon as `signal` aborts: never rejects, the caller looks at the signal. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const wake = () => {
      cancel();
      signal?.removeEventListener('abort', wake);
      resolve();
    };
    const cancel = clock.startTimer(ms, wake);
    signal?.addEventListener('abort', wake, { once: true });
  });
}

export class TimedOut extends Error {
  constructor(what: string, timeoutMs: number) {
    super(`${what}: no answer within ${Math.round(timeoutMs)} ms`);
    this.name = 'TimedOut';
  }
}

/**
 * Runs `work` and rejects with TimedOut after `timeoutMs`, or with the signal's reason, whichever comes first; also when
 * `work` does not heed the signal that it is given. What becomes of it after that is not looked at.
 */
export async function withTimeout<T>(
  clock: Clock,
  what: string,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const stop = new AbortController();
  const onAbort = () => stop.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const cancel = clock.startTimer(timeoutMs, () => stop.abort(new TimedOut(what, timeoutMs)));
  try {
    return await new Promise<T>((resolve, reject) => {
      stop.signal.addEventListener('abort', () => reject(stop.signal.reason), { once: true });
      work(stop.signal).then(resolve, reject);
    });
  } finally {
    cancel();
    signal?.removeEventListener('abort', onAbort);
  }
}
