import { contains, type Prefix, parsePrefixOrAddress } from '../api/cidr.ts';
import type { BlockReport, NodeReportStatus } from '../api/types/node-report.ts';
import type { NodeReport } from '../api/types.ts';
import type { KubeObject } from '../kube/objects.ts';

/** As the operator takes it by default: two renewals were missed. */
const staleAfterMs = 720_000;

/** What is kept of a NodeReport. */
export interface SeenReport {
  readonly node: string;
  /** Since its last write, by the API server's clock; undefined when it does not say. */
  readonly ageMs: number | undefined;
  readonly isStale: boolean;
  readonly state: NodeReportStatus['state'];
  readonly breakGlass: NodeReportStatus['breakGlass'];
  readonly mode: NodeReportStatus['mode'];
  readonly version: string;
  readonly blocked: number;
  readonly wouldBlock: number;
  readonly spared: number;
  readonly listed: number;
  readonly exceptions: readonly string[];
  readonly findings: NonNullable<NodeReportStatus['findings']>;
  readonly findingsTotal: number;
}

/** One source on one node; times count from now, so that no two clocks are compared. */
export interface NodeBlock {
  readonly node: string;
  readonly source: string;
  readonly policy: string;
  readonly state: BlockReport['state'];
  readonly proven: boolean | undefined;
  readonly interface: string | undefined;
  readonly probes: number;
  readonly ports: readonly number[];
  readonly startedAgoMs: number;
  readonly endsInMs: number;
  readonly packetsDropped: number;
}

type Managed = KubeObject['metadata'] & {
  readonly managedFields?: readonly { readonly manager?: string; readonly time?: string }[];
};

/** By the API server's clock: the newest write. */
export function writtenAtMs({ metadata }: KubeObject): number | undefined {
  const times = ((metadata as Managed).managedFields ?? []).map(({ time }) => Date.parse(time ?? ''));
  const known = times.filter((time) => !Number.isNaN(time));
  return known.length === 0 ? undefined : Math.max(...known);
}

const statusOf = (object: KubeObject): Partial<NodeReportStatus> => (object as Partial<NodeReport>).status ?? {};

export function seenReport(object: KubeObject, serverNowMs: number): SeenReport {
  const status = statusOf(object);
  const atMs = writtenAtMs(object);
  // The server's clock is read to the second.
  const ageMs = atMs === undefined ? undefined : Math.max(0, serverNowMs - atMs);
  const { blocked = 0, wouldBlock = 0, spared = 0, newest = [] } = status.blocks ?? {};
  return {
    node: object.metadata.name,
    ageMs,
    isStale: ageMs !== undefined && ageMs > staleAfterMs,
    state: status.state ?? 'Starting',
    breakGlass: status.breakGlass,
    mode: status.mode,
    version: status.agent?.version ?? '',
    blocked,
    wouldBlock,
    spared,
    listed: newest.length,
    exceptions: status.exceptions ?? [],
    findings: status.findings ?? [],
    findingsTotal: status.findingsTotal ?? status.findings?.length ?? 0,
  };
}

/** The blocks of a report that still stand. */
export function blocksOf(object: KubeObject, serverNowMs: number): NodeBlock[] {
  const status = statusOf(object);
  const ageMs = Math.max(0, serverNowMs - (writtenAtMs(object) ?? serverNowMs));
  return (status.blocks?.newest ?? []).flatMap((block): NodeBlock[] => {
    const { source, policy, state, proven, probes = 0, ports = [], secondsLeft, packetsDropped = 0 } = block;
    // Whoever holds an agent's token writes what he likes.
    if (parsePrefixOrAddress(source) === undefined) return [];
    const [sinceMs, untilMs] = [Date.parse(block.since), Date.parse(block.until)];
    const leftMs = secondsLeft === undefined ? untilMs - Date.parse(status.observedAt ?? '') : secondsLeft * 1000;
    const endsInMs = leftMs - ageMs;
    if (!(endsInMs > 0)) return [];
    const startedAgoMs = Math.max(0, untilMs - sinceMs - endsInMs) || 0;
    const where = { node: object.metadata.name, interface: block.interface };
    return [{ ...where, source, policy, state, proven, probes, ports, startedAgoMs, endsInMs, packetsDropped }];
  });
}

/** Whether the two have an address in common. */
export function overlaps(a: Prefix, b: Prefix): boolean {
  return contains(a, b) || contains(b, a);
}

/** One source that one policy blocks, over all nodes. */
export interface MergedBlock {
  readonly source: string;
  readonly policy: string;
  readonly state: BlockReport['state'];
  readonly nodes: readonly string[];
  /** The most of any node. */
  readonly probes: number;
  /** Each once. */
  readonly ports: readonly number[];
  /** Of the first of them. */
  readonly startedAgoMs: number;
  /** Of the last of them. */
  readonly endsInMs: number;
  readonly packetsDropped: number;
}

/** The newest first. */
export function mergeBlocks(blocks: readonly NodeBlock[]): MergedBlock[] {
  const groups = Map.groupBy(blocks, ({ source, policy, state }) => `${state} ${policy} ${source}`);
  const merged = [...groups.values()].map((group): MergedBlock => {
    const { source, policy, state } = group[0]!;
    return {
      source,
      policy,
      state,
      nodes: group.map(({ node }) => node).sort(),
      probes: Math.max(...group.map(({ probes }) => probes)),
      ports: [...new Set(group.flatMap(({ ports }) => ports))],
      startedAgoMs: Math.max(...group.map(({ startedAgoMs }) => startedAgoMs)),
      endsInMs: Math.max(...group.map(({ endsInMs }) => endsInMs)),
      packetsDropped: group.reduce((sum, { packetsDropped }) => sum + packetsDropped, 0),
    };
  });
  return merged.sort(newestFirst);
}

export function newestFirst(
  a: { readonly startedAgoMs: number; readonly source: string },
  b: { readonly startedAgoMs: number; readonly source: string },
): number {
  return a.startedAgoMs - b.startedAgoMs || (a.source < b.source ? -1 : a.source > b.source ? 1 : 0);
}
