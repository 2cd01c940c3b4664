/** What one second had to say beyond its budget: counts instead of lines. */
export interface Overflow {
  /** Wall clock at which that second began, in ms. */
  readonly fromMs: number;
  readonly suppressed: number;
  /** By the key given to `allow`; keys beyond the bound are added up under `other`. */
  readonly byKey: Readonly<Record<string, number>>;
}

/** A summary names at most this many keys, so that its line stays short whatever the number of policies. */
export const maxSummaryKeys = 100;

/** Lets `linesPerSecond` lines through each second and turns the rest into one summary, given when that second is over. */
export class LineBudget {
  readonly #linesPerSecond: number;
  readonly #onOverflow: (overflow: Overflow) => void;
  #second = Number.NaN;
  #used = 0;
  #suppressed = 0;
  #suppressedEver = 0;
  #byKey = new Map<string, number>();

  constructor(linesPerSecond: number, onOverflow: (overflow: Overflow) => void) {
    this.#linesPerSecond = linesPerSecond;
    this.#onOverflow = onOverflow;
  }

  /** Lines suppressed since the start. */
  get suppressed(): number {
    return this.#suppressedEver;
  }

  /** Whether the next line would go out: lets a reader skip the work of decoding what would only be counted. */
  hasRoom(nowMs: number): boolean {
    this.tick(nowMs);
    return this.#used < this.#linesPerSecond;
  }

  /** Takes one line out of this second's budget; false means that it was counted under `key` and is not to be written. */
  allow(nowMs: number, key: string): boolean {
    if (this.hasRoom(nowMs)) {
      this.#used++;
      return true;
    }
    this.count(nowMs, key, 1);
    return false;
  }

  /** Counts `lines` that were not written, without looking at the budget. */
  count(nowMs: number, key: string, lines: number): void {
    this.tick(nowMs);
    this.#suppressed += lines;
    this.#suppressedEver += lines;
    const bounded = this.#byKey.has(key) || this.#byKey.size < maxSummaryKeys ? key : 'other';
    this.#byKey.set(bounded, (this.#byKey.get(bounded) ?? 0) + lines);
  }

  /** Gives the summary of a second that is over; to be called about once a second, so that the last one is not held back. */
  tick(nowMs: number): void {
    const second = Math.floor(nowMs / 1000);
    // Not `second > this.#second`: a clock that is set back must not stop the log until it has caught up.
    if (second === this.#second) return;
    this.flush();
    this.#second = second;
    this.#used = 0;
  }

  /** Gives the summary at once, for the end of the program. */
  flush(): void {
    if (this.#suppressed === 0) return;
    const overflow = {
      fromMs: this.#second * 1000,
      suppressed: this.#suppressed,
      byKey: Object.fromEntries(this.#byKey),
    };
    this.#suppressed = 0;
    this.#byKey = new Map();
    this.#onOverflow(overflow);
  }
}
