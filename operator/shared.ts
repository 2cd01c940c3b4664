import type { ClusterFacts, SourceException } from '../api/types.ts';
import type { KubeObject } from '../kube/objects.ts';
import type { Change } from '../kube/reflector.ts';
import type { StoredNode } from './stored/node.ts';
import type { StoredList, StoredPolicy } from './stored/policy-object.ts';
import type { StoredReport } from './stored/report.ts';

/** A collection as the API server has it, kept up to date. Followers keep them too, so that a new leader starts at once. */
export interface Watched<T extends KubeObject> {
  /** In logs and metrics. */
  readonly name: string;
  /** By name, or `namespace/name`. */
  readonly items: ReadonlyMap<string, T>;
  readonly hasSynced: boolean;
  /**
   * Calls `listener` for every change from now on; what it returns ends that. A listener must be quick, like putting a key into
   * a queue. When it throws, all listeners are told of the same change again some time later.
   */
  subscribe(listener: (change: Change<T>) => void): () => void;
}

/** networking.k8s.io/v1, as far as it is read. */
export interface ServiceCidr extends KubeObject {
  readonly spec?: { readonly cidrs?: readonly string[] };
}

/** discovery.k8s.io/v1, as far as it is read. */
export interface EndpointSlice extends KubeObject {
  readonly addressType?: string;
  readonly endpoints?: readonly { readonly addresses?: readonly string[] }[];
}

/** Every collection that the operator watches. */
export interface Shared {
  readonly policies: Watched<StoredPolicy>;
  readonly lists: Watched<StoredList>;
  readonly reports: Watched<StoredReport>;
  readonly nodes: Watched<StoredNode>;
  /** Not validated: an older schema may have let anything in. */
  readonly exceptions: Watched<SourceException & KubeObject>;
  readonly clusterFacts: Watched<ClusterFacts & KubeObject>;
  /** Metadata alone, of the operator's own namespace. */
  readonly configMaps: Watched<KubeObject>;
  /** Metadata alone. */
  readonly prefixChunks: Watched<KubeObject>;
  /** Those of the Service `kubernetes` in `default`: where the API server is. */
  readonly endpointSlices: Watched<EndpointSlice>;
  /** Servers before 1.33 may not have the kind: nobody waits for its `hasSynced`. */
  readonly serviceCidrs: Watched<ServiceCidr>;
}
