import { readFileSync, statSync } from 'node:fs';

/** A small file that somebody else replaces: a token, a certificate. */
export class WatchedFile {
  readonly path: string;
  readonly #maxAgeMs: number;
  readonly #nowMs: () => number;
  #text = '';
  #readAtMs = Number.NEGATIVE_INFINITY;
  #stamp = '';

  /** Read again when older than `maxAgeMs`, or when its time, size or inode changed. `nowMs` is monotonic. */
  constructor(path: string, maxAgeMs: number, nowMs: () => number) {
    this.path = path;
    this.#maxAgeMs = maxAgeMs;
    this.#nowMs = nowMs;
  }

  /** What it holds, trimmed. Keeps what it had while the file cannot be read; throws when it never could. */
  read(): string {
    const nowMs = this.#nowMs();
    try {
      const stamp = stampOf(this.path);
      if (stamp === this.#stamp && nowMs - this.#readAtMs < this.#maxAgeMs) return this.#text;
      const text = readFileSync(this.path, 'utf8').trim();
      if (text === '') throw new Error(`${this.path} is empty`);
      this.#text = text;
      this.#stamp = stamp;
      this.#readAtMs = nowMs;
    } catch (error) {
      // A volume is swapped by a rename: for a moment there may be nothing.
      if (this.#text === '') throw error;
    }
    return this.#text;
  }

  /** The next read() goes to the file whatever its time says. */
  forget(): void {
    this.#stamp = '';
  }
}

/** Follows links: a mounted Secret or token changes by a link that is turned to another folder. */
function stampOf(path: string): string {
  const { mtimeMs, size, ino } = statSync(path);
  return `${mtimeMs}:${size}:${ino}`;
}
