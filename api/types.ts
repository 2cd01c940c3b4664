import type { IpBlocklistSpec } from './types/ip-blocklist.ts';
import type { PortScanPolicySpec } from './types/port-scan-policy.ts';

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

export type PortScanPolicy = CustomResource<'PortScanPolicy', PortScanPolicySpec>;
export type IpBlocklist = CustomResource<'IpBlocklist', IpBlocklistSpec>;
export type PolicyObject = PortScanPolicy | IpBlocklist;
