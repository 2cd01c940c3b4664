/** The most that all agents together ask for because of one object that changes all the time. */
const readsPerSecond = 100;
const minLimitMs = 5_000;
const maxLimitMs = 60_000;
const firstSpacingMs = 500;
/** Objects that changed lately; each is remembered until there are more. */
const maxKeys = 1_000;

interface Pace {
  readonly lastMs: number;
  readonly spacingMs: number;
}

/**
 * When an object that changed may be read: at once after a quiet time, and in growing distances while it goes on. Whoever edits
 * one object ten times a second must not have every agent of a large cluster read it, and load programs, as often. Pure but for
 * its memory; times are monotonic.
 */
export class ReadPace {
  readonly #paces = new Map<string, Pace>();

  /** In how many ms it may be read; 0: now. */
  waitMs(key: string, nowMs: number): number {
    const pace = this.#paces.get(key);
    return pace === undefined ? 0 : Math.max(0, pace.lastMs + pace.spacingMs - nowMs);
  }

  /** To be called with every read. */
  read(key: string, nowMs: number, nodeCount: number): void {
    const limitMs = Math.min(Math.max(minLimitMs, (nodeCount * 1000) / readsPerSecond), maxLimitMs);
    const before = this.#paces.get(key);
    const isQuiet = before === undefined || nowMs - before.lastMs >= 2 * limitMs;
    const spacingMs = isQuiet ? 0 : Math.min(Math.max(firstSpacingMs, before.spacingMs * 2), limitMs);
    if (this.#paces.size >= maxKeys) this.#paces.clear();
    this.#paces.set(key, { lastMs: nowMs, spacingMs });
  }
}
