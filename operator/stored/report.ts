import type { KubeMeta, KubeObject } from '../../kube/objects.ts';

/** What is kept of a NodeReport: what the status of policies and lists is made of. */
export interface StoredReport extends KubeObject {
  readonly metadata: Pick<KubeMeta, 'name' | 'uid' | 'resourceVersion' | 'creationTimestamp'>;
  /** The Node that owns it, by its ownerReferences; absent when it has no owner. */
  readonly ownerNodeUid?: string;
  /** When the API server last took a write of it, by its own clock in ms since 1970; absent when it does not say. */
  readonly writtenAtMs?: number;
}
