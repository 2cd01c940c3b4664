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
