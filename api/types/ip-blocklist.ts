// Generated from crds/ by scripts/generate-types.ts: do not edit.

/**
 * What is wanted.
 */
export interface IpBlocklistSpec {
  nodeSelector?: NodeSelector;
  interfaces: InterfaceSelector;
  /**
   * Enforce drops. Monitor passes, and counts what Enforce would have dropped.
   */
  mode: 'Enforce' | 'Monitor';
  /**
   * All drops every packet of a listed source. NewConnections drops everything to the node but packets of connections that are open already, and of what the node forwards only new connections.
   */
  traffic: 'All' | 'NewConnections';
  /**
   * What is listed. A prefix may stand here more than once: the latest expiry holds, and none means for ever.
   *
   * @maxItems 10000
   */
  entries: BlocklistEntry[];
  /**
   * Keys of ConfigMaps in the operator's own namespace that hold further prefixes, one a line; what follows a # is a comment, and a bare address is a /32 or a /128. Needs a cluster.
   *
   * @maxItems 16
   */
  configMapRefs: ConfigMapRef[];
  /**
   * What this list spares although an entry covers it. Other lists are not weakened by it.
   *
   * @maxItems 1000
   */
  except: ExceptEntry[];
  /**
   * Must be true for entries as wide as /0 to /7, or /0 to /15 of IPv6, since one such entry can cut a node off from most of the world.
   */
  allowWide: boolean;
}
/**
 * The nodes that the list is for, by their labels. All requirements must hold. Absent or empty selects every node.
 */
export interface NodeSelector {
  /**
   * Labels that a node must have, each with exactly the value given.
   */
  matchLabels?: {
    [k: string]: string;
  };
  /**
   * Requirements on the labels of a node.
   *
   * @maxItems 16
   */
  matchExpressions?: LabelRequirement[];
}
/**
 * One requirement on one label.
 */
export interface LabelRequirement {
  /**
   * The key of the label.
   */
  key: string;
  /**
   * In and NotIn compare the value with those given, and a node without the label satisfies NotIn. Exists and DoesNotExist look at the key alone.
   */
  operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  /**
   * The values for In and NotIn, at least one. Must be absent or empty for Exists and DoesNotExist.
   *
   * @maxItems 64
   */
  values?: string[];
}
/**
 * The interfaces of these nodes that the list is for: all that names, patterns or roles select, less those that exclude names. Only interfaces of Ethernet type can be guarded.
 */
export interface InterfaceSelector {
  /**
   * Exact names of interfaces.
   *
   * @maxItems 64
   */
  names?: string[];
  /**
   * Patterns of names, in which * stands for any characters and ? for one.
   *
   * @maxItems 64
   */
  patterns?: string[];
  /**
   * Patterns of names that are left out although something else selects them.
   *
   * @maxItems 64
   */
  exclude?: string[];
  /**
   * Interfaces by what they do. DefaultRoute means each interface that carries a default route, of IPv4 or of IPv6.
   *
   * @maxItems 4
   */
  roles?: 'DefaultRoute'[];
}
/**
 * A prefix that is listed.
 */
export interface BlocklistEntry {
  /**
   * The prefix in canonical form, such as 192.0.2.0/24 or 2001:db8::/32; a single address is a /32 or a /128.
   */
  cidr: string;
  /**
   * Why, for whoever reads it later.
   */
  reason?: string;
  /**
   * When the entry ends, an RFC 3339 time with its zone. Absent means never.
   */
  expiresAt?: string;
}
/**
 * One key of one ConfigMap.
 */
export interface ConfigMapRef {
  /**
   * The name of the ConfigMap.
   */
  name: string;
  /**
   * The key in it.
   */
  key: string;
}
/**
 * A prefix that is spared.
 */
export interface ExceptEntry {
  /**
   * The prefix in canonical form, such as 192.0.2.0/24 or 2001:db8::/32; a single address is a /32 or a /128.
   */
  cidr: string;
  /**
   * Why, for whoever reads it later.
   */
  reason?: string;
  /**
   * When the exception ends, an RFC 3339 time with its zone. Absent means never.
   */
  expiresAt?: string;
}

/**
 * What is so. Written by the operator alone.
 */
export interface IpBlocklistStatus {
  /**
   * The generation of the object that this status is about.
   */
  observedGeneration?: number;
  /**
   * What is true of the object now, one entry for each type.
   *
   * @maxItems 8
   */
  conditions?: Condition[];
  nodes?: NodeCounts;
  /**
   * Nodes that have it in force, of those that it selects, such as 3/3.
   */
  summary?: string;
  entries?: EntryCounts;
  prefixSet?: PrefixSet;
  /**
   * Packets that the list dropped since the tables of each node were made.
   */
  packetsDropped?: number;
}
/**
 * One statement about the object.
 */
export interface Condition {
  /**
   * Accepted, Programmed or Degraded.
   */
  type: string;
  /**
   * Whether the statement holds.
   */
  status: 'True' | 'False' | 'Unknown';
  /**
   * Why, as one word for programs.
   */
  reason: string;
  /**
   * Why, for people.
   */
  message: string;
  /**
   * The generation of the object that the statement is about.
   */
  observedGeneration?: number;
  /**
   * When status changed last.
   */
  lastTransitionTime: string;
}
/**
 * How far the nodes are that the object selects.
 */
export interface NodeCounts {
  /**
   * Nodes whose labels match, with an agent or without.
   */
  selected: number;
  /**
   * Those whose agent has this generation in force.
   */
  programmed: number;
  /**
   * Those whose agent reports, and does not have this generation in force.
   */
  failed: number;
  /**
   * Those whose agent has not reported for too long.
   */
  stale: number;
  /**
   * Those without any report.
   */
  noReport: number;
  /**
   * Some of the nodes that have not programmed this generation.
   *
   * @maxItems 10
   */
  examples?: NodeExample[];
}
/**
 * One such node.
 */
export interface NodeExample {
  /**
   * Its name.
   */
  node: string;
  /**
   * Why, as one word for programs.
   */
  reason: string;
  /**
   * Why, for people.
   */
  message?: string;
}
/**
 * What became of the entries, of the spec and of the ConfigMaps.
 */
export interface EntryCounts {
  /**
   * Entries and lines that were read.
   */
  given: number;
  /**
   * Distinct prefixes that are listed now.
   */
  effective: number;
  /**
   * Entries whose time is over.
   */
  expired: number;
  /**
   * Lines that are no prefix.
   */
  refused: number;
  /**
   * Where some of the refused lines stand; what stands there is not repeated.
   *
   * @maxItems 20
   */
  refusedLines?: RefusedLine[];
}
/**
 * One such line.
 */
export interface RefusedLine {
  /**
   * The name of the ConfigMap.
   */
  name: string;
  /**
   * The key in it.
   */
  key: string;
  /**
   * The line, from 1 on; 0 when the whole key is meant.
   */
  line: number;
  /**
   * Why, as one word for programs.
   */
  reason: string;
}
/**
 * The prefixes out of ConfigMaps, as the agents fetch them.
 */
export interface PrefixSet {
  /**
   * SHA-256 of the names of the chunks, so that a change shows.
   */
  digest: string;
  /**
   * Distinct prefixes in all chunks.
   */
  prefixes: number;
  /**
   * The names of the PrefixChunks, in order.
   *
   * @maxItems 128
   */
  chunks: string[];
}
