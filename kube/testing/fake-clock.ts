import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../clock.ts';

interface Timer {
  readonly atMs: number;
  readonly callback: () => void;
}

/** Turns of the event loop that a chain of promises may take before the next timer fires. */
const turns = 3;

/** A clock that moves only when it is told to, and runs what becomes due in order. */
export class FakeClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Set<Timer>();

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return Date.UTC(2026, 0, 1) + this.#nowMs;
  }

  startTimer(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + Math.max(delayMs, 0), callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Timers that nobody took back: none when all loops have ended. */
  get timers(): number {
    return this.#timers.size;
  }

  /** The same time, on a machine whose wall clock is off by so much. */
  skewed(byMs: number): Clock {
    return {
      nowMs: () => this.nowMs(),
      wallMs: () => this.wallMs() + byMs,
      startTimer: (delayMs, callback) => this.startTimer(delayMs, callback),
    };
  }

  /** Moves on by `ms`, and lets everything happen that is due until then. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await this.settle();
    for (;;) {
      let first: Timer | undefined;
      for (const timer of this.#timers) if (first === undefined || timer.atMs < first.atMs) first = timer;
      if (first === undefined || first.atMs > untilMs) break;
      this.#timers.delete(first);
      this.#nowMs = Math.max(this.#nowMs, first.atMs);
      first.callback();
      await this.settle();
    }
    this.#nowMs = untilMs;
  }

  /** Lets what is under way go on as far as it can at this instant. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < turns; turn++) await nextTurn();
  }
}
