import type { Change } from './change-feed.ts';
import type { KubeClient } from './client.ts';
import type { Clock } from './clock.ts';
import type { KubeObject } from './objects.ts';
import type { Resource } from './resources.ts';
import type { RestartReason } from './watch-end.ts';

export interface ReflectorTimings {
  /** First wait after a failure. */
  readonly baseBackoffMs: number;
  readonly maxBackoffMs: number;
  /** A watch that lasted this long ends a series of failures. */
  readonly healthyMs: number;
  /**
   * Without event and bookmark for this long, a watch may be dead. Bookmarks come each minute, but the first one of a watch was
   * seen after two, and it may have been one minute since the last one of the watch before.
   */
  readonly silentMs: number;
  /** For the answer that tells whether it is. */
  readonly probeTimeoutMs: number;
  /** The server ends a watch after a time between these. */
  readonly minWatchSeconds: number;
  readonly maxWatchSeconds: number;
  /** After which a change that the handler threw at is offered again. */
  readonly resyncMs: number;
}

export const defaultTimings: ReflectorTimings = {
  baseBackoffMs: 800,
  maxBackoffMs: 30_000,
  healthyMs: 10_000,
  silentMs: 190_000,
  probeTimeoutMs: 10_000,
  minWatchSeconds: 300,
  maxWatchSeconds: 600,
  resyncMs: 30_000,
};

export interface ReflectorState {
  readonly phase: 'idle' | 'listing' | 'watching' | 'waiting' | 'stopped';
  /** Of the last thing that went wrong, until the server was seen to work again; absent while all is well. */
  readonly reason?: RestartReason;
  readonly message?: string;
}

export interface ReflectorLog {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly reason?: RestartReason;
  readonly error?: unknown;
  readonly retryInMs?: number;
}

/** What a reflector tells of itself; see kube/reflector-metrics.ts. */
export interface ReflectorObserver {
  /** Called when run() begins; what it returns, when it ends. */
  track(name: string, gauges: { ageSeconds(): number; objects(): number }): () => void;
  restarted(name: string, reason: RestartReason): void;
  listFailed(name: string): void;
  handlerFailed(name: string): void;
}

export interface ReflectorOptions<T extends KubeObject> {
  readonly client: KubeClient;
  readonly resource: Resource;
  readonly namespace?: string;
  readonly fieldSelector?: string;
  readonly labelSelector?: string;
  readonly metadataOnly?: boolean;
  /** In logs and metrics. */
  readonly name: string;
  /** What is kept of an object; default: all but managedFields. May change the object that it is given. */
  readonly transform?: (object: T) => T;
  /**
   * Called in order, and never waited for: put a key into a queue and return. A change at which it throws is offered again after
   * `resyncMs` or with the object's next change, so it must bear to be told twice. An update by way of a list may have the
   * resourceVersion or generation that `previous` had and still be another state: the store was restored and changed again.
   */
  readonly onChange: (change: Change<T>) => unknown;
  /** Once, after the changes of the first complete list. */
  readonly onSynced?: () => unknown;
  readonly metrics?: ReflectorObserver;
  readonly log?: (entry: ReflectorLog) => void;
  readonly timings?: Partial<ReflectorTimings>;
  /** Objects a page; default 500. Less for kinds with large objects; it takes fewer by itself when a page is too long. */
  readonly pageSize?: number;
  /** 0 to below 1. */
  readonly random?: () => number;
  readonly clock?: Clock;
}
