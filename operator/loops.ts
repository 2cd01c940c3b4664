import type { Clock } from '../kube/clock.ts';
import type { ReflectorState } from '../kube/reflector.ts';

/** A copy of a collection, as its health is judged. */
export interface WatchedLoop {
  readonly name: string;
  readonly hasSynced: boolean;
  readonly lastEventAtMs: number | undefined;
  readonly state: ReflectorState;
}

/** A reflector takes a watch for dead after two minutes; one that has done nothing for so long hangs itself. */
const stuckMs = 15 * 60_000;

/** Which loops run and whether they get on: what /healthz and /readyz say. */
export class Loops {
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #watched: readonly WatchedLoop[];
  readonly #needed: readonly WatchedLoop[];
  /** Those that should run and do not any more. */
  readonly #ended = new Set<string>();
  #isStopping = false;

  constructor(clock: Clock, watched: readonly WatchedLoop[], needed: readonly WatchedLoop[]) {
    this.#clock = clock;
    this.#startedMs = clock.nowMs();
    this.#watched = watched;
    this.#needed = needed;
  }

  /** From now on, ends are meant. */
  stopping(): void {
    this.#isStopping = true;
  }

  /** Gives back what `loop` gives, and takes note of its end. */
  async track<T>(name: string, loop: Promise<T>): Promise<T> {
    try {
      return await loop;
    } finally {
      if (!this.#isStopping) this.#ended.add(name);
    }
  }

  /** Empty when every loop is alive, else which is not. An API server that is away is no reason to be restarted. */
  notLive(): string {
    if (this.#ended.size > 0) return `ended: ${[...this.#ended].join(', ')}`;
    const nowMs = this.#clock.nowMs();
    const stuck = this.#watched.filter(({ state, lastEventAtMs }) => {
      // With a reason it knows that something is wrong, and tries again.
      return state.reason === undefined && nowMs - (lastEventAtMs ?? this.#startedMs) > stuckMs;
    });
    return stuck.length === 0 ? '' : `stuck: ${stuck.map(({ name }) => name).join(', ')}`;
  }

  /** Empty when this replica could lead at once: every collection that is needed has been read. */
  notReady(): string {
    const missing = this.#needed.filter(({ hasSynced }) => !hasSynced);
    if (missing.length === 0) return this.notLive();
    return `not read yet: ${missing.map(({ name, state }) => (state.message === undefined ? name : `${name} (${state.message})`)).join(', ')}`;
  }
}
