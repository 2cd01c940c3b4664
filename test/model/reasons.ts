/** `enum reason` of bpf/layout.h, in its order; a test compares the two. */
export const REASONS = [
  'PASS_OTHER',
  'PASS_NOT_IP',
  'PASS_MALFORMED',
  'PASS_NEIGHBOUR_DISCOVERY',
  'PASS_NEVER_BLOCK',
  'PASS_ALLOWED',
  'PASS_NEW_CONNECTION',
  'PASS_PROBE',
  'PASS_BAD_CHECKSUM',
  'PASS_NOT_OWN_ADDRESS',
  'PASS_LIVE_FLOW',
  'PASS_FORWARDED',
  'PASS_ICMP_ERROR',
  'DROP_LIST',
  'DROP_MANUAL',
  'DROP_SCAN_BLOCKED',
  'DROP_SCAN_DETECTED',
  'DROP_EXTENSION_HEADERS',
  'WOULD_DROP_LIST',
  'WOULD_DROP_SCAN_BLOCKED',
  'WOULD_DROP_SCAN_DETECTED',
  'WOULD_DROP_EXTENSION_HEADERS',
  'SPARED_SCAN_DETECTED',
  'DROP_VLAN_TAGS',
  'WOULD_DROP_VLAN_TAGS',
] as const;

export type Reason = (typeof REASONS)[number];

export type Verdict = 'pass' | 'drop';

/** Only DROP_ reasons drop: WOULD_DROP_ and SPARED_ count what passed. */
export function verdictOf(reason: Reason): Verdict {
  return reason.startsWith('DROP_') ? 'drop' : 'pass';
}
