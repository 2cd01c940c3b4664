import type { KubeClient } from './client.ts';
import { type Clock, sleep, systemClock, TimedOut, withTimeout } from './clock.ts';
import { isConflict, isNotFound, KubeError } from './errors.ts';
import { heldLease, type Lease, newLease, releasedLease } from './lease.ts';
import { resources } from './resources.ts';

export interface LeaderTimings {
  /** How long others leave a leader alone that gives no sign of life. */
  readonly leaseDurationMs: number;
  /** How long a leader goes on when it cannot renew; below `leaseDurationMs`, so that it has stopped before another starts. */
  readonly renewDeadlineMs: number;
  /** Between renewals, and between the looks of those who wait. */
  readonly retryPeriodMs: number;
  /** Of one request; half of the deadline leaves room for a second one on a new connection. */
  readonly requestTimeoutMs: number;
  /** How long the work may take to end before the lease is left to run out instead of being given away. */
  readonly stopTimeoutMs: number;
}

/** The times that Kubernetes' own components use. */
export const leaderTimings: LeaderTimings = {
  leaseDurationMs: 15_000,
  renewDeadlineMs: 10_000,
  retryPeriodMs: 2_000,
  requestTimeoutMs: 5_000,
  stopTimeoutMs: 10_000,
};

/** `gained`: this process leads now; `released`: it gave the lease away; `lost`: it no longer leads, and the lease runs out. */
export type LeaderChange = 'gained' | 'released' | 'lost';

export interface LeaderOptions {
  /** A client of its own, so that no other request stands in the way of a renewal. Closed by the caller. */
  readonly client: KubeClient;
  readonly namespace: string;
  /** Of the Lease. */
  readonly name: string;
  /** Unique to this process: `<pod>_<random>`. Who has it is taken for this process. */
  readonly identity: string;
  readonly timings?: Partial<LeaderTimings>;
  /** What only the leader does. To end when `signal` aborts; when it ends by itself, the lease is given away. */
  readonly leading: (signal: AbortSignal) => Promise<void>;
  readonly clock?: Clock;
  readonly random?: () => number;
  /** A look or a renewal failed; it is tried again. */
  readonly onError?: (error: unknown) => void;
  /** Somebody else has the lease now; empty: nobody. */
  readonly onHolder?: (identity: string) => void;
  readonly onChange?: (change: LeaderChange) => void;
}

/** Why the work of a leader is stopped although nobody asked for it. */
export class LeadershipLost extends Error {
  constructor(name: string, why: string) {
    super(`the lease ${name} is lost: ${why}`);
    this.name = 'LeadershipLost';
  }
}

/**
 * Takes part in the election of a leader by a Lease.
 *
 * Never two at once, whatever the wall clocks say: times in the Lease are for people. A leader counts from when it sent its last
 * successful renewal, the others from when they saw its result, which is later; and no write goes through that does not know
 * the newest resourceVersion. A process that was stopped altogether, or a host that slept, finds out with its first
 * renewal: what must not be done twice even then has to look at `isLeader` itself, or to write with a resourceVersion.
 */
export class LeaderElector {
  readonly #options: LeaderOptions;
  readonly #timings: LeaderTimings;
  readonly #clock: Clock;
  readonly #random: () => number;
  /** As it was seen last; undefined: there is none. */
  #lease: Lease | undefined;
  /** When a change of it was seen last, and what it looked like. */
  #seenAtMs = Number.NEGATIVE_INFINITY;
  #seen: string | undefined;
  /** How long its last holder is to be left alone. */
  #holdMs = 0;
  #leadsUntilMs = Number.NEGATIVE_INFINITY;
  #isLeading = false;
  /** A write was sent of which nobody knows what became. */
  #isUncertain = false;

  constructor(options: LeaderOptions) {
    this.#options = options;
    this.#timings = { ...leaderTimings, ...options.timings };
    const { leaseDurationMs, renewDeadlineMs, retryPeriodMs, requestTimeoutMs } = this.#timings;
    if (!(retryPeriodMs > 0 && retryPeriodMs < renewDeadlineMs && renewDeadlineMs < leaseDurationMs)) {
      throw new RangeError(
        `lease duration ${leaseDurationMs} ms, renew deadline ${renewDeadlineMs} ms, retry period ${retryPeriodMs} ms: ` +
          'each must be longer than the next, and the last above 0',
      );
    }
    if (!(requestTimeoutMs > 0)) throw new RangeError(`request timeout ${requestTimeoutMs} ms: give a time above 0`);
    if (options.identity === '') throw new RangeError('the identity is empty, which in a Lease means nobody');
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
  }

  /** False from the moment on at which another may lead, also while this process has had no time to notice. */
  get isLeader(): boolean {
    return this.#isLeading && this.#clock.nowMs() < this.#leadsUntilMs;
  }

  /** Who has the lease, as far as is known; empty: nobody. */
  get holder(): string {
    return this.#lease?.spec?.holderIdentity ?? '';
  }

  /**
   * Waits for the lease, runs `leading` and ends when that has: 'stopped' after `signal` has aborted or the work has ended by
   * itself; 'lost' when the lease could not be held, whereupon the process had better exit. Rejects with what `leading` threw.
   */
  async run(signal: AbortSignal): Promise<'stopped' | 'lost'> {
    if (await this.#acquire(signal)) return this.#lead(signal);
    if (this.#isUncertain || this.holder === this.#options.identity) await this.#release(true);
    return 'stopped';
  }

  async #acquire(signal: AbortSignal): Promise<boolean> {
    const { retryPeriodMs, leaseDurationMs } = this.#timings;
    while (!signal.aborted) {
      // Never longer than the period: a lease that was given away is taken within it.
      let waitMs = retryPeriodMs * (0.8 + 0.2 * this.#random());
      try {
        if (await this.#tryAcquire(signal)) return true;
      } catch (error) {
        if (signal.aborted) return false;
        if (!isConflict(error)) this.#options.onError?.(error);
        if (error instanceof KubeError) waitMs = Math.max(waitMs, Math.min(error.retryAfterMs ?? 0, leaseDurationMs));
      }
      await sleep(this.#clock, waitMs, signal);
    }
    return false;
  }

  async #tryAcquire(signal: AbortSignal): Promise<boolean> {
    await this.#read(signal, this.#timings.requestTimeoutMs);
    if (!this.#isFree()) return false;
    await this.#write(signal, this.#timings.requestTimeoutMs);
    // An answer that took too long is of no use: the next look finds this process as the holder.
    return this.#clock.nowMs() < this.#leadsUntilMs;
  }

  #isFree(): boolean {
    const { holder } = this;
    if (holder === this.#options.identity) return true;
    // One that was given away is free. One that somebody deleted is not: its holder may not know yet.
    if (holder === '' && this.#holdMs === 0) return true;
    return this.#clock.nowMs() >= this.#seenAtMs + this.#holdMs;
  }

  async #lead(signal: AbortSignal): Promise<'stopped' | 'lost'> {
    const { leaseDurationMs, renewDeadlineMs, stopTimeoutMs } = this.#timings;
    const work = new AbortController();
    const ended = new AbortController();
    const onStop = () => {
      work.abort(signal.reason);
      cancel = this.#clock.startTimer(stopTimeoutMs, () => ended.abort());
    };
    let cancel = () => {};
    let failure: { readonly error: unknown } | undefined;
    let hasEnded = false;
    this.#isLeading = true;
    this.#options.onChange?.('gained');
    const hook = this.#work(work.signal).then((result) => {
      failure = result;
      hasEnded = true;
      ended.abort();
    });
    if (signal.aborted) onStop();
    else signal.addEventListener('abort', onStop, { once: true });
    try {
      const loss = await this.#keep(ended.signal);
      this.#isLeading = false;
      if (loss !== undefined) {
        this.#options.onChange?.('lost');
        work.abort(loss);
        // The other half of the time until another may start is left to the process for its exit.
        const patience = new AbortController();
        void hook.then(() => patience.abort());
        await sleep(this.#clock, (leaseDurationMs - renewDeadlineMs) / 2, patience.signal);
      } else if (hasEnded) {
        await this.#release(false);
        this.#options.onChange?.('released');
      } else {
        this.#options.onChange?.('lost');
        this.#options.onError?.(
          new Error(`the leader's work did not end within ${stopTimeoutMs} ms: the lease is left to run out`),
        );
      }
      if (failure !== undefined) throw failure.error;
      return loss === undefined ? 'stopped' : 'lost';
    } finally {
      signal.removeEventListener('abort', onStop);
      cancel();
    }
  }

  /** What it threw, unless that is only the echo of its being stopped. */
  async #work(signal: AbortSignal): Promise<{ readonly error: unknown } | undefined> {
    try {
      await this.#options.leading(signal);
    } catch (error) {
      const isEcho = error === signal.reason || (error instanceof Error && error.name === 'AbortError');
      if (!(signal.aborted && isEcho)) return { error };
    }
    return undefined;
  }

  /** Renews until `until` aborts, which gives undefined, or until that is no longer possible, which gives the reason. */
  async #keep(until: AbortSignal): Promise<LeadershipLost | undefined> {
    const { retryPeriodMs, renewDeadlineMs, requestTimeoutMs } = this.#timings;
    const { name, identity } = this.#options;
    let waitMs = retryPeriodMs;
    let isConflicting = false;
    const leftMs = () => this.#leadsUntilMs - this.#clock.nowMs();
    for (;;) {
      await sleep(this.#clock, Math.min(waitMs, leftMs()), until);
      if (leftMs() <= 0) return new LeadershipLost(name, `no renewal within ${renewDeadlineMs} ms`);
      if (until.aborted) return undefined;
      const startedMs = this.#clock.nowMs();
      try {
        await this.#write(undefined, Math.min(requestTimeoutMs, leftMs()));
        isConflicting = false;
        waitMs = retryPeriodMs;
      } catch (error) {
        // What was spent on waiting for an answer need not be waited once more.
        waitMs = Math.max(0, retryPeriodMs - (this.#clock.nowMs() - startedMs));
        if (!isConflict(error) && !isNotFound(error)) {
          this.#options.onError?.(error);
          continue;
        }
        if (leftMs() <= 0) continue;
        // An earlier renewal whose answer was lost, somebody who labelled it or deleted it, or another leader.
        await this.#read(undefined, Math.min(requestTimeoutMs, leftMs())).catch(this.#options.onError ?? (() => {}));
        if (this.#lease !== undefined && this.holder !== identity) {
          return new LeadershipLost(name, this.holder === '' ? 'somebody emptied it' : `${this.holder} has it`);
        }
        if (!isConflicting) waitMs = 0;
        isConflicting = true;
      }
    }
  }

  async #release(mustLook: boolean): Promise<void> {
    const { client, namespace, identity } = this.#options;
    const { requestTimeoutMs } = this.#timings;
    try {
      if (mustLook) await this.#read(undefined, requestTimeoutMs);
      // A renewal whose answer was lost makes the first try fail.
      for (let tries = 0; tries < 3 && this.#lease !== undefined && this.holder === identity; tries++) {
        const lease = releasedLease(this.#lease, this.#clock.wallMs());
        try {
          const released = await this.#request('release the lease', requestTimeoutMs, undefined, (signal) =>
            client.replace<Lease>(resources.leases, lease, { namespace, signal }),
          );
          this.#observe(released);
          return;
        } catch (error) {
          if (!isConflict(error)) throw error;
          await this.#read(undefined, requestTimeoutMs);
        }
      }
    } catch (error) {
      // Then it runs out by itself.
      this.#options.onError?.(error);
    }
  }

  async #read(signal: AbortSignal | undefined, timeoutMs: number): Promise<void> {
    const { client, namespace, name } = this.#options;
    const lease = await this.#request('read the lease', timeoutMs, signal, (stop) =>
      client.get<Lease>(resources.leases, name, { namespace, signal: stop }).catch((error: unknown) => {
        if (isNotFound(error)) return undefined;
        throw error;
      }),
    );
    this.#observe(lease);
  }

  /** Takes or renews the lease, on the condition that it still is as it was seen last. */
  async #write(signal: AbortSignal | undefined, timeoutMs: number): Promise<void> {
    const { client, namespace, name, identity } = this.#options;
    const { leaseDurationMs, renewDeadlineMs } = this.#timings;
    const before = this.#lease;
    const sentMs = this.#clock.nowMs();
    const writer = { identity, leaseDurationMs, wallMs: this.#clock.wallMs() };
    this.#isUncertain = true;
    try {
      const lease = await this.#request('write the lease', timeoutMs, signal, (stop) =>
        before === undefined
          ? client.create<Lease>(resources.leases, newLease(namespace, name, writer), { namespace, signal: stop })
          : client.replace<Lease>(resources.leases, heldLease(before, writer), { namespace, signal: stop }),
      );
      this.#isUncertain = false;
      this.#leadsUntilMs = sentMs + renewDeadlineMs;
      this.#observe(lease);
    } catch (error) {
      if (error instanceof KubeError && error.status >= 400 && error.status < 500) this.#isUncertain = false;
      throw error;
    }
  }

  /** To be called when an answer has come: a change was made before that, so that waiting from now on is waiting enough. */
  #observe(lease: Lease | undefined): void {
    const { holder } = this;
    this.#lease = lease;
    // The resourceVersion alone would not do: a restored etcd gives the same ones again.
    const seen = JSON.stringify([lease?.metadata.uid, lease?.metadata.resourceVersion, lease?.spec]);
    if (seen !== this.#seen) {
      this.#seen = seen;
      this.#seenAtMs = this.#clock.nowMs();
    }
    const seconds = lease?.spec?.leaseDurationSeconds;
    if (this.holder !== '') this.#holdMs = seconds === undefined ? this.#timings.leaseDurationMs : seconds * 1000;
    else if (lease !== undefined) this.#holdMs = 0;
    if (this.holder !== holder && this.holder !== this.#options.identity) this.#options.onHolder?.(this.holder);
  }

  async #request<T>(
    what: string,
    timeoutMs: number,
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    try {
      return await withTimeout(this.#clock, what, timeoutMs, signal, work);
    } catch (error) {
      // The connection may be stuck; the next request must not wait on it as well.
      if (error instanceof TimedOut) this.#options.client.reconnect();
      throw error;
    }
  }
}
