import type { PolicyObject } from '../../api/types.ts';
import { isConflict, KubeError } from '../../kube/errors.ts';
import type { KubeObject, NewKubeObject } from '../../kube/objects.ts';
import type { Resource } from '../../kube/resources.ts';
import { structured } from '../output.ts';
import { type Context, fieldManager } from './context.ts';

/** What a user would write into a file: no defaults, nothing of the server's. */
export type WrittenObject = Pick<PolicyObject, 'apiVersion' | 'kind' | 'metadata'> & { readonly spec: object };

/** For --dry-run: the object, ready for a repository. */
export const asYaml = (object: WrittenObject): string => structured(object, 'yaml');

/** Server-side apply without force: what somebody else manages, such as a GitOps tool, stays as it is and is told. */
export async function applyObject(
  { client }: Pick<Context, 'client'>,
  resource: Resource,
  object: WrittenObject,
): Promise<KubeObject> {
  try {
    return await client.apply(resource, object as NewKubeObject, { fieldManager });
  } catch (error) {
    if (!isConflict(error)) throw error;
    const { kind, metadata } = object;
    throw new KubeError({
      message: `${kind} ${metadata.name} is managed by somebody else: ${error.message}`,
      status: 409,
      reason: error.reason,
      cause: error,
    });
  }
}

/** RFC 3339 to the second; the schemas take no time without zone. */
export const expiryAt = (nowMs: number, durationMs: number): string =>
  new Date(Math.ceil((nowMs + durationMs) / 1000) * 1000).toISOString().replace(/\.\d+Z$/, 'Z');
