import type { KubeObject } from './objects.ts';

/** `via`: a list says what is, not what was done; it may follow a store that was put back to an older state. */
export type Change<T> = { readonly via: 'list' | 'watch' } & (
  | { readonly type: 'added'; readonly object: T; readonly previous?: undefined }
  | { readonly type: 'updated'; readonly object: T; readonly previous: T }
  | { readonly type: 'deleted'; readonly object: T; readonly previous?: undefined }
);

/**
 * Hands changes to a handler and remembers those that it threw at, to offer them once more: the object is in the cache by then,
 * so without that nobody would look at it before it changes again, which may be never.
 */
export class ChangeFeed<T extends KubeObject> {
  readonly #handle: (change: Change<T>) => unknown;
  readonly #onError: (error: unknown, change: Change<T>) => void;
  /** By key, in order: at most a deletion and what came after it. */
  readonly #failed = new Map<string, readonly Change<T>[]>();
  /** The last change of a key whose handler has not settled yet. */
  readonly #pending = new Map<string, Change<T>>();

  /** `handle` is not waited for; when it returns a promise, its rejection counts as a throw. */
  constructor(handle: (change: Change<T>) => unknown, onError: (error: unknown, change: Change<T>) => void) {
    this.#handle = handle;
    this.#onError = onError;
  }

  get failedKeys(): number {
    return this.#failed.size;
  }

  offer(key: string, change: Change<T>): void {
    const waiting = this.#failed.get(key);
    if (waiting !== undefined) this.#failed.delete(key);
    this.#tell(key, waiting === undefined ? [change] : merge(waiting, change));
  }

  /** Offers what failed once more. */
  retry(): void {
    const all = [...this.#failed];
    this.#failed.clear();
    for (const [key, changes] of all) this.#tell(key, changes);
  }

  /** In order: what follows a change that was not taken waits with it. */
  #tell(key: string, changes: readonly Change<T>[]): void {
    for (const [index, change] of changes.entries()) {
      try {
        this.#call(key, change);
      } catch (error) {
        this.#failed.set(key, changes.slice(index));
        this.#onError(error, change);
        return;
      }
    }
  }

  #call(key: string, change: Change<T>): void {
    this.#pending.delete(key);
    const result = this.#handle(change);
    if (!(result instanceof Promise)) return;
    this.#pending.set(key, change);
    const settle = (): boolean => this.#pending.get(key) === change && this.#pending.delete(key);
    result.then(settle, (error: unknown) => {
      // When something newer was told meanwhile, telling this again would put it last.
      if (settle()) this.#failed.set(key, [change]);
      this.#onError(error, change);
    });
  }
}

/** What is to be told of an object of which `waiting` was not taken and then `change` happened: at most two changes. */
function merge<T>(waiting: readonly Change<T>[], change: Change<T>): readonly Change<T>[] {
  const last = waiting.at(-1);
  if (last === undefined || change.type === 'deleted') return [change];
  if (last.type === 'deleted') return [last, change];
  const before = waiting.slice(0, -1);
  const { object } = change;
  const via = last.via === 'list' ? 'list' : change.via;
  if (last.type === 'added' || change.type === 'added') return [...before, { type: 'added', object, via }];
  return [...before, { type: 'updated', object, previous: last.previous, via }];
}
