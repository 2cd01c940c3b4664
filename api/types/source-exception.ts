// Generated from crds/ by scripts/generate-types.ts: do not edit.

/**
 * What is wanted.
 */
export interface SourceExceptionSpec {
  /**
   * The prefix in canonical form, such as 192.0.2.7/32 or 2001:db8::/64; a single address is a /32 or a /128.
   */
  source: string;
  /**
   * Names of the PortScanPolicies that spare the source. Absent or empty means all of them.
   *
   * @maxItems 16
   */
  policies: string[];
  /**
   * Why, for whoever reads it later.
   */
  reason?: string;
  /**
   * When the exception ends, an RFC 3339 time with its zone.
   */
  expiresAt: string;
}
