import type { At, KubeClient, ListOptions, WatchOptions } from '../../../kube/client.ts';
import { KubeError } from '../../../kube/errors.ts';
import type { KubeList, KubeObject, WatchEvent } from '../../../kube/objects.ts';
import type { Resource } from '../../../kube/resources.ts';

interface Stored {
  readonly plural: string;
  object: KubeObject & { readonly spec?: unknown };
}

/** The reading half of an API server, in memory, which answers as a test wants it to. */
export class MemoryCluster {
  readonly reads: string[] = [];
  /** Asked before each answer to a GET; what it throws is the answer. */
  onGet: (name: string) => Promise<void> | void = () => {};
  /** No list is answered while this is set. */
  isAway = false;
  /** Of the token that the client has. */
  serviceAccountUid: string | undefined;
  #version = 1;
  readonly #objects = new Map<string, Stored>();
  readonly #watches = new Set<{ readonly plural: string; readonly push: (event: WatchEvent<KubeObject>) => void }>();

  put(plural: string, name: string, content: object = {}, meta: object = {}): void {
    const key = `${plural}/${name}`;
    const before = this.#objects.get(key)?.object.metadata;
    const version = ++this.#version;
    const object = {
      ...content,
      metadata: {
        name,
        uid: before?.uid ?? `uid-${version}`,
        generation: (before?.generation ?? 0) + 1,
        resourceVersion: `${version}`,
        managedFields: [{ manager: 'kubectl', operation: 'Apply', time: `at ${version}` }],
        ...meta,
      },
    } as Stored['object'];
    this.#objects.set(key, { plural, object });
    this.#tell(plural, { type: before ? 'MODIFIED' : 'ADDED', object });
  }

  remove(plural: string, name: string): void {
    const stored = this.#objects.get(`${plural}/${name}`);
    if (stored === undefined) return;
    this.#objects.delete(`${plural}/${name}`);
    const metadata = { ...stored.object.metadata, resourceVersion: `${++this.#version}` };
    this.#tell(plural, { type: 'DELETED', object: { ...stored.object, metadata } });
  }

  uidOf(plural: string, name: string): string {
    return this.#objects.get(`${plural}/${name}`)?.object.metadata.uid ?? '';
  }

  get client(): KubeClient {
    const refuse = async () => {
      throw new Error('nothing is written here');
    };
    return {
      server: 'https://memory',
      get: <T extends KubeObject>(resource: Resource, name: string, { signal }: At = {}) =>
        Promise.race([this.#get(resource, name), aborted(signal)]) as Promise<T>,
      list: <T extends KubeObject>(resource: Resource, options?: ListOptions) =>
        this.#list(resource, options) as Promise<KubeList<T>>,
      watch: <T extends KubeObject>(resource: Resource, options: WatchOptions) =>
        this.#watch(resource, options) as AsyncIterable<WatchEvent<T>>,
      ...{ create: refuse, replace: refuse, apply: refuse, mergePatch: refuse, delete: refuse, raw: refuse },
      serviceAccountUid: async () => this.serviceAccountUid,
      reconnect: () => {},
      close: async () => {},
    };
  }

  #tell(plural: string, event: WatchEvent<KubeObject>): void {
    for (const watch of this.#watches) if (watch.plural === plural) watch.push(event);
  }

  async #get({ plural }: Resource, name: string): Promise<KubeObject> {
    this.reads.push(name);
    await this.onGet(name);
    const stored = this.#objects.get(`${plural}/${name}`);
    if (stored === undefined) throw new KubeError({ message: `GET ${name}: 404`, status: 404, reason: 'NotFound' });
    return structuredClone(stored.object);
  }

  async #list({ plural }: Resource, { fieldSelector }: ListOptions = {}): Promise<KubeList<KubeObject>> {
    if (this.isAway) throw new KubeError({ message: 'ECONNREFUSED', code: 'ECONNREFUSED', isConnecting: true });
    const name = fieldSelector?.replace('metadata.name=', '');
    const items = [...this.#objects.values()].filter((each) => each.plural === plural).map(({ object }) => object);
    return {
      metadata: { resourceVersion: `${this.#version}` },
      items: structuredClone(items.filter(({ metadata }) => name === undefined || metadata.name === name)),
    };
  }

  async *#watch({ plural }: Resource, { signal }: WatchOptions): AsyncIterable<WatchEvent<KubeObject>> {
    const events: WatchEvent<KubeObject>[] = [];
    let wake = () => {};
    const watch = {
      plural,
      push: (event: WatchEvent<KubeObject>) => {
        events.push(structuredClone(event));
        wake();
      },
    };
    this.#watches.add(watch);
    const onAbort = () => wake();
    signal?.addEventListener('abort', onAbort);
    try {
      while (!signal?.aborted) {
        const next = events.shift();
        if (next !== undefined) yield next;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
      signal.throwIfAborted();
    } finally {
      this.#watches.delete(watch);
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true }));
}
