import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const preload = pathToFileURL(join(import.meta.dirname, 'stepped-clock-preload.ts')).href;

/**
 * A wall clock that a test sets for one process alone. A machine's own clock is not a test's to set, and time namespaces leave
 * CLOCK_REALTIME as it is; the kernel's side, which counts from the boot, needs no other clock.
 */
export class SteppedClock {
  readonly #file: string;

  constructor(folder: string) {
    this.#file = join(folder, 'clock-offset-ms');
    this.set(0);
  }

  /** For the environment of a Node.js process. */
  get env(): Readonly<Record<string, string>> {
    return { NODE_OPTIONS: `--import=${preload}`, STEPPED_CLOCK_FILE: this.#file };
  }

  /** From now on it is off by so much. */
  set(offsetMs: number): void {
    writeFileSync(`${this.#file}.new`, `${offsetMs}`);
    renameSync(`${this.#file}.new`, this.#file);
  }
}
