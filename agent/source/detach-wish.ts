import { type Clock, sleep } from '../../kube/clock.ts';

export interface DetachWishOptions {
  /** Uid of the service account of the agent's own token; rejects when the token cannot be read. */
  readonly ownUid: () => Promise<string | undefined>;
  readonly clock: Clock;
  /** Called when what the getters give has changed by itself, not by `set`. */
  readonly onChange: () => void;
}

/** A token that is renewed may be of another account: one that was made anew under the same name. */
const RECHECK_MS = 10_000;

/**
 * Whether a wish that an installation detaches is for this agent: it names the account of the agent's own token, which an agent that
 * runs by some other credentials does not have. What was read last counts while the token cannot be read.
 */
export class DetachWish {
  readonly #options: DetachWishOptions;
  /** The account that is meant; undefined: nobody wishes anything. */
  #wanted: string | undefined;
  /** `#own` was asked for since this was wanted. */
  #checked: string | undefined;
  #own: string | undefined;
  #wake = () => {};

  constructor(options: DetachWishOptions) {
    this.#options = options;
  }

  /** False while the token is still to be read. */
  get isKnown(): boolean {
    return this.#wanted === this.#checked;
  }

  get isHeeded(): boolean {
    return this.#wanted !== undefined && this.isKnown && this.#wanted === this.#own;
  }

  /** The account that a wish names now. */
  set(uid: string | undefined): void {
    if (uid === this.#wanted) return;
    this.#wanted = uid;
    this.#checked = undefined;
    this.#wake();
  }

  /** Reads the token while there is a wish, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const wanted = this.#wanted;
      if (wanted !== undefined) await this.#check(wanted);
      if (wanted !== this.#wanted) continue;
      const woken = new AbortController();
      this.#wake = () => woken.abort();
      const restMs = wanted === undefined ? Number.POSITIVE_INFINITY : RECHECK_MS;
      await sleep(this.#options.clock, restMs, AbortSignal.any([signal, woken.signal]));
      this.#wake = () => {};
    }
  }

  async #check(wanted: string): Promise<void> {
    const before = [this.isKnown, this.isHeeded].join();
    try {
      this.#own = await this.#options.ownUid();
    } catch {
      // Without a token nobody speaks for this account, nor against it.
    }
    if (wanted !== this.#wanted) return;
    this.#checked = wanted;
    if ([this.isKnown, this.isHeeded].join() !== before) this.#options.onChange();
  }
}
