/** `status`: what holds in the cluster, and what somebody has to look at. */

import { conditionOf } from '../../api/conditions.ts';
import { parseTime } from '../../api/time.ts';
import type { IpBlocklist, PortScanPolicy, SourceException } from '../../api/types.ts';
import { alignColumns, grouped, printable } from '../../cli/format-text.ts';
import type { KubeClient } from '../../kube/client.ts';
import { isForbidden, isNotFound } from '../../kube/errors.ts';
import type { KubeObject } from '../../kube/objects.ts';
import { type Resource, resources } from '../../kube/resources.ts';
import { type SeenReport, seenReport, writtenAtMs } from '../blocks.ts';
import { collect, type Missing, orMissing, serverTime } from '../cluster.ts';
import { ago, plural, section, structured } from '../output.ts';
import { type Context, exitCodes, type Structured } from './context.ts';

/** What `status -o json` shows. */
export interface ClusterStatus {
  readonly nodes: {
    readonly reports: number;
    readonly enforcing: number;
    readonly starting: number;
    readonly failed: number;
    readonly detached: number;
    /** Of all of these: not written for so long that the agent is probably not running. */
    readonly stale: number;
    readonly blocked: number;
    readonly wouldBlock: number;
    readonly spared: number;
    /** Nodes that somebody has to look at, at most 50. */
    readonly attention: readonly NodeAttention[];
  };
  readonly policies: readonly ObjectStatus[];
  readonly lists: readonly ObjectStatus[];
  /** In force now. */
  readonly exceptions: number;
  readonly notLookedAt: readonly Missing[];
  /** What is wrong with the operator, as far as its Lease tells. */
  readonly operator?: string;
  /** Whether all is as it should be: the exit code is 0 then. */
  readonly ok: boolean;
}

export interface NodeAttention {
  readonly node: string;
  readonly state: string;
  /** Since the last report; null when the server does not say. */
  readonly reportedAgoSeconds: number | null;
  readonly problems: readonly string[];
}

export interface ObjectStatus {
  readonly name: string;
  readonly mode: string;
  /** `True`, `False` or `Unknown`; null while the operator has written nothing about this generation. */
  readonly programmed: string | null;
  readonly reason: string;
  /** Such as 3/3. */
  readonly nodes: string;
  readonly blocked: number;
  readonly packetsDropped: number;
  readonly problems: readonly string[];
}

const shownAttention = 50;
/** Of one node: what it says of itself must not push the other nodes off the screen. */
const shownErrors = 3;

export async function status(
  { client, clock, io }: Context,
  options: { readonly output: 'table' | Structured },
): Promise<number> {
  const missing: Missing[] = [];
  const optional = <T>(what: string, resource: Resource, keep: (object: KubeObject) => T | undefined) =>
    orMissing(what, missing, collect(client, resource, keep), []);
  const time = await serverTime(client, clock);
  const reports = await collect(client, resources.nodeReports, (object) => seenReport(object, time.nowMs()));
  const policies = await optional('PortScanPolicies', resources.portScanPolicies, policyStatus);
  const lists = await optional('IpBlocklists', resources.ipBlocklists, listStatus);
  const exceptions = await optional('SourceExceptions', resources.sourceExceptions, (object) => {
    const { spec } = object as unknown as SourceException;
    return (parseTime(spec?.expiresAt ?? '') ?? 0) > time.nowMs() ? true : undefined;
  });
  const operator = operatorProblem(await operatorLease(client), time.nowMs());
  const summary = summarize({ reports, policies, lists, exceptions: exceptions.length, missing, operator });
  io.stdout(options.output === 'table' ? formatStatus(summary) : structured(summary, options.output));
  return summary.ok ? exitCodes.ok : exitCodes.found;
}

const namespace = 'portcullis-system';
const leaseName = 'portcullis-operator';
/** It is renewed every two seconds, and another replica takes over within a quarter of a minute. */
const leaseStaleMs = 60_000;

/** Undefined for whoever may not read it, or runs the operator under another name: then the statuses alone tell. */
async function operatorLease(client: KubeClient): Promise<KubeObject | undefined> {
  try {
    return await client.get(resources.leases, leaseName, { namespace });
  } catch (error) {
    if (isForbidden(error) || isNotFound(error)) return undefined;
    throw error;
  }
}

/** Without an operator all statuses stay as they were, and look well. Pure. */
export function operatorProblem(lease: KubeObject | undefined, serverNowMs: number): string | undefined {
  const atMs = lease && writtenAtMs(lease);
  if (atMs === undefined || serverNowMs - atMs <= leaseStaleMs) return undefined;
  const since = ago(serverNowMs - atMs);
  return `the operator last gave a sign of life ${since}, so what is said of policies and lists may be out of date: kubectl -n ${namespace} get pods`;
}

/** Pure. */
export function summarize(seen: {
  readonly operator?: string | undefined;
  readonly reports: readonly SeenReport[];
  readonly policies: readonly ObjectStatus[];
  readonly lists: readonly ObjectStatus[];
  readonly exceptions: number;
  readonly missing: readonly Missing[];
}): ClusterStatus {
  const { reports, policies, lists } = seen;
  const inState = (state: string) => reports.filter((report) => report.state === state).length;
  const sum = (field: 'blocked' | 'wouldBlock' | 'spared') =>
    reports.reduce((total, report) => total + report[field], 0);
  const attention = reports.map(attentionOf).filter(({ problems }) => problems.length > 0);
  return {
    nodes: {
      reports: reports.length,
      enforcing: inState('Enforcing'),
      starting: inState('Starting'),
      failed: inState('Failed'),
      detached: inState('Detached'),
      stale: reports.filter(({ isStale }) => isStale).length,
      blocked: sum('blocked'),
      wouldBlock: sum('wouldBlock'),
      spared: sum('spared'),
      attention: attention.slice(0, shownAttention),
    },
    policies,
    lists,
    exceptions: seen.exceptions,
    notLookedAt: seen.missing,
    ...(seen.operator !== undefined && { operator: seen.operator }),
    ok:
      seen.operator === undefined &&
      reports.length > 0 &&
      attention.length === 0 &&
      [...policies, ...lists].every(({ problems, programmed }) => problems.length === 0 && programmed === 'True'),
  };
}

function attentionOf({ node, state, breakGlass, ageMs, isStale, findings }: SeenReport): NodeAttention {
  const problems = [];
  if (isStale) problems.push('has not reported for long: is its agent running?');
  if (breakGlass === 'Uninstall') problems.push('detached, since Portcullis is being uninstalled');
  else if (breakGlass !== undefined) problems.push(`detached by break-glass (${breakGlass})`);
  else if (state === 'Failed') problems.push('the policies could not be put in force');
  const errors = findings.filter(({ severity }) => severity === 'error');
  for (const { code, message } of errors.slice(0, shownErrors)) problems.push(`${code}: ${message}`);
  const rest = errors.length - shownErrors;
  if (rest > 0) problems.push(`${plural(rest, 'more error')}: kubectl describe nodereport ${node}`);
  return { node, state, reportedAgoSeconds: ageMs === undefined ? null : Math.floor(ageMs / 1000), problems };
}

export function policyStatus(object: KubeObject): ObjectStatus {
  const { spec, status } = object as unknown as PortScanPolicy;
  const { sources = 0, packetsDropped = 0 } = status?.blocked ?? {};
  return { ...objectStatus(object, spec?.mode ?? '', status), blocked: sources, packetsDropped };
}

export function listStatus(object: KubeObject): ObjectStatus {
  const { spec, status } = object as unknown as IpBlocklist;
  const refused = status?.entries?.refused ?? 0;
  const common = objectStatus(object, spec?.mode ?? 'Enforce', status);
  const problems = refused === 0 ? common.problems : [...common.problems, `${plural(refused, 'line')} refused`];
  return { ...common, problems, blocked: 0, packetsDropped: status?.packetsDropped ?? 0 };
}

type AnyStatus = PortScanPolicy['status'] | IpBlocklist['status'];

function objectStatus({ metadata }: KubeObject, mode: string, status: AnyStatus) {
  const programmed = conditionOf(status?.conditions, 'Programmed');
  const accepted = conditionOf(status?.conditions, 'Accepted');
  const degraded = conditionOf(status?.conditions, 'Degraded');
  // What is said of an earlier generation is not about what stands there now.
  const isCurrent = (programmed?.observedGeneration ?? 0) >= (metadata.generation ?? 0);
  const problems = [];
  if (accepted?.status === 'False') problems.push(`not accepted: ${accepted.message}`);
  if (degraded?.status === 'True') problems.push(`${degraded.reason}: ${degraded.message}`);
  if (programmed === undefined) problems.push('no status yet: is the operator running?');
  else if (!isCurrent) problems.push('the operator has not seen this generation yet');
  else if (programmed.status !== 'True') {
    const [example] = status?.nodes?.examples ?? [];
    const where = example === undefined ? '' : ` (${example.node}: ${example.reason})`;
    problems.push(`${programmed.reason}: ${programmed.message}${where}`);
  }
  return {
    name: metadata.name,
    mode,
    programmed: isCurrent ? (programmed?.status ?? null) : null,
    reason: isCurrent ? (programmed?.reason ?? '') : '',
    nodes: status?.summary ?? '-',
    problems,
  };
}

export function formatStatus(seen: ClusterStatus): string {
  const { nodes, policies, lists } = seen;
  const states = (['enforcing', 'starting', 'failed', 'detached', 'stale'] as const)
    .filter((state) => nodes[state] > 0)
    .map((state) => `${grouped(nodes[state])} ${state}`);
  const reports =
    nodes.reports === 0
      ? 'none reports: is the agent running?'
      : `${plural(nodes.reports, 'report')}, ${states.join(', ')}`;
  const others = [
    ...(nodes.wouldBlock > 0 ? [`${grouped(nodes.wouldBlock)} would be by mode Enforce`] : []),
    ...(nodes.spared > 0 ? [`${grouped(nodes.spared)} scan and are spared`] : []),
  ];
  const blocked = [`${grouped(nodes.blocked)} on all nodes together`, ...others].join(', ');
  const right = new Set([4, 5]);
  const table = (objects: readonly ObjectStatus[], isList: boolean) =>
    objects.length === 0
      ? ''
      : alignColumns(
          [
            ['NAME', 'MODE', 'PROGRAMMED', 'NODES', ...(isList ? [] : ['BLOCKED']), 'DROPPED'],
            ...objects.map((object) => [
              object.name,
              object.mode,
              object.programmed === 'True' ? 'True' : `${object.programmed ?? 'Unknown'} ${object.reason}`.trimEnd(),
              object.nodes,
              ...(isList ? [] : [grouped(object.blocked)]),
              grouped(object.packetsDropped),
            ]),
          ],
          isList ? new Set([4]) : right,
        );
  const problems = [
    ...(seen.operator === undefined ? [] : [seen.operator]),
    ...policies.flatMap((one) => one.problems.map((text) => `PortScanPolicy/${one.name}: ${text}`)),
    ...lists.flatMap((one) => one.problems.map((text) => `IpBlocklist/${one.name}: ${text}`)),
    ...nodes.attention.flatMap((one) => [
      ...one.problems.map((text) => `node ${one.node}: ${text}${reported(one.reportedAgoSeconds)}`),
    ]),
  ];
  return [
    `Nodes:      ${reports}\nBlocked:    ${blocked}\nExceptions: ${grouped(seen.exceptions)} in force\n`,
    section('PortScanPolicies', table(policies, false)),
    section('IpBlocklists', table(lists, true)),
    section('Look at', problems.map((text) => `${printable(text)}\n`).join('')),
    section('Not looked at', seen.notLookedAt.map(({ what, reason }) => `${what}: ${reason}\n`).join('')),
    policies.length + lists.length === 0 ? '\nThere is no policy and no list: nothing is dropped.\n' : '',
  ].join('');
}

const reported = (seconds: number | null): string => (seconds === null ? '' : `; reported ${ago(seconds * 1000)}`);
