import { openSync, writeSync } from 'node:fs';
import { BpfError } from '../../../agent/libbpf/bpf-error.ts';

/** What a guest says to the machine that booted it, one JSON object a line. */
export type GuestLine =
  | { readonly kind: 'kernel'; readonly release: string; readonly libbpf: string }
  | { readonly kind: 'figure'; readonly suite: string; readonly text: string }
  | { readonly kind: 'check'; readonly suite: string; readonly name: string; readonly failure?: string }
  /** A suite came to its end: without it, what it did not come to would look like success. */
  | { readonly kind: 'suite'; readonly suite: string; readonly checks: number; readonly seconds: number }
  | { readonly kind: 'end' };

/** A verifier's log can be a megabyte; what it says stands at its end. */
const maxFailureCharacters = 6_000;

export class Report {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, 'w');
  }

  write(line: GuestLine): void {
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
    // A serial port takes what it has room for.
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
  }

  /** Runs one suite: every check of it is told, and one that throws does not end the others. */
  async suite(suite: string, body: (checks: Checks) => Promise<void>): Promise<void> {
    const checks = new Checks(suite, this);
    const startedAt = performance.now();
    await checks.check('runs to its end', async () => await body(checks));
    const seconds = Math.round((performance.now() - startedAt) / 100) / 10;
    this.write({ kind: 'suite', suite, checks: checks.count, seconds });
  }
}

export class Checks {
  static #logIsTold = false;
  count = 0;
  readonly #suite: string;
  readonly #report: Report;

  constructor(suite: string, report: Report) {
    this.#suite = suite;
    this.#report = report;
  }

  /** A check holds when `body` returns. */
  async check(name: string, body: () => Promise<void>): Promise<void> {
    this.count++;
    let failure: string | undefined;
    try {
      await body();
    } catch (error) {
      failure = describe(error).slice(-maxFailureCharacters);
      this.#tellWholeLog(error);
    }
    this.#report.write({
      kind: 'check',
      suite: this.#suite,
      name,
      ...(failure === undefined ? {} : { failure }),
    });
  }

  /** On the console, once: hundreds of programs are refused for the same reason. */
  #tellWholeLog(error: unknown): void {
    for (let each = error; each instanceof Error; each = each.cause) {
      const log = each instanceof BpfError ? each.verifierLog : undefined;
      if (log === undefined || Checks.#logIsTold) continue;
      Checks.#logIsTold = true;
      console.log(`${each.message.split('\n')[0]}: the verifier's whole log:\n${log}`);
    }
  }

  figure(text: string): void {
    this.#report.write({ kind: 'figure', suite: this.#suite, text });
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `\n${describe(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}
