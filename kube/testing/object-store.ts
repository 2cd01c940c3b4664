import type { KubeObject } from '../objects.ts';

export interface StoredObject extends KubeObject {
  readonly spec?: { readonly [field: string]: unknown };
}

export interface StoredEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly version: number;
  readonly object: StoredObject;
}

export interface Snapshot {
  readonly version: number;
  readonly objects: ReadonlyMap<string, StoredObject>;
  readonly events: readonly StoredEvent[];
}

/** The part of an API server that holds one collection: objects, versions and the recent history. */
export class ObjectStore {
  readonly apiVersion = 'portcullis.dev/v1alpha1';
  readonly kind = 'PortScanPolicy';
  version = 1000;
  objects = new Map<string, StoredObject>();
  events: StoredEvent[] = [];
  /** A watch from before this version gets 410. */
  compactedTo = 0;
  readonly #listeners = new Set<(event: StoredEvent) => void>();
  #uids = 0;

  onEvent(listener: (event: StoredEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #record(type: StoredEvent['type'], object: StoredObject): void {
    const event = { type, version: this.version, object };
    this.events.push(event);
    for (const listener of [...this.#listeners]) listener(event);
  }

  /** Creates or changes. */
  set(name: string, spec: StoredObject['spec'] = {}): StoredObject {
    const old = this.objects.get(name);
    const object: StoredObject = {
      apiVersion: this.apiVersion,
      kind: this.kind,
      metadata: {
        name,
        uid: old?.metadata.uid ?? `uid-${++this.#uids}`,
        resourceVersion: String(++this.version),
        ...{ managedFields: [{ manager: 'test', operation: 'Apply' }] },
      },
      spec,
    };
    this.objects.set(name, object);
    this.#record(old === undefined ? 'ADDED' : 'MODIFIED', object);
    return object;
  }

  delete(name: string): void {
    const old = this.objects.get(name);
    if (old === undefined) return;
    this.objects.delete(name);
    const resourceVersion = String(++this.version);
    this.#record('DELETED', { ...old, metadata: { ...old.metadata, resourceVersion } });
  }

  /** Forgets the history, as etcd does after five minutes. */
  compact(): void {
    this.compactedTo = this.version;
    this.events = [];
  }

  snapshot(): Snapshot {
    return { version: this.version, objects: new Map(this.objects), events: [...this.events] };
  }

  /** Puts an older state back, version included; do it while the server is down. */
  restore({ version, objects, events }: Snapshot): void {
    this.version = version;
    this.objects = new Map(objects);
    this.events = [...events];
    this.compactedTo = Math.min(this.compactedTo, version);
  }
}
