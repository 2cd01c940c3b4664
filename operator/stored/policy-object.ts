import type { BlocklistEntry, IpBlocklistSpec, IpBlocklistStatus } from '../../api/types/ip-blocklist.ts';
import type { PortScanPolicyStatus } from '../../api/types/port-scan-policy.ts';
import type { NodeSelector, PortScanPolicySpec } from '../../api/types.ts';
import type { KubeMeta, KubeObject } from '../../kube/objects.ts';

export type StoredMeta = Pick<KubeMeta, 'name' | 'creationTimestamp' | 'labels' | 'deletionTimestamp'> & {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation: number;
};

/** Why an object is not accepted; it may have been stored under an older, looser schema. */
export interface Refusal {
  readonly reason: 'Invalid' | 'UnknownField';
  /** Of the first problem, such as `spec.detection.window`. */
  readonly field: string;
  /** One or two sentences: what is wrong, and what to do. */
  readonly message: string;
}

/** What is kept of a policy or a list. */
export interface Stored<Spec, Status> extends KubeObject {
  readonly metadata: StoredMeta;
  /** Which nodes; undefined: all. Kept of refused objects too where it can be read, else 'unreadable'. */
  readonly nodeSelector: NodeSelector | undefined | 'unreadable';
  /** With its defaults; absent when it is refused. */
  readonly spec?: Spec;
  readonly refusal?: Refusal;
  /** As it is stored, checked to have the form of a status as far as it is read. */
  readonly status: Status;
}

/** What is kept of the 10,000 entries that a list may have: no reasons, which are for people. */
export type StoredListSpec = Omit<IpBlocklistSpec, 'entries' | 'except'> & {
  readonly entries: readonly Pick<BlocklistEntry, 'cidr' | 'expiresAt'>[];
};

export type StoredPolicy = Stored<PortScanPolicySpec, PortScanPolicyStatus>;
export type StoredList = Stored<StoredListSpec, IpBlocklistStatus>;
