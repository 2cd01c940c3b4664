import type { Lifted } from './datapath/lift.ts';
import type { DesiredException } from './resolve/desired-state.ts';

/** A packet that was under way when an exception came into force may still have made a block; after that none can. */
const LIFTS = 3;
const LIFT_AGAIN_MS = 2_000;

export interface LiftResult extends Partial<Lifted> {
  /** In ms, when it is to be done once more. */
  readonly againInMs?: number;
}

/** Lifts the blocks that stand when an exception comes into force. That reads whole tables, so it is done for what is new. */
export class ExceptionLifts {
  readonly #lift: (exceptions: readonly DesiredException[]) => Promise<Lifted>;
  #known = '[]';
  #left = 0;

  constructor(lift: (exceptions: readonly DesiredException[]) => Promise<Lifted>) {
    this.#lift = lift;
  }

  /** To be called after the sources of the exceptions are allowed in the kernel. */
  async after(exceptions: readonly DesiredException[]): Promise<LiftResult> {
    const now = JSON.stringify(exceptions);
    if (now !== this.#known) this.#left = LIFTS;
    this.#known = now;
    if (this.#left === 0 || exceptions.length === 0) return {};
    const lifted = await this.#lift(exceptions);
    // Not before: what failed is to be done again.
    this.#left--;
    return this.#left > 0 ? { ...lifted, againInMs: LIFT_AGAIN_MS } : lifted;
  }
}
