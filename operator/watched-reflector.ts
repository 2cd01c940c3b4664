import type { KubeObject } from '../kube/objects.ts';
import { type Change, Reflector, type ReflectorOptions, type ReflectorState } from '../kube/reflector.ts';
import type { Watched } from './shared.ts';

/** A reflector that tells several listeners. */
export class WatchedReflector<T extends KubeObject> implements Watched<T> {
  readonly name: string;
  readonly #reflector: Reflector<T>;
  readonly #listeners = new Set<(change: Change<T>) => void>();
  readonly #synced = Promise.withResolvers<void>();

  constructor(options: Omit<ReflectorOptions<T>, 'onChange' | 'onSynced'>) {
    this.name = options.name;
    this.#reflector = new Reflector<T>({
      ...options,
      onChange: (change) => this.#tell(change),
      onSynced: () => this.#synced.resolve(),
    });
  }

  get items(): ReadonlyMap<string, T> {
    return this.#reflector.items;
  }

  get hasSynced(): boolean {
    return this.#reflector.hasSynced;
  }

  /** Resolves when the collection was listed completely once; never, when it never is. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  get state(): ReflectorState {
    return this.#reflector.state;
  }

  get lastEventAtMs(): number | undefined {
    return this.#reflector.lastEventAtMs;
  }

  subscribe(listener: (change: Change<T>) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#reflector.run(signal);
  }

  /** All are told, also when one throws; its error goes on, so that the reflector offers the change again. */
  #tell(change: Change<T>): void {
    const errors: unknown[] = [];
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors);
  }
}
