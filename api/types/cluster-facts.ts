// Generated from crds/ by scripts/generate-types.ts: do not edit.

/**
 * One slice of what is known.
 */
export interface ClusterFactsSpec {
  /**
   * What the slice is about: addresses of nodes, ranges of pods, ranges of services, endpoints of the API server, what the administrator configured, or the size of the cluster. Detach is no fact but the wish that all agents of an installation detach, since it is uninstalled.
   */
  holds: 'Nodes' | 'PodRanges' | 'ServiceRanges' | 'ApiServer' | 'Configured' | 'Cluster' | 'Detach';
  /**
   * How many prefixes there are.
   */
  count: number;
  /**
   * Prefixes in canonical form.
   *
   * @maxItems 1000
   */
  prefixes: string[];
  /**
   * Nodes of the cluster, rounded up to a power of two so that it seldom changes. Agents write the more seldom the more they are. In the slice about the cluster only.
   */
  nodeCount?: number;
  /**
   * Whether all the ranges of pods are known. In the slice about the cluster only.
   */
  complete?: boolean;
  /**
   * Of the ServiceAccount whose agents are to detach; agents of another one heed nothing of it. With Detach only.
   */
  serviceAccountUid?: string;
}
