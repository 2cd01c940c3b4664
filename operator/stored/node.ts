import type { KubeMeta, KubeObject } from '../../kube/objects.ts';

/** What is kept of a Node. */
export interface StoredNode extends KubeObject {
  readonly metadata: Pick<KubeMeta, 'name' | 'uid' | 'resourceVersion' | 'creationTimestamp'> & {
    readonly labels: Readonly<Record<string, string>>;
  };
  /** The kubelet says so and is heard. */
  readonly isReady: boolean;
  /** As they stand there, not validated; InternalIP and ExternalIP alone. */
  readonly addresses: readonly string[];
  /** As they stand there, not validated. */
  readonly podCidrs: readonly string[];
}

interface RawNode extends KubeObject {
  readonly spec?: { readonly podCIDR?: unknown; readonly podCIDRs?: unknown };
  readonly status?: { readonly addresses?: unknown; readonly conditions?: unknown };
}

/** A node lists few addresses; more than this are no node's. Keeps one hostile object from filling the memory. */
const maxTexts = 64;
const maxTextLength = 64;

/** A Node is 10 kB and more, most of it images and conditions. */
export function storeNode(node: KubeObject): StoredNode {
  const { metadata, spec, status } = node as RawNode;
  const { name, uid, resourceVersion, creationTimestamp, labels = {} } = metadata;
  const conditions = records(status?.conditions);
  return {
    metadata: {
      name,
      labels,
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    },
    isReady: conditions.some((condition) => condition.type === 'Ready' && condition.status === 'True'),
    addresses: texts(
      records(status?.addresses)
        .filter(({ type }) => type === 'InternalIP' || type === 'ExternalIP')
        .map(({ address }) => address),
    ),
    podCidrs: texts(Array.isArray(spec?.podCIDRs) ? spec.podCIDRs : [spec?.podCIDR]),
  };
}

function records(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  if (!Array.isArray(value)) return [];
  return value.filter((entry) => typeof entry === 'object' && entry !== null);
}

function texts(values: readonly unknown[]): readonly string[] {
  const found = values.filter((value) => typeof value === 'string' && value !== '' && value.length <= maxTextLength);
  return (found as string[]).slice(0, maxTexts);
}
