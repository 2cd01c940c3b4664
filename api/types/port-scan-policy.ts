// Generated from crds/ by scripts/generate-types.ts: do not edit.

/**
 * What is wanted.
 */
export interface PortScanPolicySpec {
  /**
   * One policy governs an interface: the one with the highest priority. Among equals the oldest decides in a cluster, the first name among files.
   */
  priority: number;
  nodeSelector?: NodeSelector;
  interfaces: InterfaceSelector;
  /**
   * Enforce drops what the policy forbids. Monitor passes it, and counts and reports what Enforce would have dropped. There is no default, so that nobody is protected, or cut off, by accident.
   */
  mode: 'Enforce' | 'Monitor';
  detection: Detection;
  block: Block;
  /**
   * Sources that are never blocked for scanning. They are spared by every policy of the interface, governing or not. This does not weaken an IpBlocklist.
   *
   * @maxItems 1000
   */
  allow: AllowEntry[];
  /**
   * All writes a log line for each new connection that passes. None writes none.
   */
  connectionLog: 'None' | 'All';
}
/**
 * The nodes that the policy is for, by their labels. All requirements must hold. Absent or empty selects every node.
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
 * The interfaces of these nodes that the policy is for: all that names, patterns or roles select, less those that exclude names. Only interfaces of Ethernet type can be guarded.
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
 * What makes a source a scanner.
 */
export interface Detection {
  /**
   * A source is a scanner when it tries this many distinct targets, pairs of an address and a TCP port, inside the window. All but the last of them pass.
   */
  distinctTargets: number;
  /**
   * How long a target counts after it was last tried, from 1s to 1h.
   */
  window: string;
  /**
   * NodeAddresses counts only targets at the node's own addresses. All counts forwarded connections too, and suits a router, not a node whose pods are clients.
   */
  destinations: 'NodeAddresses' | 'All';
  /**
   * IPv6 sources that share a prefix of this length count, and are blocked, as one. Neighbours on the same link always count one by one.
   */
  ipv6PrefixLength: number;
}
/**
 * What happens to a scanner.
 */
export interface Block {
  /**
   * How long a source is blocked once its address is proven, from 1s to 720h.
   */
  duration: string;
  /**
   * How long a source is blocked whose address may be forged, from 1s to 720h. Longer than duration counts as duration.
   */
  unprovenDuration: string;
  /**
   * NewConnections drops everything to the node but packets of connections that are open already, and of what the node forwards only new connections. All drops every packet.
   */
  traffic: 'NewConnections' | 'All';
}
/**
 * A prefix that is spared.
 */
export interface AllowEntry {
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
 * What is so. Written by the operator alone.
 */
export interface PortScanPolicyStatus {
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
  blocked?: BlockedSources;
  /**
   * The newest blocks, at most 100; every node's own are in its NodeReport.
   *
   * @maxItems 100
   */
  blocks?: PolicyBlock[];
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
 * What the policy holds off now.
 */
export interface BlockedSources {
  /**
   * Sources that are blocked now, added up over the nodes that report.
   */
  sources: number;
  /**
   * Sources that mode Enforce would block now.
   */
  wouldBlock?: number;
  /**
   * Sources that scan and are in the never-block set, so that nothing is dropped.
   */
  spared?: number;
  /**
   * Packets that the policy dropped since the tables of each node were made.
   */
  packetsDropped: number;
}
/**
 * One source, on all the nodes that blocked it.
 */
export interface PolicyBlock {
  /**
   * The address, or the prefix where a whole prefix is blocked.
   */
  source: string;
  /**
   * Blocked; WouldBlock in mode Monitor; Spared when the source is in the never-block set. Only Blocked drops.
   */
  state: 'Blocked' | 'WouldBlock' | 'Spared';
  /**
   * Some of the nodes.
   *
   * @maxItems 5
   */
  nodes: string[];
  /**
   * How many nodes there are.
   */
  nodesTotal: number;
  /**
   * Distinct targets that were seen when it was blocked, the most of any node.
   */
  probes?: number;
  /**
   * Ports of some of these targets.
   *
   * @maxItems 16
   */
  ports?: number[];
  /**
   * When the first of these blocks began, by the operator's clock.
   */
  since: string;
  /**
   * When the last of them ends unless the source goes on, by the operator's clock.
   */
  until: string;
  /**
   * Packets of the source that were dropped, or would have been.
   */
  packetsDropped?: number;
}
