import type { ClusterFacts, IpBlocklist, PortScanPolicy, SourceException } from '../../api/types.ts';
import type { Finding } from '../finding.ts';

/** All valid objects as a source knows them now, defaults applied. Order is not significant. */
export interface PolicySnapshot {
  readonly portScanPolicies: readonly PortScanPolicy[];
  readonly ipBlocklists: readonly IpBlocklist[];
  readonly sourceExceptions: readonly SourceException[];
  /** What was refused, and which last good object stands in its place. */
  readonly findings: readonly Finding[];
  /** What only a cluster knows; absent for files. */
  readonly cluster?: ClusterView;
}

/** What the API server says beside the policies; the last of it is kept on the node and used before the server answers. */
export interface ClusterView {
  /** Labels of the agent's own Node. */
  readonly nodeLabels: Readonly<Record<string, string>>;
  /** Of the agent's own Node; absent before it was read once. */
  readonly nodeUid?: string;
  /** The Node carries the annotation that asks for everything to be detached. */
  readonly breakGlass: boolean;
  /** The installation that this agent belongs to is being uninstalled, so everything is to be detached. */
  readonly uninstalled: boolean;
  /** Never-block sources and the size of the cluster; the newest that is known. */
  readonly facts: readonly ClusterFacts[];
  /** By name of the list: its prefixes out of ConfigMaps, the last complete set. */
  readonly prefixSets: ReadonlyMap<string, PrefixSetContent>;
  /** Objects whose newest generation is not in force since it was refused. */
  readonly refused: readonly RefusedObject[];
}

export interface PrefixSetContent {
  /** `status.prefixSet.digest` of the list that it is. */
  readonly digest: string;
  /** Canonical prefixes. */
  readonly prefixes: readonly string[];
}

export interface RefusedObject {
  readonly kind: 'PortScanPolicy' | 'IpBlocklist' | 'SourceException';
  readonly name: string;
  /** The generation that was refused. */
  readonly generation: number;
  /** UnknownField: written for a newer version than this agent. */
  readonly state: 'Invalid' | 'UnknownField';
  readonly message: string;
  /** Whether an earlier generation stands in its place. */
  readonly hasLastGood: boolean;
}

/** Where policies come from: a directory of YAML, or the watches of a Kubernetes API server; both give the same objects. */
export interface PolicySource {
  /** Calls `onSnapshot` at once and after every change, until `signal` aborts; resolves when nothing of it runs any more. */
  run(signal: AbortSignal, onSnapshot: (snapshot: PolicySnapshot) => void): Promise<void>;
}
