import type { IpBlocklist, PortScanPolicy } from '../../api/types.ts';
import type { Finding } from '../finding.ts';

/** All valid objects as a source knows them now, defaults applied. Order is not significant. */
export interface PolicySnapshot {
  readonly portScanPolicies: readonly PortScanPolicy[];
  readonly ipBlocklists: readonly IpBlocklist[];
  /** What was refused, and which last good object stands in its place. */
  readonly findings: readonly Finding[];
}

/** Where policies come from: a directory of YAML now, a Kubernetes watch later; both give the same objects. */
export interface PolicySource {
  /** Calls `onSnapshot` at once and after every change, until `signal` aborts; resolves when nothing of it runs any more. */
  run(signal: AbortSignal, onSnapshot: (snapshot: PolicySnapshot) => void): Promise<void>;
}
