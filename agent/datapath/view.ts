/** What can be read of a running datapath, with or without an agent: input of telemetry, reports and commands. */
export interface DatapathView {
  readonly interfaces: readonly AttachedInterface[];
  readonly counters: readonly CounterSample[];
  /** By name of `enum loss` in kebab-case, summed over CPUs. */
  readonly losses: Readonly<Record<string, number>>;
  readonly tables: readonly TableFill[];
}

export interface AttachedInterface {
  readonly ifindex: number;
  readonly name: string;
  readonly mode: 'native' | 'generic';
  /** Kernel id of the program that runs there. */
  readonly programId: number;
  /** Governing policy, absent when only lists hold there. */
  readonly policy?: string;
  /** Verifier's count of instructions of that program; 0 where the kernel does not tell. */
  readonly verifiedInstructions: number;
}

export interface CounterSample {
  readonly ownerKind: 'Node' | 'PortScanPolicy' | 'IpBlocklist';
  /** Empty for Node. */
  readonly ownerName: string;
  readonly verdict: 'pass' | 'drop' | 'would-drop' | 'spared';
  /** `enum reason` without its verdict prefix, kebab-case: `new-connection`, `scan-blocked`, ... */
  readonly reason: string;
  readonly packets: number;
}

export interface TableFill {
  /** never-block, own-addresses, blocks, manual-blocks, list-entries, allow-entries, first-targets, sources, owners */
  readonly table: string;
  readonly entries: number;
  readonly capacity: number;
}

export interface BlockRecord {
  /** Canonical address or prefix. */
  readonly source: string;
  /** What blocked it: a policy's name, or `manual`. */
  readonly by: { readonly kind: 'PortScanPolicy' | 'Manual'; readonly name: string };
  readonly state: 'blocked' | 'would-block' | 'spared';
  readonly proven: boolean;
  /** Distinct targets seen when it was blocked. */
  readonly probes: number;
  /** At most 16: that of the Nth target first, the others in no order. */
  readonly ports: readonly number[];
  readonly interfaceName?: string;
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly packetsDropped: number;
  /** A manual block's reason. */
  readonly reason?: string;
}

/** One event out of the ring, decoded; times are wall clock. */
export type DatapathEvent = ConnectionEvent | BlockEvent;

export interface ConnectionEvent {
  readonly kind: 'connection';
  readonly policy: string;
  readonly atMs: number;
  readonly source: string;
  readonly sourcePort: number;
  readonly target: string;
  readonly targetPort: number;
  readonly interfaceName: string;
  readonly reason: string;
}

export interface BlockEvent {
  readonly kind: 'block';
  readonly policy: string;
  readonly atMs: number;
  readonly untilMs: number;
  /** The address that sent the Nth probe. */
  readonly source: string;
  /** What is blocked: the address, or its IPv6 prefix. */
  readonly blocked: string;
  readonly state: 'blocked' | 'would-block' | 'spared';
  readonly proven: boolean;
  readonly probes: number;
  /** Ports of all distinct targets, up to 64: that of the Nth first, the others in no order. */
  readonly ports: readonly number[];
  readonly lastTarget: string;
  readonly interfaceName: string;
}
