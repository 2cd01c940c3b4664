import type { Address } from '../support/address.ts';

/**
 * What a vote came to: `repeat` of a fresh target, `counted` as a new one below the threshold, `nth` the one that
 * reaches it, or `settled`: the source became a block a moment ago.
 */
export type Vote =
  | { readonly kind: 'repeat' | 'counted' | 'settled' }
  /** Ports of the N targets, this one's first, then by when each was seen last. */
  | { readonly kind: 'nth'; readonly ports: readonly number[] };

interface Candidate {
  readonly owner: number;
  readonly source: Address;
  readonly target: Address;
  readonly port: number;
  readonly now: number;
  /** N: how many distinct targets make a scanner. */
  readonly threshold: number;
  readonly windowTicks: number;
}

/** A block is in the table at once, but another CPU that has already missed it may vote a little later. */
const SETTLED_TICKS = 2;

/** Distinct targets in a sliding window, for each policy and masked source. Nothing is ever evicted here. */
export class Votes {
  readonly #targets = new Map<string, Map<bigint, { seen: number; port: number }>>();
  readonly #settled = new Map<string, number>();

  cast({ owner, source, target, port, now, threshold, windowTicks }: Candidate): Vote {
    // Nothing is remembered of a source whose first vote decides, not even that it has voted.
    if (threshold <= 1) return { kind: 'nth', ports: [port] };
    const voter = `${owner} ${source}`;
    if (now - (this.#settled.get(voter) ?? -SETTLED_TICKS) < SETTLED_TICKS) return { kind: 'settled' };
    const targets = this.#targets.get(voter) ?? new Map();
    const pair = (target << 16n) | BigInt(port);
    for (const [stale, { seen }] of targets) if (now - seen >= windowTicks) targets.delete(stale);
    // Deleted and set again, so that a Map's order of insertion is the order of last sight.
    const repeat = targets.delete(pair);
    if (!repeat && targets.size >= threshold - 1) {
      this.#targets.delete(voter);
      this.#settled.set(voter, now);
      return { kind: 'nth', ports: [port, ...[...targets.values()].reverse().map((other) => other.port)] };
    }
    targets.set(pair, { seen: now, port });
    this.#targets.set(voter, targets);
    return { kind: repeat ? 'repeat' : 'counted' };
  }
}
