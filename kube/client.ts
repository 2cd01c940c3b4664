import type { KubeList, KubeObject, NewKubeObject, WatchEvent } from './objects.ts';
import type { Resource } from './resources.ts';

/** Where an object or a collection is. */
export interface At {
  /** Absent for what has no namespace, and for a list over all of them. */
  readonly namespace?: string;
  readonly signal?: AbortSignal;
}

export interface ListOptions extends At {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Objects a page. */
  readonly limit?: number;
  readonly continue?: string;
  readonly resourceVersion?: string;
  readonly resourceVersionMatch?: 'Exact' | 'NotOlderThan';
  /** PartialObjectMetadata only: no spec, no status. */
  readonly metadataOnly?: boolean;
}

export interface WatchOptions extends At {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly resourceVersion: string;
  /** After which the server ends the watch. */
  readonly timeoutSeconds: number;
  readonly metadataOnly?: boolean;
}

export interface ApplyOptions extends At {
  readonly fieldManager: string;
  /** Takes over fields that another manager owns. */
  readonly force?: boolean;
  readonly subresource?: 'status';
  readonly dryRun?: boolean;
  /** The answer is to be PartialObjectMetadata: for who knows what was written, and need not read it again. */
  readonly metadataOnly?: boolean;
}

/**
 * The requests that Portcullis makes of an API server. Every method rejects with a KubeError (kube/errors.ts) for what the
 * server refuses and for a connection that fails, and with the signal's reason when that aborts.
 */
export interface KubeClient {
  /** URL of the server, for people. */
  readonly server: string;
  get<T extends KubeObject>(resource: Resource, name: string, at?: At & { metadataOnly?: boolean }): Promise<T>;
  /** One page, raw JSON. */
  list<T extends KubeObject>(resource: Resource, options?: ListOptions): Promise<KubeList<T>>;
  /** Bookmarks are asked for. Ends without error when the server ends the stream; rejects when the connection breaks. */
  watch<T extends KubeObject>(resource: Resource, options: WatchOptions): AsyncIterable<WatchEvent<T>>;
  create<T extends KubeObject>(
    resource: Resource,
    object: NewKubeObject,
    options?: At & { dryRun?: boolean },
  ): Promise<T>;
  /** With a resourceVersion in the metadata, fails with 409 when somebody else was faster. */
  replace<T extends KubeObject>(resource: Resource, object: NewKubeObject, options?: At): Promise<T>;
  /** Server-side apply. */
  apply<T extends KubeObject>(resource: Resource, object: NewKubeObject, options: ApplyOptions): Promise<T>;
  /** JSON merge patch. */
  mergePatch<T extends KubeObject>(resource: Resource, name: string, patch: object, options?: At): Promise<T>;
  /** Resolves also when it was gone already. `uid` guards against deleting a namesake. */
  delete(resource: Resource, name: string, options?: At & { uid?: string; resourceVersion?: string }): Promise<void>;
  /** A GET of any path, such as /version. */
  raw<T>(path: string, signal?: AbortSignal): Promise<T>;
  /** Of the service account whose token the next request carries; undefined with any other credentials. Rejects when they cannot be read. */
  serviceAccountUid(): Promise<string | undefined>;
  /** Drops every connection, so that the next request opens a new one: for a connection that is stuck. */
  reconnect(): void;
  close(): Promise<void>;
}
