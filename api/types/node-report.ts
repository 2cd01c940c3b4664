// Generated from crds/ by scripts/generate-types.ts: do not edit.

/**
 * What is so. There is no status subresource: the report has one writer, and one write brings it.
 */
export interface NodeReportStatus {
  /**
   * When the agent wrote this, by the node's own clock.
   */
  observedAt: string;
  /**
   * Enforcing; Starting before the first policies are in force; Failed when they could not be put in force; Detached by break-glass, or since Portcullis is being uninstalled.
   */
  state: 'Starting' | 'Enforcing' | 'Failed' | 'Detached';
  /**
   * What asks for Detached.
   */
  breakGlass?: 'NodeAnnotation' | 'File' | 'Uninstall';
  /**
   * How the programs are attached, native or generic, or Mixed; None when there are none.
   */
  mode?: 'Native' | 'Generic' | 'Mixed' | 'None';
  agent: AgentFacts;
  /**
   * Policies and lists that are in force here.
   */
  policiesProgrammed?: number;
  /**
   * Interfaces that are selected, also those that are not listed.
   */
  interfacesTotal?: number;
  /**
   * The interfaces that are selected.
   *
   * @maxItems 32
   */
  interfaces?: InterfaceReport[];
  /**
   * What became of each policy that selects this node.
   *
   * @maxItems 200
   */
  policies: PolicyReport[];
  /**
   * What became of each list that selects this node.
   *
   * @maxItems 200
   */
  lists: ListReport[];
  blocks: BlocksReport;
  /**
   * How full the tables are.
   *
   * @maxItems 32
   */
  tables?: TableReport[];
  /**
   * What was lost or given up since the tables were made, where it is not none.
   *
   * @maxItems 32
   */
  losses?: LossReport[];
  /**
   * Names of the SourceExceptions that are in force here.
   *
   * @maxItems 32
   */
  exceptions?: string[];
  /**
   * Findings, also those that are not listed.
   */
  findingsTotal?: number;
  /**
   * What a person should know about.
   *
   * @maxItems 20
   */
  findings?: FindingReport[];
  /**
   * Whether something was left out to keep the report small.
   */
  truncated?: boolean;
}
/**
 * The agent itself.
 */
export interface AgentFacts {
  /**
   * Its version.
   */
  version: string;
  /**
   * When it was started, by the node's own clock.
   */
  startedAt: string;
  /**
   * Changes when the node is booted.
   */
  bootId?: string;
  /**
   * Version of the tables in the kernel.
   */
  layoutVersion?: number;
}
/**
 * One interface.
 */
export interface InterfaceReport {
  /**
   * Its name.
   */
  name: string;
  /**
   * How the program is attached; None: it is not, and error says why.
   */
  mode: 'Native' | 'Generic' | 'None';
  /**
   * The policy that governs there.
   */
  policy?: string;
  /**
   * Lists that hold there.
   *
   * @maxItems 16
   */
  lists?: string[];
  /**
   * The kernel's number of the program.
   */
  programId?: number;
  /**
   * The kernel's number of somebody else's program that is in the way.
   */
  foreignProgramId?: number;
  /**
   * What is wrong.
   */
  error?: string;
}
/**
 * One policy.
 */
export interface PolicyReport {
  /**
   * Its name.
   */
  name: string;
  /**
   * The generation that state is about.
   */
  generation: number;
  /**
   * Programmed: in force wherever it governs. NoInterface: it selects no interface here. Conflicted: another governs everywhere. UnknownField: written for a newer version, its last good program stays. Invalid: refused, its last good program stays. Failed: see message. Pending: not yet.
   */
  state: 'Programmed' | 'NoInterface' | 'Conflicted' | 'UnknownField' | 'Invalid' | 'Failed' | 'Pending';
  /**
   * Interfaces that another policy governs.
   *
   * @maxItems 8
   */
  conflicted?: string[];
  /**
   * What is wrong.
   */
  message?: string;
  /**
   * Sources that it blocks here now.
   */
  blocked?: number;
  /**
   * Sources that mode Enforce would block here now.
   */
  wouldBlock?: number;
  /**
   * Sources that scan and are spared.
   */
  spared?: number;
  /**
   * Packets that it dropped since the tables were made.
   */
  packetsDropped?: number;
}
/**
 * One list.
 */
export interface ListReport {
  /**
   * Its name.
   */
  name: string;
  /**
   * The generation that state is about.
   */
  generation: number;
  /**
   * As for policies.
   */
  state: 'Programmed' | 'NoInterface' | 'UnknownField' | 'Invalid' | 'Failed' | 'Pending';
  /**
   * What is wrong.
   */
  message?: string;
  /**
   * Digest of the prefixes out of ConfigMaps that are in force.
   */
  prefixSet?: string;
  /**
   * Distinct prefixes in force.
   */
  entries?: number;
  /**
   * Packets that it dropped since the tables were made.
   */
  packetsDropped?: number;
}
/**
 * What is blocked here.
 */
export interface BlocksReport {
  /**
   * Sources that are blocked now.
   */
  blocked: number;
  /**
   * Sources that mode Enforce would block now.
   */
  wouldBlock?: number;
  /**
   * Sources that scan and are in the never-block set.
   */
  spared?: number;
  /**
   * The newest of them.
   *
   * @maxItems 20
   */
  newest: BlockReport[];
}
/**
 * One source.
 */
export interface BlockReport {
  /**
   * The address, or the prefix where a whole prefix is blocked.
   */
  source: string;
  /**
   * The policy that blocked it.
   */
  policy: string;
  /**
   * Only Blocked drops.
   */
  state: 'Blocked' | 'WouldBlock' | 'Spared';
  /**
   * Whether the source has proven that it receives at its address.
   */
  proven?: boolean;
  /**
   * Where the last probe came in.
   */
  interface?: string;
  /**
   * Distinct targets that were seen when it was blocked.
   */
  probes?: number;
  /**
   * Ports of some of these targets.
   *
   * @maxItems 16
   */
  ports?: number[];
  /**
   * By the node's own clock.
   */
  since: string;
  /**
   * By the node's own clock.
   */
  until: string;
  /**
   * From observedAt to until.
   */
  secondsLeft?: number;
  /**
   * Packets of it that were dropped, or would have been.
   */
  packetsDropped?: number;
}
/**
 * One table.
 */
export interface TableReport {
  /**
   * Its name.
   */
  name: string;
  /**
   * Entries in it.
   */
  used: number;
  /**
   * Entries that it can hold.
   */
  max: number;
}
/**
 * One kind of loss.
 */
export interface LossReport {
  /**
   * Its name.
   */
  name: string;
  /**
   * How often.
   */
  count: number;
}
/**
 * One finding.
 */
export interface FindingReport {
  /**
   * A stable code of the table of errors.
   */
  code: string;
  /**
   * How bad it is.
   */
  severity: 'error' | 'warning' | 'info';
  /**
   * What happened.
   */
  message: string;
  /**
   * What it is about.
   */
  object?: string;
  /**
   * Where.
   */
  interface?: string;
}
