import type { KubeClient } from '../../kube/client.ts';
import { isNotFound } from '../../kube/errors.ts';
import type { KubeObject } from '../../kube/objects.ts';
import { apiVersionOf, type Resource } from '../../kube/resources.ts';
import { isNewer } from './version-order.ts';

/** Not among the kinds that the programs watch. */
const customResourceDefinitions: Resource = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
};

/** Says which version of Portcullis a CRD is of, so that an older one leaves it alone. */
export const versionAnnotation = 'portcullis.dev/version';
/**
 * That of Helm, which applies the chart's own copies at an install, without force: as anybody else's, what is written here would
 * be a conflict for the next release whose CRDs differ.
 */
const fieldManager = 'helm';

export interface Crd {
  readonly metadata: { readonly name: string };
  readonly spec: object;
}

interface StoredCrd extends KubeObject {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

export interface ApplyCrdsOptions {
  readonly client: Pick<KubeClient, 'get' | 'apply'>;
  readonly crds: readonly Crd[];
  /** Of this program. */
  readonly version: string;
  /** Gets a sentence about each CRD. */
  readonly say: (sentence: string) => void;
  /** Resolves after a time in which a CRD may have become served; rejects when it takes too long. */
  readonly rest: () => Promise<void>;
  readonly signal: AbortSignal;
}

/**
 * Brings CRDs to this version by server-side apply, and waits until each is served. One of a newer version is left alone: a
 * schema that knows less would take fields away from what is stored. Rejects with a KubeError for what the server refuses.
 */
export async function applyCrds({ client, crds, version, say, rest, signal }: ApplyCrdsOptions): Promise<void> {
  for (const crd of crds) {
    const { name } = crd.metadata;
    const stored = await storedCrd(client, name, signal);
    const storedVersion = stored?.metadata.annotations?.[versionAnnotation];
    if (storedVersion !== undefined && isNewer(storedVersion, version)) {
      say(`${name} is of version ${storedVersion}, which is newer than ${version}: it stays as it is`);
      continue;
    }
    const object = {
      apiVersion: apiVersionOf(customResourceDefinitions),
      kind: customResourceDefinitions.kind,
      metadata: { name, annotations: { [versionAnnotation]: version } },
      spec: crd.spec,
    };
    await client.apply(customResourceDefinitions, object, { fieldManager, force: true, metadataOnly: true, signal });
    say(`${name} is of version ${version} now`);
  }
  for (const { metadata } of crds) {
    while (!isEstablished(await storedCrd(client, metadata.name, signal))) await rest();
  }
  say('all are served');
}

async function storedCrd(
  client: ApplyCrdsOptions['client'],
  name: string,
  signal: AbortSignal,
): Promise<StoredCrd | undefined> {
  try {
    return await client.get<StoredCrd>(customResourceDefinitions, name, { signal });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

function isEstablished(crd: StoredCrd | undefined): boolean {
  return crd?.status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True') ?? false;
}
