import { Buffer } from 'node:buffer';
import type { KubeObject } from './objects.ts';
import { apiVersionOf, type Resource } from './resources.ts';

/** What an event is about: no namespace for what has none. */
export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
  /** The object's own, for nodes too: `kubectl describe` asks for it, and it tells a namesake apart. */
  readonly uid?: string;
}

/** Something that happened, as it is told to people who look at the object. */
export interface Occurrence {
  readonly regarding: ObjectReference;
  readonly related?: ObjectReference;
  readonly type: 'Normal' | 'Warning';
  /** Why, one CamelCase word. */
  readonly reason: string;
  /** What was done, one CamelCase word. */
  readonly action: string;
  /** For people; cut at 1024 bytes. A series keeps the note of its first occurrence. */
  readonly note: string;
}

/** Equal occurrences, which are one Event with a count. */
export interface Series {
  readonly key: string;
  readonly occurrence: Occurrence;
  readonly firstWallMs: number;
  lastWallMs: number;
  lastMs: number;
  count: number;
  /** `new`: the server has not got it; `refused`: nor will it. */
  state: 'new' | 'written' | 'refused';
  /** Name of the Event, once it was given one. */
  name: string | undefined;
  /** What of `count` the server has. */
  writtenCount: number;
  /** When it was last written, or refused. */
  writtenMs: number;
  /** Writes that failed in a row although the server was there. */
  tries: number;
  /** A request is under way. */
  isBusy: boolean;
}

/** An occurrence that comes later than this after the one before begins a new Event, as in Kubernetes' own components. */
export const seriesWindowMs = 6 * 60_000;

/** What the API admits. */
const maxNoteBytes = 1024;

export const referenceTo = (resource: Resource, { metadata }: KubeObject): ObjectReference => ({
  apiVersion: apiVersionOf(resource),
  kind: resource.kind,
  name: metadata.name,
  ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
  ...(metadata.uid === undefined ? {} : { uid: metadata.uid }),
});

/** Which series there are, what of them is to be written and when. Pure: told the time, and what became of a write. */
export class SeriesTable {
  /** By key, in the order of their last occurrence. */
  readonly #series = new Map<string, Series>();
  readonly #maxSeries: number;
  readonly #flushMs: number;
  readonly #onLost: (occurrences: number, why: 'evicted' | 'refused') => void;

  constructor(maxSeries: number, flushMs: number, onLost: (occurrences: number, why: 'evicted' | 'refused') => void) {
    this.#maxSeries = maxSeries;
    this.#flushMs = flushMs;
    this.#onLost = onLost;
  }

  get size(): number {
    return this.#series.size;
  }

  /** Times in ms, the first monotonic. Returns whether there is something to write that there was not before. */
  add(occurrence: Occurrence, nowMs: number, wallMs: number): boolean {
    const key = keyOf(occurrence);
    let series = this.#series.get(key);
    if (series !== undefined && isOver(series, nowMs) && series.state !== 'new' && !series.isBusy) {
      this.#drop(series);
      series = undefined;
    }
    if (series === undefined) {
      this.#makeRoom();
      this.#series.set(key, {
        key,
        occurrence: { ...occurrence, note: withinBytes(occurrence.note, maxNoteBytes) },
        firstWallMs: wallMs,
        lastWallMs: wallMs,
        lastMs: nowMs,
        count: 1,
        state: 'new',
        name: undefined,
        writtenCount: 0,
        writtenMs: Number.NEGATIVE_INFINITY,
        tries: 0,
        isBusy: false,
      });
      return true;
    }
    const wasDirty = isDirty(series);
    series.count++;
    series.lastMs = nowMs;
    series.lastWallMs = wallMs;
    this.#series.delete(key);
    this.#series.set(key, series);
    return !wasDirty;
  }

  /** What to write now, new ones first; `final`: whether it is due or not. Forgets what is over. */
  next(nowMs: number, final = false): Series | undefined {
    let due: Series | undefined;
    for (const series of this.#series.values()) {
      if (series.isBusy) continue;
      if (series.state === 'new') return series;
      if (series.state === 'written' && isDirty(series)) {
        if (final || nowMs >= series.writtenMs + this.#flushMs) due ??= series;
      } else if (isOver(series, nowMs)) this.#drop(series);
    }
    return due;
  }

  /** When next() will have something to give or to forget. */
  nextAtMs(): number {
    let atMs = Number.POSITIVE_INFINITY;
    for (const series of this.#series.values()) {
      if (series.state === 'new') return Number.NEGATIVE_INFINITY;
      const isWaiting = series.state === 'written' && isDirty(series);
      atMs = Math.min(atMs, isWaiting ? series.writtenMs + this.#flushMs : overAtMs(series));
    }
    return atMs;
  }

  /** Occurrences that the server has not got, which are given up herewith. */
  clear(): number {
    let unwritten = 0;
    for (const series of this.#series.values()) unwritten += series.count - series.writtenCount;
    this.#series.clear();
    return unwritten;
  }

  /** Whoever was not heard of for longest goes, and of those one first of which the server has everything. */
  #makeRoom(): void {
    if (this.#series.size < this.#maxSeries) return;
    let victim: Series | undefined;
    for (const series of this.#series.values()) {
      if (series.isBusy) continue;
      victim ??= series;
      if (isDirty(series)) continue;
      victim = series;
      break;
    }
    if (victim !== undefined) this.#drop(victim);
  }

  #drop(series: Series): void {
    this.#series.delete(series.key);
    if (!isDirty(series)) return;
    this.#onLost(series.count - series.writtenCount, series.state === 'refused' ? 'refused' : 'evicted');
  }
}

const keyOf = ({ regarding, related, type, reason, action }: Occurrence): string =>
  JSON.stringify([...identity(regarding), ...(related === undefined ? [] : identity(related)), type, reason, action]);

const identity = ({ apiVersion, kind, namespace = '', name, uid = '' }: ObjectReference): string[] => [
  apiVersion,
  kind,
  namespace,
  name,
  uid,
];

const isDirty = (series: Series): boolean => series.count > series.writtenCount;

/** A refused one is tried again after the window, however often it occurs meanwhile. */
const overAtMs = (series: Series): number =>
  (series.state === 'refused' ? series.writtenMs : series.lastMs) + seriesWindowMs;

const isOver = (series: Series, nowMs: number): boolean => nowMs >= overAtMs(series);

/** Cuts between characters. */
export function withinBytes(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text;
  const end = '…';
  // `stream`: what is cut off in the middle of a character is left out instead of replaced.
  const head = Buffer.from(text).subarray(0, maxBytes - Buffer.byteLength(end));
  return `${new TextDecoder().decode(head, { stream: true })}${end}`;
}
