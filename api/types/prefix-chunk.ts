// Generated from crds/ by scripts/generate-types.ts: do not edit.

/**
 * What the chunk holds.
 */
export interface PrefixChunkSpec {
  /**
   * The name of the IpBlocklist.
   */
  list: string;
  /**
   * How many prefixes there are.
   */
  count: number;
  /**
   * Prefixes in canonical form, one a line, in ascending order, IPv4 first.
   */
  prefixes: string;
}
