import type { Finding } from '../finding.ts';

/** What the kernel shall hold: the output of resolve(), the input of Datapath.apply(). Plain data, no I/O. */
export interface DesiredState {
  readonly interfaces: readonly DesiredInterface[];
  /** Sources that are never dropped, most important first. */
  readonly neverBlock: readonly NeverBlockEntry[];
  /** Connected IPv6 prefixes: their sources aggregate by /128. Canonical prefixes. */
  readonly onLink: readonly string[];
  /** The node's own unicast addresses, canonical text. */
  readonly ownAddresses: readonly string[];
  /** Every policy and list that wants an owner id on this node, governing or not. */
  readonly owners: readonly OwnerKey[];
  /** SourceExceptions in force here: blocks that these policies made of such sources are to be lifted. */
  readonly exceptions: readonly DesiredException[];
  readonly findings: readonly Finding[];
  /** Wall clock in ms of the next expiry of any entry: resolve again then. */
  readonly nextChangeAtMs?: number;
}

export interface OwnerKey {
  readonly kind: 'PortScanPolicy' | 'IpBlocklist';
  readonly name: string;
}

export interface NeverBlockEntry {
  readonly cidr: string;
  readonly kind:
    | 'special'
    | 'configured'
    | 'next-hop'
    | 'resolver'
    | 'api-server'
    | 'own'
    | 'broadcast'
    | 'service-range'
    | 'pod-range'
    | 'node';
}

export interface DesiredException {
  /** Of the SourceException. */
  readonly name: string;
  readonly cidr: string;
  /** Names of the policies whose blocks are lifted; absent: all. */
  readonly policies?: readonly string[];
}

export interface DesiredInterface {
  readonly ifindex: number;
  readonly name: string;
  /** The governing policy; absent when only lists select this interface. */
  readonly policy?: DesiredPolicy;
  /** Names of policies that select it and do not govern it. */
  readonly conflicted: readonly string[];
  /** Union over all policies that select the interface, and SourceExceptions for the one that governs; expired ones left out. */
  readonly allow: readonly DesiredAllow[];
  /** Lists that select the interface, expired entries left out. */
  readonly lists: readonly DesiredList[];
}

export interface DesiredPolicy {
  readonly name: string;
  readonly enforce: boolean;
  readonly distinctTargets: number;
  readonly windowMs: number;
  readonly allDestinations: boolean;
  readonly ipv6PrefixLength: number;
  readonly blockDurationMs: number;
  readonly unprovenDurationMs: number;
  readonly blockAllTraffic: boolean;
  readonly logConnections: boolean;
}

export interface DesiredAllow {
  readonly cidr: string;
  /** Absent: for ever. */
  readonly expiresAtMs?: number;
}

export interface DesiredList {
  readonly name: string;
  readonly enforce: boolean;
  readonly allTraffic: boolean;
  readonly entries: readonly string[];
  readonly except: readonly string[];
}
