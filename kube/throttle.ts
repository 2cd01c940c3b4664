import { type Clock, sleep } from './clock.ts';
import { RateBucket } from './rate-bucket.ts';

/** Lets requests pass at a rate, in the order in which they came. */
export class Throttle {
  readonly #bucket: RateBucket;
  readonly #clock: Clock;
  #last: Promise<void> = Promise.resolve();

  constructor(qps: number, burst: number, clock: Clock) {
    this.#clock = clock;
    this.#bucket = new RateBucket({ burst, intervalMs: 1000 / qps, nowMs: () => clock.nowMs() });
  }

  /** Resolves when it is one's turn; rejects with the signal's reason. */
  async pass(signal?: AbortSignal): Promise<void> {
    const before = this.#last;
    const turn = Promise.withResolvers<void>();
    this.#last = turn.promise;
    try {
      await before;
      while (!signal?.aborted && !this.#bucket.take()) {
        await sleep(this.#clock, this.#bucket.nextAtMs() - this.#clock.nowMs(), signal);
      }
    } finally {
      turn.resolve();
    }
    signal?.throwIfAborted();
  }
}
