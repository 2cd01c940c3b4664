import { lib } from './ffi.ts';

/** An open file descriptor of a BPF object; closing it frees what nothing else pins or attaches. */
export class OwnedFd<Fd extends number> {
  #fd: Fd | undefined;
  readonly what: string;

  constructor(fd: Fd, what: string) {
    this.#fd = fd;
    this.what = what;
  }

  get fd(): Fd {
    if (this.#fd === undefined) throw new Error(`${this.what} is closed`);
    return this.#fd;
  }

  close(): void {
    if (this.#fd === undefined) return;
    lib.close(this.#fd);
    this.#fd = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
