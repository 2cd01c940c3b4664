/**
 * Decides when a file that changed may be read: not while it is being
 * written. Pure: the caller observes and tells the time.
 */

/** What tells one state of a file from another; undefined when the file is not there. */
export type Signature = string | undefined;

export interface SettlingTimes {
  /** A file must have looked the same for this long. */
  readonly settleMs: number;
  /** The same for a file that is empty or changed again while it was waited for: its writer takes its time. */
  readonly slowSettleMs: number;
  /** How long a settled file waits for others that changed with it, so that an object that moves between files is never gone. */
  readonly holdMs: number;
}

/** With these a change is read 800 ms after its last write at the latest. */
export const settlingTimes: SettlingTimes = { settleMs: 250, slowSettleMs: 600, holdMs: 200 };

interface Pending {
  readonly signature: Signature;
  readonly sinceMs: number;
  readonly isSlow: boolean;
}

export class Settling {
  readonly #times: SettlingTimes;
  readonly #read = new Map<string, Signature>();
  readonly #pending = new Map<string, Pending>();

  constructor(times: SettlingTimes = settlingTimes) {
    this.#times = times;
  }

  /** Tells how a file looks now. `isEmpty`: it is there and has no content. */
  observe(file: string, signature: Signature, isEmpty: boolean, nowMs: number): void {
    if (this.#read.has(file) ? this.#read.get(file) === signature : signature === undefined) {
      this.#pending.delete(file);
      return;
    }
    const pending = this.#pending.get(file);
    if (pending && pending.signature === signature) return;
    this.#pending.set(file, { signature, sinceMs: nowMs, isSlow: isEmpty || pending !== undefined });
  }

  /** Every file of which anything was told and that is not known to be gone. */
  files(): Set<string> {
    return new Set([...this.#read.keys(), ...this.#pending.keys()]);
  }

  /** Tells that what is known of a file was not read here: it counts as changed, even by not being there. */
  distrust(file: string): void {
    this.#read.set(file, 'never read');
  }

  /** Tells that a file was read, or its absence taken note of, in this state. */
  settle(file: string, signature: Signature): void {
    this.#pending.delete(file);
    if (signature === undefined) this.#read.delete(file);
    else this.#read.set(file, signature);
  }

  /** Tells that reading failed or the file changed under it: it is due again after it has rested. */
  postpone(file: string, nowMs: number): void {
    const pending = this.#pending.get(file);
    if (pending) this.#pending.set(file, { ...pending, sinceMs: nowMs, isSlow: true });
  }

  /** Files to read now, with the state they were seen in; empty while it is better to wait. */
  due(nowMs: number): Map<string, Signature> {
    const dueAtMs = this.nextDueMs();
    if (dueAtMs === undefined || nowMs < dueAtMs) return new Map();
    const due = [...this.#pending].filter(([, pending]) => this.#settledAtMs(pending) <= nowMs);
    return new Map(due.map(([file, { signature }]) => [file, signature]));
  }

  /** When due() next gives something if nothing changes until then; undefined when nothing is waited for. */
  nextDueMs(): number | undefined {
    if (this.#pending.size === 0) return undefined;
    const settled = [...this.#pending.values()].map((pending) => this.#settledAtMs(pending));
    const first = settled.reduce((a, b) => Math.min(a, b));
    const last = settled.reduce((a, b) => Math.max(a, b));
    return Math.min(last, first + this.#times.holdMs);
  }
  #settledAtMs({ sinceMs, isSlow }: Pending): number {
    return sinceMs + (isSlow ? this.#times.slowSettleMs : this.#times.settleMs);
  }
}
