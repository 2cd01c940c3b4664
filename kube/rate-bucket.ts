/** A token bucket: `burst` at once, and one more each `intervalMs`. Pure: the clock is passed in. */
export class RateBucket {
  readonly #burst: number;
  readonly #intervalMs: number;
  readonly #nowMs: () => number;
  #tokens: number;
  /** When the bucket held exactly #tokens. */
  #sinceMs: number;

  /** `nowMs` must be monotonic. */
  constructor(options: { readonly burst: number; readonly intervalMs: number; readonly nowMs: () => number }) {
    const { burst, intervalMs } = options;
    if (!(Number.isInteger(burst) && burst >= 1)) throw new RangeError(`burst ${burst}: give a whole number from 1`);
    if (!(intervalMs > 0 && Number.isFinite(intervalMs))) {
      throw new RangeError(`intervalMs ${intervalMs}: give a number above 0`);
    }
    this.#burst = burst;
    this.#intervalMs = intervalMs;
    this.#nowMs = options.nowMs;
    this.#tokens = burst;
    this.#sinceMs = options.nowMs();
  }

  /** Takes a token when there is one. */
  take(): boolean {
    this.#refill();
    if (this.#tokens === 0) return false;
    this.#tokens--;
    return true;
  }

  /** When the next take() will succeed, on the clock that was passed in: now, when there is a token. */
  nextAtMs(): number {
    this.#refill();
    return this.#tokens > 0 ? this.#nowMs() : this.#sinceMs + this.#intervalMs;
  }

  /** Counts whole tokens and moves on by whole intervals, so that no rounding adds up. */
  #refill(): void {
    const nowMs = this.#nowMs();
    // The comparison is that of nextAtMs: a quotient could be rounded to just below 1 at the very time that it tells.
    const isDue = nowMs >= this.#sinceMs + this.#intervalMs;
    const due = Math.max(Math.floor((nowMs - this.#sinceMs) / this.#intervalMs), isDue ? 1 : 0);
    if (this.#tokens + due >= this.#burst) {
      this.#tokens = this.#burst;
      this.#sinceMs = nowMs;
    } else if (due > 0) {
      this.#tokens += due;
      this.#sinceMs += due * this.#intervalMs;
    }
  }
}
