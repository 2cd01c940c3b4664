import type { KubeClient } from './client.ts';
import { type Clock, sleep, systemClock, TimedOut, withTimeout } from './clock.ts';
import { isConflict, isConnection, isNotFound, KubeError } from './errors.ts';
import { type Occurrence, type Series, SeriesTable, withinBytes } from './event-series.ts';
import { microTime } from './lease.ts';
import type { NewKubeObject } from './objects.ts';
import { RateBucket } from './rate-bucket.ts';
import { resources } from './resources.ts';

export { type ObjectReference, type Occurrence, referenceTo } from './event-series.ts';

/** `evicted`: too many series at once; `refused`: by the server; `ended`: the program did before it was written. */
export type EventLoss = 'evicted' | 'refused' | 'ended';

/** What the recorder tells of itself; kube/event-metrics.ts makes metrics of it. */
export interface EventObserver {
  written(): void;
  lost(occurrences: number, why: EventLoss): void;
}

export interface EventRecorderOptions {
  readonly client: KubeClient;
  /** A qualified name, such as `portcullis.dev/operator`. */
  readonly component: string;
  /** Which of its processes: the name of the pod or node; cut at 128 bytes. */
  readonly instance: string;
  /** Of events about what has no namespace: `default` is where `kubectl describe` and the API server expect them. */
  readonly namespace?: string;
  /** Writes a minute in the long run, and at once. */
  readonly maxPerMinute?: number;
  readonly burst?: number;
  /** Series that are counted at once. */
  readonly maxSeries?: number;
  /** Between two writes of one series. */
  readonly flushMs?: number;
  /** For what is left to be written when the program ends. */
  readonly finalFlushMs?: number;
  readonly clock?: Clock;
  readonly random?: () => number;
  /** The server refused an event, or could not be reached; it is tried again in the latter case. */
  readonly onError?: (error: unknown) => void;
  readonly metrics?: EventObserver;
}

const requestTimeoutMs = 10_000;
const maxBackoffMs = 60_000;
/** After which an event is taken for refused: the others wait behind it. */
const maxTries = 12;

/** What the API admits of the name of an object, and of an instance. */
const maxNameChars = 253;
const maxInstanceBytes = 128;

/**
 * Events (events.k8s.io/v1) in which equal occurrences are one object with a count: the first is written at once, what follows
 * at most each `flushMs`, whatever happens how often. Holds a bounded number of them and counts what it loses.
 */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #namespace: string;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #series: SeriesTable;
  readonly #bucket: RateBucket;
  #failures = 0;
  #pausedUntilMs = Number.NEGATIVE_INFINITY;
  #hasEnded = false;
  #wake: () => void = () => {};

  constructor(options: EventRecorderOptions) {
    const { clock = systemClock, maxPerMinute = 60, burst = 20, maxSeries = 500, flushMs = 30_000 } = options;
    this.#options = options;
    this.#namespace = options.namespace ?? 'default';
    this.#clock = clock;
    this.#random = options.random ?? Math.random;
    this.#series = new SeriesTable(maxSeries, flushMs, (occurrences, why) => this.#lose(occurrences, why));
    this.#bucket = new RateBucket({ burst, intervalMs: 60_000 / maxPerMinute, nowMs: () => clock.nowMs() });
  }

  /** Takes note of it; run() writes it. Never throws and never waits. */
  record(occurrence: Occurrence): void {
    if (this.#hasEnded) this.#lose(1, 'ended');
    else if (this.#series.add(occurrence, this.#clock.nowMs(), this.#clock.wallMs())) this.#wake();
  }

  /** Writes what is recorded until `signal` aborts, and for `finalFlushMs` after it what there is left. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { finalFlushMs = 2000 } = this.#options;
    const end = new AbortController();
    let cancel = () => {};
    const onEnd = () => {
      end.abort();
      this.#wake();
    };
    const onStop = () => {
      cancel = this.#clock.startTimer(finalFlushMs, onEnd);
      this.#wake();
    };
    if (signal.aborted) onStop();
    else signal.addEventListener('abort', onStop, { once: true });
    while (!end.signal.aborted) {
      const nowMs = this.#clock.nowMs();
      const series = this.#series.next(nowMs, signal.aborted);
      if (signal.aborted && series === undefined) break;
      if (series !== undefined && nowMs >= this.#pausedUntilMs && this.#bucket.take()) {
        await this.#write(series, end.signal);
      } else await this.#untilNext(series !== undefined);
    }
    signal.removeEventListener('abort', onStop);
    cancel();
    this.#hasEnded = true;
    this.#lose(this.#series.clear(), 'ended');
  }

  async #untilNext(hasWork: boolean): Promise<void> {
    const atMs = hasWork ? Math.max(this.#pausedUntilMs, this.#bucket.nextAtMs()) : this.#series.nextAtMs();
    const wake = new AbortController();
    this.#wake = () => wake.abort();
    // With nothing to wait for it sleeps until it is woken, for which a day stands.
    await sleep(this.#clock, Math.min(atMs - this.#clock.nowMs(), 86_400_000), wake.signal);
    this.#wake = () => {};
  }

  async #write(series: Series, signal: AbortSignal): Promise<void> {
    const { count } = series;
    series.isBusy = true;
    try {
      if (series.state === 'new') await this.#create(series, signal);
      else await this.#count(series, signal);
      series.state = 'written';
      series.writtenCount = count;
      series.writtenMs = this.#clock.nowMs();
      series.tries = 0;
      this.#failures = 0;
      this.#options.metrics?.written();
    } catch (error) {
      if (!signal.aborted) this.#fail(series, error);
    } finally {
      series.isBusy = false;
    }
  }

  async #create(series: Series, signal: AbortSignal): Promise<void> {
    // A name from before: of a request of which nobody knows what became of it.
    const wasSent = series.name !== undefined;
    series.name ??= this.#newName(series.occurrence.regarding.name);
    const event = this.#eventOf(series, series.name);
    const { namespace } = event.metadata;
    try {
      await this.#request(signal, (stop) =>
        this.#options.client.create(resources.events, event, { namespace, signal: stop }),
      );
    } catch (error) {
      if (!isConflict(error)) throw error;
      if (!wasSent) {
        // Somebody else's event has that name.
        series.name = undefined;
        throw error;
      }
      await this.#count(series, signal);
    }
  }

  async #count(series: Series, signal: AbortSignal): Promise<void> {
    const patch = { series: seriesOf(series) };
    const namespace = this.#namespaceOf(series.occurrence);
    // An Event that occurred once has no series.
    if (patch.series === undefined) return;
    try {
      await this.#request(signal, (stop) =>
        this.#options.client.mergePatch(resources.events, series.name!, patch, { namespace, signal: stop }),
      );
    } catch (error) {
      if (!isNotFound(error)) throw error;
      // The server forgets events after an hour, or somebody deleted it.
      series.name = undefined;
      await this.#create(series, signal);
    }
  }

  #request<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return withTimeout(this.#clock, 'write an event', requestTimeoutMs, signal, work);
  }

  #fail(series: Series, error: unknown): void {
    this.#options.onError?.(error);
    if (!isAway(error)) series.tries++;
    if (isTransient(error) && series.tries < maxTries) {
      this.#failures++;
      const backoffMs = Math.min(1000 * 2 ** (this.#failures - 1), maxBackoffMs) * (0.5 + this.#random() / 2);
      const afterMs = error instanceof KubeError ? Math.min(error.retryAfterMs ?? 0, maxBackoffMs) : 0;
      this.#pausedUntilMs = this.#clock.nowMs() + Math.max(backoffMs, afterMs);
      return;
    }
    this.#lose(series.count - series.writtenCount, 'refused');
    series.state = 'refused';
    series.writtenCount = series.count;
    series.writtenMs = this.#clock.nowMs();
  }

  #lose(occurrences: number, why: EventLoss): void {
    if (occurrences > 0) this.#options.metrics?.lost(occurrences, why);
  }

  #namespaceOf = ({ regarding }: Occurrence): string => regarding.namespace ?? this.#namespace;

  #newName(regarding: string): string {
    const half = () =>
      Math.floor(this.#random() * 2 ** 32)
        .toString(16)
        .padStart(8, '0');
    const suffix = `.${half()}${half()}`;
    // Each part of a DNS name ends with a letter or a digit.
    return regarding.slice(0, maxNameChars - suffix.length).replace(/[^a-z0-9]+$/, '') + suffix;
  }

  #eventOf(series: Series, name: string): NewKubeObject & { metadata: { namespace: string } } {
    const { type, reason, action, note, regarding, related } = series.occurrence;
    const event = {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name, namespace: this.#namespaceOf(series.occurrence) },
      eventTime: microTime(series.firstWallMs),
      reportingController: this.#options.component,
      reportingInstance: withinBytes(this.#options.instance, maxInstanceBytes),
      type,
      reason,
      action,
      note,
      regarding,
      ...(related === undefined ? {} : { related }),
      ...(series.count === 1 ? {} : { series: seriesOf(series) }),
    };
    return event;
  }
}

/** The API admits no series of one. */
const seriesOf = ({ count, lastWallMs }: Series) =>
  count === 1 ? undefined : { count, lastObservedTime: microTime(lastWallMs) };

/** Nobody answered: that says nothing about the event. */
const isAway = (error: unknown): boolean => error instanceof TimedOut || isConnection(error);

/** Whether the same request may well pass later. A conflict can only be about the name, which is a new one next time. */
const isTransient = (error: unknown): boolean =>
  !(error instanceof KubeError) ||
  error.status < 400 ||
  error.status >= 500 ||
  [401, 408, 409, 429].includes(error.status);
