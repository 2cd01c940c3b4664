import type { ClusterFactsSpec } from './types/cluster-facts.ts';
import type { IpBlocklistSpec, IpBlocklistStatus } from './types/ip-blocklist.ts';
import type { NodeReportStatus } from './types/node-report.ts';
import type { PortScanPolicySpec, PortScanPolicyStatus } from './types/port-scan-policy.ts';
import type { PrefixChunkSpec } from './types/prefix-chunk.ts';
import type { SourceExceptionSpec } from './types/source-exception.ts';

export type { BlocklistEntry, ExceptEntry, IpBlocklistSpec } from './types/ip-blocklist.ts';
export type {
  AllowEntry,
  Block,
  Detection,
  InterfaceSelector,
  LabelRequirement,
  NodeSelector,
  PortScanPolicySpec,
} from './types/port-scan-policy.ts';

export type { SourceExceptionSpec } from './types/source-exception.ts';

export const API_VERSION = 'portcullis.dev/v1alpha1';

/** What is read of an object's metadata; the last three are there when it comes out of a cluster. */
export interface ObjectMeta {
  /** A DNS subdomain, unique among the objects of its kind. */
  name: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  uid?: string;
  generation?: number;
  /** RFC 3339. */
  creationTimestamp?: string;
}

/** An object as it is after validation: every field that has a default is there. */
export interface CustomResource<Kind extends string, Spec> {
  apiVersion: typeof API_VERSION;
  kind: Kind;
  metadata: ObjectMeta;
  spec: Spec;
}

export type PortScanPolicy = CustomResource<'PortScanPolicy', PortScanPolicySpec> & { status?: PortScanPolicyStatus };
export type IpBlocklist = CustomResource<'IpBlocklist', IpBlocklistSpec> & { status?: IpBlocklistStatus };
export type SourceException = CustomResource<'SourceException', SourceExceptionSpec>;
/** What users write. */
export type PolicyObject = PortScanPolicy | IpBlocklist | SourceException;

export type PrefixChunk = CustomResource<'PrefixChunk', PrefixChunkSpec>;
export type ClusterFacts = CustomResource<'ClusterFacts', ClusterFactsSpec>;
export interface NodeReport {
  apiVersion: typeof API_VERSION;
  kind: 'NodeReport';
  metadata: ObjectMeta;
  status: NodeReportStatus;
}
