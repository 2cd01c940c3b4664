import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Readers poll; more often than this only wears the disk out. */
const minIntervalMs = 1000;

// The group may read: a monitoring agent need not be root. Others may not, for the file names who is blocked.
const fileMode = 0o640;

/**
 * Puts `text` at `path` so that a reader sees the old or the new content and nothing between. Not synced to disk: after a
 * power failure the file is written anew anyway.
 */
export async function writeAtomically(path: string, text: string): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  await rm(temporary, { force: true });
  try {
    // 'wx' follows no symbolic link that somebody has put there.
    const file = await open(temporary, 'wx', fileMode);
    try {
      // The umask may have taken bits away.
      await file.chmod(fileMode);
      await file.writeFile(text);
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Keeps a JSON file up to date with the newest of what it is offered, at most once a second. */
export class StatusFile {
  readonly #path: string;
  readonly #onError: (error: unknown) => void;
  readonly #intervalMs: number;
  #pending: (() => unknown) | undefined;
  #wake: () => void = () => {};

  /** `onError` is told of each write that failed; the next offer tries again. */
  constructor(path: string, onError: (error: unknown) => void, intervalMs = minIntervalMs) {
    this.#path = path;
    this.#onError = onError;
    this.#intervalMs = intervalMs;
  }

  /** `build` gives the document; it is called when the file is written, and not at all when a newer offer comes before. */
  offer(build: () => unknown): void {
    this.#pending = build;
    this.#wake();
  }

  /** Writes until `signal` aborts, and once more then if something is left; resolves after the last write. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#waitForOffer(signal);
      await this.#writePending();
      await sleep(this.#intervalMs, undefined, { signal }).catch(() => {});
    }
    await this.#writePending();
  }

  async #waitForOffer(signal: AbortSignal): Promise<void> {
    if (this.#pending !== undefined || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        signal.removeEventListener('abort', done);
        this.#wake = () => {};
        resolve();
      };
      this.#wake = done;
      signal.addEventListener('abort', done);
    });
  }

  async #writePending(): Promise<void> {
    const build = this.#pending;
    if (build === undefined) return;
    this.#pending = undefined;
    try {
      await writeAtomically(this.#path, `${JSON.stringify(build(), null, 2)}\n`);
    } catch (error) {
      this.#onError(error);
    }
  }
}
