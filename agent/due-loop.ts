/** setTimeout takes no longer than this. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Does one thing whenever it is asked for or due: never twice at a time, and once more after a request that came meanwhile. */
export class DueLoop {
  #wake = () => {};
  #isDue = false;

  request(): void {
    this.#isDue = true;
    this.#wake();
  }

  /** `work` returns the wall clock's time in ms at which it is due by itself, or undefined. It must not throw. */
  async run(signal: AbortSignal, work: () => Promise<number | undefined>): Promise<void> {
    const onAbort = () => this.#wake();
    signal.addEventListener('abort', onAbort, { once: true });
    let againAtMs: number | undefined;
    while (!signal.aborted) {
      if (!this.#isDue) {
        const restMs = againAtMs === undefined ? MAX_TIMER_MS : Math.max(0, againAtMs - Date.now());
        await this.#rest(Math.min(restMs, MAX_TIMER_MS));
        if (signal.aborted) break;
        if (againAtMs !== undefined && Date.now() >= againAtMs) this.#isDue = true;
        if (!this.#isDue) continue;
      }
      this.#isDue = false;
      againAtMs = await work();
    }
    signal.removeEventListener('abort', onAbort);
  }

  async #rest(restMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, restMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => {};
  }
}
