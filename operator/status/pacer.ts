import { RateBucket } from '../../kube/rate-bucket.ts';

export interface PacerOptions {
  /** In the long run, one write each so many ms. */
  readonly intervalMs: number;
  /** Writes after a quiet time before that holds. */
  readonly burst?: number;
  /** Between the first two of them; it doubles with each that follows. */
  readonly minSpacingMs?: number;
  /** By how much the distances may grow beyond `intervalMs` while news never ends; asked at each write, 1 when absent. */
  readonly stretch?: () => number;
  /** Monotonic. */
  readonly nowMs: () => number;
}

/**
 * When news of one object may be written: at once after a quiet time, then in growing distances, so that a roll-out over
 * thousands of nodes is told while it goes on and does not use up what the end of it needs.
 */
export class Pacer {
  readonly #bucket: RateBucket;
  readonly #intervalMs: number;
  readonly #minSpacingMs: number;
  readonly #stretch: () => number;
  readonly #nowMs: () => number;
  #spacingMs: number;
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor({ intervalMs, burst = 6, minSpacingMs = 300, stretch = () => 1, nowMs }: PacerOptions) {
    this.#bucket = new RateBucket({ burst, intervalMs, nowMs });
    this.#intervalMs = intervalMs;
    this.#minSpacingMs = Math.min(minSpacingMs, intervalMs);
    this.#spacingMs = this.#minSpacingMs;
    this.#stretch = stretch;
    this.#nowMs = nowMs;
  }

  /** In how many ms the next write may be; 0: now. */
  waitMs(): number {
    // In this order: a bucket that has a token says what time it is when it is asked.
    const bucketMs = this.#bucket.nextAtMs();
    const nowMs = this.#nowMs();
    return Math.max(bucketMs - nowMs, this.#lastMs + this.#spacingMs - nowMs, 0);
  }

  /** To be called with every write. */
  written(): void {
    const nowMs = this.#nowMs();
    const isQuiet = nowMs - this.#lastMs > 2 * this.#spacingMs;
    const maxSpacingMs = this.#intervalMs * Math.max(this.#stretch(), 1);
    this.#spacingMs = isQuiet ? this.#minSpacingMs : Math.min(this.#spacingMs * 2, maxSpacingMs);
    this.#lastMs = nowMs;
    this.#bucket.take();
  }
}
