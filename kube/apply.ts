import type { KubeClient } from './client.ts';
import type { KubeMeta, KubeObject, NewKubeObject, OwnerReference } from './objects.ts';
import { apiVersionOf, type Resource } from './resources.ts';
import { sameJson } from './same-json.ts';

export interface ApplyManager {
  /** One for each component: what it applied once and leaves out now is removed. */
  readonly fieldManager: string;
  readonly signal?: AbortSignal;
}

export interface StatusTarget {
  readonly name: string;
  readonly namespace?: string;
  /** Of the object that the status is about: `current` is not looked at when it is another of that name. */
  readonly uid?: string;
  /**
   * As it was read: the server then refuses with 409 when anything has changed since. The only guard against writing on a
   * namesake: the uid of what is applied to a status is not looked at by the server (1.36).
   */
  readonly resourceVersion?: string;
  /** All of it, and nothing that the schema would fill in: what is left out is removed. */
  readonly status: object;
}

/**
 * Server-side apply of the status of an object that has one writer; takes the fields of others over. Writes nothing when
 * `current`, as read last, has that status already. Returns whether it wrote. Rejects with a KubeError: 404 when it is gone.
 */
export async function applyStatus(
  client: KubeClient,
  resource: Resource,
  { name, namespace, uid, resourceVersion, status }: StatusTarget,
  {
    current,
    fieldManager,
    signal,
  }: ApplyManager & { readonly current?: (KubeObject & { readonly status?: unknown }) | undefined },
): Promise<boolean> {
  if (current !== undefined && hasUid(current, uid) && sameJson(current.status, status)) return false;
  const metadata = { name, ...given({ namespace, resourceVersion }) };
  const object = { apiVersion: apiVersionOf(resource), kind: resource.kind, metadata, status };
  const options = { fieldManager, force: true, subresource: 'status' as const, metadataOnly: true };
  await client.apply(resource, object, { ...options, ...given({ namespace, signal }) });
  return true;
}

export interface AppliedObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly OwnerReference[];
  };
  /** What else there is at the top, such as `spec`. */
  readonly [field: string]: unknown;
}

/**
 * Server-side apply of an object that one component makes and owns, with its ownerReferences; makes it when it is not there.
 * Writes nothing when `current` has all of that already: labels and annotations of others do not count. Returns whether it wrote.
 */
export async function applyObject(
  client: KubeClient,
  resource: Resource,
  { metadata, ...fields }: AppliedObject,
  { current, fieldManager, signal }: ApplyManager & { readonly current?: KubeObject | undefined },
): Promise<boolean> {
  if (current !== undefined && hasMeta(current.metadata, metadata) && hasFields({ ...current }, fields)) {
    return false;
  }
  const object: NewKubeObject = { ...fields, apiVersion: apiVersionOf(resource), kind: resource.kind, metadata };
  const { namespace } = metadata;
  const options = { fieldManager, force: true, metadataOnly: true };
  await client.apply(resource, object, { ...options, ...given({ namespace, signal }) });
  return true;
}

type Fields = Readonly<Record<string, unknown>>;

function hasUid({ metadata }: KubeObject, uid: string | undefined): boolean {
  return uid === undefined || metadata.uid === uid;
}

function hasMeta(current: KubeMeta, wanted: AppliedObject['metadata']): boolean {
  return (
    hasFields(current.labels ?? {}, wanted.labels ?? {}) &&
    hasFields(current.annotations ?? {}, wanted.annotations ?? {}) &&
    (wanted.ownerReferences ?? []).every((owner) => current.ownerReferences?.some((other) => sameJson(owner, other)))
  );
}

function hasFields(current: Fields, wanted: Fields): boolean {
  return Object.entries(wanted).every(([key, value]) =>
    sameJson(Object.hasOwn(current, key) ? current[key] : undefined, value),
  );
}

/** Without the properties that are undefined. */
function given<T extends object>(properties: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined)) as never;
}
