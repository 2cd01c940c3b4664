import { parseTime } from '../../../api/time.ts';
import type { KubeMeta, KubeObject } from '../../../kube/objects.ts';

/** What the kubectl plugin writes on everything that it makes. */
export const managedByLabel = 'app.kubernetes.io/managed-by';
export const plugin = 'kubectl-portcullis';

/** When an object has no effect any more, in ms since 1970; undefined: it may have one for ever. */
export interface Expiring {
  readonly metadata: KubeMeta;
  readonly expiresAtMs: number | undefined;
}

export const isOfPlugin = ({ metadata }: KubeObject): boolean => metadata.labels?.[managedByLabel] === plugin;

/** A SourceException, whatever an older schema let in. */
export function exceptionExpiry(
  exception: KubeObject & { readonly spec?: { readonly expiresAt?: unknown } },
): Expiring {
  const text = exception.spec?.expiresAt;
  return { metadata: exception.metadata, expiresAtMs: typeof text === 'string' ? parseTime(text) : undefined };
}

interface ListSpec {
  readonly entries: readonly { readonly expiresAt?: string }[];
  readonly configMapRefs: readonly unknown[];
}

/** An IpBlocklist ends with its last entry, if each of them ends and nothing else is listed; a refused one never does. */
export function listExpiry({ metadata, spec }: KubeObject & { readonly spec?: ListSpec }): Expiring {
  const times =
    spec?.entries.map(({ expiresAt }) => (expiresAt === undefined ? undefined : parseTime(expiresAt))) ?? [];
  const ends = spec !== undefined && spec.configMapRefs.length === 0 && times.length > 0 && !times.includes(undefined);
  return { metadata, expiresAtMs: ends ? Math.max(...(times as number[])) : undefined };
}

/** Those that have been over for at least `keepMs`. */
export function planExpired<T extends Expiring>(objects: Iterable<T>, nowMs: number, keepMs: number): T[] {
  return [...objects].filter(({ expiresAtMs }) => expiresAtMs !== undefined && nowMs - expiresAtMs >= keepMs);
}
