import { isDeepStrictEqual } from 'node:util';
import type { Change, ChangeFeed } from './change-feed.ts';
import { type KubeObject, keyOf } from './objects.ts';

export interface Found<T> {
  readonly object: T;
  /** Of a partial object: who wrote when. Empty for a whole one. */
  readonly print: string;
}

/** What a reflector holds of a collection, and what it tells of each difference to it. */
export class ReflectedItems<T extends KubeObject> {
  readonly #items = new Map<string, T>();
  /** By key, of partial objects only. */
  readonly #prints = new Map<string, string>();
  readonly #feed: ChangeFeed<T>;

  constructor(feed: ChangeFeed<T>) {
    this.#feed = feed;
  }

  /** By keyOf(); one Map for good. */
  get all(): ReadonlyMap<string, T> {
    return this.#items;
  }

  #put(key: string, object: T, print: string): void {
    this.#items.set(key, object);
    if (print !== '') this.#prints.set(key, print);
  }

  #drop(key: string): void {
    this.#items.delete(key);
    this.#prints.delete(key);
  }

  /** An object as a watch tells it. */
  upsert(object: T, print: string): void {
    const key = keyOf(object);
    const previous = this.#items.get(key);
    if (previous !== undefined && isSameVersion(previous, object)) return;
    this.#put(key, object, print);
    this.#tell(key, previous, object, 'watch');
  }

  /** An object that a watch says is gone. */
  remove(key: string): void {
    const object = this.#items.get(key);
    if (object === undefined) return;
    this.#drop(key);
    this.#feed.offer(key, { type: 'deleted', object, via: 'watch' });
  }

  #tell(key: string, previous: T | undefined, object: T, via: Change<T>['via']): void {
    const isAnother = previous !== undefined && previous.metadata.uid !== object.metadata.uid;
    if (isAnother) this.#feed.offer(key, { type: 'deleted', object: previous, via });
    if (previous === undefined || isAnother) this.#feed.offer(key, { type: 'added', object, via });
    else this.#feed.offer(key, { type: 'updated', object, previous, via });
  }

  /** Takes over a complete list: only what differs is told, and after all of it is in `items`. */
  replace(found: ReadonlyMap<string, Found<T>>): void {
    const gone: [string, T][] = [];
    const changed: [string, T | undefined, T][] = [];
    for (const [key, object] of this.#items) if (!found.has(key)) gone.push([key, object]);
    for (const [key, { object, print }] of found) {
      const previous = this.#items.get(key);
      // Content too: after a restore the store counts its versions from an older one, and uses some of them again.
      const isSame =
        previous !== undefined &&
        isSameVersion(previous, object) &&
        (this.#prints.get(key) ?? '') === print &&
        isDeepStrictEqual(previous, object);
      if (!isSame) changed.push([key, previous, object]);
    }
    for (const [key] of gone) this.#drop(key);
    for (const [key, , object] of changed) this.#put(key, object, found.get(key)?.print ?? '');
    for (const [key, object] of gone) this.#feed.offer(key, { type: 'deleted', object, via: 'list' });
    for (const [key, previous, object] of changed) this.#tell(key, previous, object, 'list');
  }
}

/** A resourceVersion is of one object and one state; with another uid it is another object. */
function isSameVersion(a: KubeObject, b: KubeObject): boolean {
  const version = a.metadata.resourceVersion;
  return version !== undefined && version === b.metadata.resourceVersion && a.metadata.uid === b.metadata.uid;
}
