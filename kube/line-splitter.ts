const newline = 0x0a;

export class LineTooLong extends Error {
  constructor(maxLineBytes: number) {
    super(`a line is longer than ${maxLineBytes} bytes`);
    this.name = 'LineTooLong';
  }
}

/** Cuts a stream of chunks into lines. Works on bytes: a chunk may end within a character. */
export class LineSplitter {
  readonly #maxLineBytes: number;
  #rest: Buffer[] = [];
  #restBytes = 0;

  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
  }

  /** Bytes of a line that has begun and not ended. */
  get pendingBytes(): number {
    return this.#restBytes;
  }

  /** The lines that `chunk` completes, without their ends; blank ones are left out. Throws LineTooLong. */
  *push(chunk: Buffer): Generator<string> {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(newline, start);
      const part = chunk.subarray(start, end === -1 ? chunk.length : end);
      if (this.#restBytes + part.length > this.#maxLineBytes) throw new LineTooLong(this.#maxLineBytes);
      if (end === -1) {
        if (part.length > 0) {
          this.#rest.push(part);
          this.#restBytes += part.length;
        }
        return;
      }
      const line = this.#restBytes === 0 ? part : Buffer.concat([...this.#rest, part]);
      this.#rest = [];
      this.#restBytes = 0;
      start = end + 1;
      const text = line.toString('utf8').trim();
      if (text !== '') yield text;
    }
  }
}
