import { Backoff } from './backoff.ts';
import { type Change, ChangeFeed } from './change-feed.ts';
import { type Clock, sleep, systemClock, TimedOut, withTimeout } from './clock.ts';
import { errorOfStatus, isConnection, isTooLong, KubeError, malformed } from './errors.ts';
import { type KubeList, type KubeObject, keyOf, type WatchEvent } from './objects.ts';
import { type Found, ReflectedItems } from './reflected-items.ts';
import {
  defaultTimings,
  type ReflectorLog,
  type ReflectorOptions,
  type ReflectorState,
  type ReflectorTimings,
} from './reflector-options.ts';
import { pathOf } from './resources.ts';
import { type RestartReason, stepAfter } from './watch-end.ts';

export type { Change } from './change-feed.ts';
export type {
  ReflectorLog,
  ReflectorObserver,
  ReflectorOptions,
  ReflectorState,
  ReflectorTimings,
} from './reflector-options.ts';
export type { RestartReason } from './watch-end.ts';

/** No longer than this, whatever a server asks for: it may have been an outage that is over. */
const maxRetryAfterMs = 300_000;

interface End {
  readonly reason: RestartReason;
  readonly next: 'watch' | 'list';
  /** The stream had been open, long enough to say that the server works. */
  readonly wasHealthy: boolean;
  readonly error?: unknown;
}

/**
 * Nobody puts a store back to an older state in less. After a longer absence what is there is listed: the store may have come to
 * the version that is watched from a second time, with other changes before it.
 */
const minRestoreMs = 2000;

class Silent extends Error {}

/**
 * Keeps a copy of a collection: lists it in pages, then watches it, and begins anew whatever happens, until it is told to stop.
 * It never gives up and never empties the copy because the server cannot be asked.
 */
export class Reflector<T extends KubeObject> {
  readonly #options: ReflectorOptions<T>;
  readonly #timings: ReflectorTimings;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #backoff: Backoff;
  readonly #items: ReflectedItems<T>;
  readonly #feed: ChangeFeed<T>;
  #hasSynced = false;
  #lastEventAtMs: number | undefined;
  #state: ReflectorState = { phase: 'idle' };
  /** To watch from; undefined: list first. */
  #resourceVersion: string | undefined;
  /** Since when something is wrong, so that the server is not known to have `#resourceVersion` any more; undefined: it is. */
  #unsureSinceMs: number | undefined;
  /** Lists in a row whose continue token expired between two pages. */
  #expiredLists = 0;
  #pageSize: number;
  #cancelResync: (() => void) | undefined;
  #isRunning = false;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#pageSize = options.pageSize ?? 500;
    this.#timings = { ...defaultTimings, ...options.timings };
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    const { baseBackoffMs, maxBackoffMs } = this.#timings;
    this.#backoff = new Backoff({ baseMs: baseBackoffMs, maxMs: maxBackoffMs, random: this.#random });
    this.#feed = new ChangeFeed(options.onChange, (error, change) => this.#handlerFailed(error, change));
    this.#items = new ReflectedItems(this.#feed);
  }

  /** By keyOf(); one Map for the life of the reflector. */
  get items(): ReadonlyMap<string, T> {
    return this.#items.all;
  }

  /** The collection was listed completely at least once. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** When the server last told something of this collection, on the monotonic clock; undefined before. */
  get lastEventAtMs(): number | undefined {
    return this.#lastEventAtMs;
  }

  get state(): ReflectorState {
    return this.#state;
  }

  /** Resolves after `signal` aborted and the last stream is closed; never rejects. Once only. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#isRunning) throw new Error(`reflector ${this.#options.name} runs already`);
    this.#isRunning = true;
    const startedMs = this.#clock.nowMs();
    const untrack = this.#options.metrics?.track(this.#options.name, {
      ageSeconds: () => (this.#clock.nowMs() - (this.#lastEventAtMs ?? startedMs)) / 1000,
      objects: () => this.#items.all.size,
    });
    try {
      while (!signal.aborted) {
        const unsureForMs = this.#clock.nowMs() - (this.#unsureSinceMs ?? Number.POSITIVE_INFINITY);
        if (unsureForMs > minRestoreMs) this.#resourceVersion = undefined;
        const end = this.#resourceVersion === undefined ? await this.#list(signal) : await this.#watch(signal);
        if (signal.aborted) break;
        if (end !== undefined) await this.#pause(end, signal);
      }
    } finally {
      this.#cancelResync?.();
      this.#cancelResync = undefined;
      this.#state = { phase: 'stopped' };
      untrack?.();
    }
  }

  async #pause(end: End, signal: AbortSignal): Promise<void> {
    const { reason, next, wasHealthy, error } = end;
    if (next === 'list') this.#resourceVersion = undefined;
    if (wasHealthy) this.#backoff.reset();
    // A server that ends a watch in its time is no failure, but all its watchers should not come back at once.
    const isRegular = reason === 'ended' && wasHealthy;
    if (reason !== 'ended' && reason !== 'silent') this.#unsureSinceMs ??= this.#clock.nowMs();
    const ownMs = isRegular ? this.#random() * this.#timings.baseBackoffMs : this.#backoff.nextMs();
    const askedMs = error instanceof KubeError ? Math.min(error.retryAfterMs ?? 0, maxRetryAfterMs) : 0;
    const retryInMs = askedMs > 0 ? Math.max(ownMs, askedMs * (1 + this.#random() / 4)) : ownMs;
    const message = this.#describe(end);
    this.#state = isRegular ? { phase: 'waiting' } : { phase: 'waiting', reason, message };
    const isHarmless = reason === 'ended' || reason === 'expired' || (reason === 'silent' && next === 'watch');
    const level = isHarmless ? 'debug' : 'warn';
    this.#log({ level, message, reason, retryInMs, ...(error === undefined ? {} : { error }) });
    await sleep(this.#clock, retryInMs, signal);
  }

  #describe({ reason, error }: End): string {
    const { resource } = this.#options;
    const path = pathOf(resource);
    if (reason === 'ended') return `${path}: the server ended the watch`;
    if (reason === 'silent') {
      const why = error === undefined ? 'it is opened anew' : error instanceof Error ? error.message : String(error);
      return `${path}: nothing came for ${this.#timings.silentMs} ms: ${why}`;
    }
    if (reason === 'kind-missing') {
      return `${path}: the server does not know ${resource.kind}: install the CustomResourceDefinitions`;
    }
    return error instanceof Error ? error.message : `${path}: ${String(error)}`;
  }

  #log(entry: ReflectorLog): void {
    try {
      this.#options.log?.(entry);
    } catch {
      // Who logs has trouble of its own; the copy must not suffer from it.
    }
  }

  /** All pages; undefined when done. */
  async #list(signal: AbortSignal): Promise<End | undefined> {
    this.#state = { ...this.#state, phase: 'listing' };
    try {
      const { found, resourceVersion } = await this.#readPages(signal);
      this.#expiredLists = 0;
      this.#lastEventAtMs = this.#clock.nowMs();
      this.#items.replace(found);
      this.#resourceVersion = resourceVersion;
      this.#unsureSinceMs = undefined;
      this.#state = { phase: 'listing' };
    } catch (error) {
      if (signal.aborted) return undefined;
      this.#options.metrics?.listFailed(this.#options.name);
      const { reason } = stepAfter(error);
      if (reason === 'expired') this.#expiredLists++;
      return { reason, next: 'list', wasHealthy: false, error };
    }
    if (!this.#hasSynced) {
      this.#hasSynced = true;
      this.#callSynced();
    }
    return undefined;
  }

  async #readPages(signal: AbortSignal): Promise<{ found: Map<string, Found<T>>; resourceVersion: string }> {
    const found = new Map<string, Found<T>>();
    let token: string | undefined;
    for (;;) {
      const page = await this.#readPage(token, signal);
      signal.throwIfAborted();
      const { resourceVersion, continue: more } = page.metadata ?? {};
      // An empty list of some servers is null.
      for (const raw of page.items ?? []) {
        const print = this.#printOf(this.#checked(raw));
        const object = this.#transform(raw);
        found.set(keyOf(object), { object, print });
      }
      if (!more) {
        if (!resourceVersion) throw new KubeError({ message: 'a list without resourceVersion', code: malformed });
        return { found, resourceVersion };
      }
      token = more;
    }
  }

  async #readPage(token: string | undefined, signal: AbortSignal): Promise<KubeList<T>> {
    const { client, resource } = this.#options;
    for (;;) {
      // Where a list takes longer than the server keeps a snapshot, pages can never end.
      const limit = this.#expiredLists >= 2 ? undefined : this.#pageSize;
      try {
        // Never with a resourceVersion: only so the answer is what the store holds now, be it older than what was seen before.
        const page = await client.list<T>(resource, {
          ...this.#selection(),
          ...(limit === undefined ? {} : { limit }),
          ...(token === undefined ? {} : { continue: token }),
          signal,
        });
        return this.#checkedList(page);
      } catch (error) {
        if (!isTooLong(error) || limit === 1) throw error;
        // Somebody made objects as large as the store takes: fewer at a time fit, and nobody is kept from the others.
        if (limit === undefined) this.#expiredLists = 0;
        else this.#pageSize = Math.max(1, Math.floor(limit / 4));
      }
    }
  }

  /** A list of another kind, as of a server that was mistaken for this one, must not read as "there are none". */
  #checkedList(page: KubeList<T>): KubeList<T> {
    const { kind } = this.#options.resource;
    const given = (page as { kind?: unknown } | null)?.kind;
    if ([undefined, 'List', `${kind}List`, 'PartialObjectMetadataList'].includes(given as string)) return page;
    throw new KubeError({ message: `${pathOf(this.#options.resource)}: no list of ${kind}`, code: malformed });
  }

  #selection() {
    const { namespace, fieldSelector, labelSelector, metadataOnly } = this.#options;
    return {
      ...(namespace === undefined ? {} : { namespace }),
      ...(fieldSelector === undefined ? {} : { fieldSelector }),
      ...(labelSelector === undefined ? {} : { labelSelector }),
      ...(metadataOnly === undefined ? {} : { metadataOnly }),
    };
  }

  async #watch(signal: AbortSignal): Promise<End | undefined> {
    if (this.#unsureSinceMs !== undefined) {
      const end = await this.#verify(signal);
      if (end !== undefined || signal.aborted) return end;
      this.#unsureSinceMs = undefined;
    }
    const { client, resource, name, metrics } = this.#options;
    const { minWatchSeconds, maxWatchSeconds, healthyMs } = this.#timings;
    const startedMs = this.#clock.nowMs();
    // What went wrong is over when something came, or when nothing went wrong for a while.
    this.#state = { ...this.#state, phase: 'watching' };
    const settle = () => {
      if (this.#state.phase === 'watching' && this.#state.reason !== undefined) this.#state = { phase: 'watching' };
    };
    const cancelSettle = this.#clock.startTimer(healthyMs, settle);
    const stop = new AbortController();
    const onAbort = () => stop.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const cancelWatchdog = this.#startWatchdog(stop);
    let wasOpen = false;
    let end: Omit<End, 'wasHealthy'>;
    try {
      const timeoutSeconds = Math.round(minWatchSeconds + this.#random() * (maxWatchSeconds - minWatchSeconds));
      const options = { ...this.#selection(), resourceVersion: this.#resourceVersion ?? '', timeoutSeconds };
      for await (const event of client.watch<T>(resource, { ...options, signal: stop.signal })) {
        wasOpen = true;
        this.#lastEventAtMs = this.#clock.nowMs();
        this.#apply(event);
        settle();
      }
      wasOpen = true;
      end = { reason: 'ended', next: 'watch' };
    } catch (error) {
      if (signal.aborted) return undefined;
      if (stop.signal.reason instanceof Silent) {
        wasOpen = true;
        end = await this.#probe(signal);
        if (signal.aborted) return undefined;
      } else {
        const step = stepAfter(error);
        wasOpen ||= step.reason === 'broken';
        end = { ...step, error };
      }
    } finally {
      cancelWatchdog();
      cancelSettle();
      signal.removeEventListener('abort', onAbort);
    }
    if (!signal.aborted) metrics?.restarted(name, end.reason);
    return { ...end, wasHealthy: wasOpen && this.#clock.nowMs() - startedMs >= healthyMs };
  }

  /**
   * What to do about a silent watch. It is right to be silent where nothing happens and etcd seldom tells its progress: then a look
   * at one name shows that the connection lives and the server has the version that is watched from. A server that has not was put
   * back to an older state, and would be silent for ever.
   */
  async #probe(signal: AbortSignal): Promise<Omit<End, 'wasHealthy'>> {
    try {
      await this.#lookForVersion(signal);
      this.#lastEventAtMs = this.#clock.nowMs();
      return { reason: 'silent', next: 'watch' };
    } catch (error) {
      if (error instanceof TimedOut || isConnection(error)) this.#options.client.reconnect();
      return { reason: 'silent', next: 'list', error };
    }
  }

  /**
   * Whether the server still has the version to watch from. While a connection was broken, the store may have been put back to an
   * older state: a watch from a version that it has yet to come to would miss all that happens until then.
   */
  async #verify(signal: AbortSignal): Promise<End | undefined> {
    try {
      await this.#lookForVersion(signal);
      return undefined;
    } catch (error) {
      if (signal.aborted) return undefined;
      const isDead = error instanceof TimedOut;
      if (isDead) this.#options.client.reconnect();
      const step = isDead ? ({ reason: 'broken', next: 'watch' } as const) : stepAfter(error);
      this.#options.metrics?.restarted(this.#options.name, step.reason);
      return { ...step, wasHealthy: false, error };
    }
  }

  /** Rejects when the server has not come to the version that is watched from. */
  async #lookForVersion(signal: AbortSignal): Promise<void> {
    const { client, resource } = this.#options;
    const look = {
      ...this.#selection(),
      metadataOnly: true,
      limit: 1,
      resourceVersion: this.#resourceVersion ?? '',
      resourceVersionMatch: 'NotOlderThan',
    } as const;
    await withTimeout(this.#clock, pathOf(resource), this.#timings.probeTimeoutMs, signal, (inner) =>
      client.list(resource, { ...look, signal: inner }),
    );
  }

  /**
   * Counts from the last sign of life and not from the opening of the watch: when one dead watch makes the client drop the
   * connection, its neighbours, which open theirs anew from a version that may not exist any more, find out at once too.
   */
  #startWatchdog(stop: AbortController): () => void {
    const { silentMs } = this.#timings;
    let cancel = () => {};
    const arm = () => {
      const dueMs = (this.#lastEventAtMs ?? 0) + silentMs;
      const leftMs = dueMs - this.#clock.nowMs();
      if (leftMs <= 0) stop.abort(new Silent());
      else cancel = this.#clock.startTimer(leftMs, arm);
    };
    arm();
    return () => cancel();
  }

  #apply(event: WatchEvent<T>): void {
    switch (event.type) {
      case 'BOOKMARK':
        this.#advance(event.object.metadata?.resourceVersion);
        return;
      case 'ERROR':
        throw errorOfStatus(`WATCH ${pathOf(this.#options.resource)}`, 500, event.object);
      case 'ADDED':
      case 'MODIFIED': {
        const print = this.#printOf(this.#checked(event.object));
        const object = this.#transform(event.object);
        this.#items.upsert(object, print);
        this.#advance(object.metadata.resourceVersion);
        return;
      }
      case 'DELETED': {
        const object = this.#checked(event.object);
        const { resourceVersion } = object.metadata;
        const held = this.#items.all.get(keyOf(object));
        if (held !== undefined && held.metadata.uid === object.metadata.uid) this.#items.remove(keyOf(object));
        this.#advance(resourceVersion);
        return;
      }
      default:
        throw new KubeError({ message: `unknown watch event ${JSON.stringify(event)}`, code: malformed });
    }
  }

  #advance(resourceVersion: string | undefined): void {
    if (!resourceVersion) throw new KubeError({ message: 'a watch event without resourceVersion', code: malformed });
    this.#resourceVersion = resourceVersion;
  }

  #checked(object: T): T {
    if (typeof object?.metadata?.name !== 'string' || object.metadata.name === '') {
      throw new KubeError({ message: `${pathOf(this.#options.resource)}: an object without a name`, code: malformed });
    }
    return object;
  }

  #transform(object: T): T {
    const { transform = dropManagedFields } = this.#options;
    try {
      return transform(object);
    } catch (error) {
      // One odd object must not keep all others from being seen.
      this.#options.metrics?.handlerFailed(this.#options.name);
      this.#log({ level: 'error', message: `${this.#options.name}: transform of ${keyOf(object)} failed`, error });
      return dropManagedFields(object);
    }
  }

  /** The spec of a partial object is not to be seen, but when it was written is. */
  #printOf({ metadata }: T): string {
    if (!this.#options.metadataOnly) return '';
    const { managedFields } = metadata as { managedFields?: { manager?: string; time?: string }[] };
    return Array.isArray(managedFields) ? managedFields.map((each) => `${each?.manager} ${each?.time}`).join() : '';
  }

  #handlerFailed(error: unknown, { type, object }: Change<T>): void {
    const { name, metrics } = this.#options;
    metrics?.handlerFailed(name);
    const retryInMs = this.#timings.resyncMs;
    this.#log({ level: 'error', message: `${name}: handler failed for ${keyOf(object)} (${type})`, error, retryInMs });
    if (this.#state.phase === 'stopped') return;
    this.#cancelResync ??= this.#clock.startTimer(retryInMs, () => {
      this.#cancelResync = undefined;
      this.#feed.retry();
    });
  }

  #callSynced(): void {
    try {
      const result = this.#options.onSynced?.();
      if (result instanceof Promise) result.catch((error: unknown) => this.#syncedFailed(error));
    } catch (error) {
      this.#syncedFailed(error);
    }
  }

  #syncedFailed(error: unknown): void {
    this.#options.metrics?.handlerFailed(this.#options.name);
    this.#log({
      level: 'error',
      message: `${this.#options.name}: handler failed for the end of the first list`,
      error,
    });
  }
}

/** Who set which field is half of an object's size, and no reader asks. */
function dropManagedFields<T extends KubeObject>(object: T): T {
  delete (object.metadata as { managedFields?: unknown }).managedFields;
  return object;
}
