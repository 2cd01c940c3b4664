/** Waits that double, each spread over half to one and a half of itself so that many clients do not return together. */
export class Backoff {
  readonly #baseMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  #failures = 0;

  constructor(options: { readonly baseMs: number; readonly maxMs: number; readonly random: () => number }) {
    this.#baseMs = options.baseMs;
    this.#maxMs = options.maxMs;
    this.#random = options.random;
  }

  /** Since the last reset. */
  get failures(): number {
    return this.#failures;
  }

  nextMs(): number {
    // Beyond 2^30 the factor only risks to overflow.
    const wholeMs = Math.min(this.#maxMs, this.#baseMs * 2 ** Math.min(this.#failures++, 30));
    return Math.min(this.#maxMs, wholeMs * (0.5 + this.#random()));
  }

  reset(): void {
    this.#failures = 0;
  }
}
