/** `explain SOURCE`: everything that concerns one source, what comes of it, and what can be done. */

import { type Prefix, parsePrefixOrAddress } from '../../api/cidr.ts';
import { parseTime } from '../../api/time.ts';
import { alignColumns, grouped, printable } from '../../cli/format-text.ts';
import type { KubeObject } from '../../kube/objects.ts';
import { resources } from '../../kube/resources.ts';
import { blocksOf, type NodeBlock, newestFirst, overlaps, type SeenReport, seenReport } from '../blocks.ts';
import { collect, type Missing, serverTime } from '../cluster.ts';
import {
  type ExceptionHit,
  exceptionsAbout,
  type FactHit,
  factsAbout,
  type Hit,
  type ListHit,
  listsAbout,
  type PolicyFacts,
  policyFacts,
} from '../coverage.ts';
import { ago, inTime, plural, section, shortNames, shortPorts, structured } from '../output.ts';
import { sourceText } from '../source.ts';
import { type BlockedDocument, blockedDocument } from './blocked.ts';
import { type Context, exitCodes, type Structured } from './context.ts';

/** All that was found about the source. */
export interface SourceFacts {
  readonly source: Prefix;
  /** By the API server's clock. */
  readonly nowMs: number;
  readonly reports: readonly (Pick<SeenReport, 'node' | 'state' | 'isStale' | 'exceptions'> &
    Partial<Pick<SeenReport, 'breakGlass'>>)[];
  readonly blocks: readonly NodeBlock[];
  readonly policies: readonly PolicyFacts[];
  readonly lists: readonly ListHit[];
  readonly exceptions: readonly ExceptionHit[];
  readonly neverBlock: readonly FactHit[];
  readonly missing: readonly Missing[];
}

/** What `explain -o json` shows. */
export interface Explanation {
  readonly source: string;
  /** The first that applies; see verdictOf. */
  readonly verdict: 'NeverBlocked' | 'Listed' | 'Excepted' | 'Allowed' | 'Blocked' | 'WouldBlock' | 'Spared' | 'None';
  /** The verdict in one sentence or two. */
  readonly summary: string;
  readonly blocks: readonly BlockedDocument[];
  readonly lists: readonly ListHit[];
  readonly exceptions: readonly (ExceptionHit & { readonly nodesInForce: number })[];
  readonly allowedBy: readonly { readonly policy: string; readonly entries: readonly Hit[] }[];
  readonly neverBlock: readonly FactHit[];
  readonly whatToDo: readonly string[];
  readonly notLookedAt: readonly Missing[];
}

export async function explain(
  { client, clock, io }: Context,
  options: { readonly source: Prefix; readonly output: 'text' | Structured },
): Promise<number> {
  const { source } = options;
  const missing: Missing[] = [];
  const time = await serverTime(client, clock);
  const blocks: NodeBlock[] = [];
  const keep = (object: KubeObject) => {
    blocks.push(
      ...blocksOf(object, time.nowMs()).filter((block) => overlaps(parsePrefixOrAddress(block.source)!, source)),
    );
    const { node, state, isStale, exceptions } = seenReport(object, time.nowMs());
    return { node, state, isStale, exceptions };
  };
  const reports = await collect(client, resources.nodeReports, keep);
  const nowMs = time.nowMs();
  const facts: SourceFacts = {
    source,
    nowMs,
    reports,
    // Pages that were read twice, since the first ones had expired, tell of the same blocks twice.
    blocks: [
      ...new Map(
        blocks.map((block) => [`${block.node} ${block.policy} ${block.source} ${block.state}`, block]),
      ).values(),
    ],
    policies: await policyFacts(client, source, nowMs, missing),
    lists: await listsAbout(client, source, nowMs, missing),
    exceptions: await exceptionsAbout(client, source, nowMs, missing),
    neverBlock: await factsAbout(client, source, missing),
    missing,
  };
  const explanation = explanationOf(facts);
  io.stdout(
    options.output === 'text' ? formatExplanation(explanation, nowMs) : structured(explanation, options.output),
  );
  const isConcerned = explanation.verdict !== 'None' || explanation.lists.length + explanation.exceptions.length > 0;
  return isConcerned ? exitCodes.ok : exitCodes.found;
}

/** Pure. */
export function explanationOf(facts: SourceFacts): Explanation {
  const { exceptions, reports, policies } = facts;
  const { verdict, summary } = verdictOf(facts);
  return {
    source: sourceText(facts.source),
    verdict,
    summary,
    blocks: facts.blocks.toSorted(newestFirst).map((block) => blockedDocument(block, facts.nowMs)),
    lists: facts.lists,
    exceptions: exceptions.map((exception) => ({
      ...exception,
      nodesInForce: reports.filter((report) => report.exceptions.includes(exception.name)).length,
    })),
    allowedBy: policies.flatMap(({ name, allow }) => (allow.length === 0 ? [] : [{ policy: name, entries: allow }])),
    neverBlock: facts.neverBlock,
    whatToDo: adviceFor(facts),
    notLookedAt: facts.missing,
  };
}

const factNames: Readonly<Record<FactHit['holds'], string>> = {
  Nodes: 'the address of a node',
  PodRanges: 'in a range of pods',
  ServiceRanges: 'in a range of services',
  ApiServer: 'the address of an API server',
  Configured: "in the operator's --never-block",
  Cluster: 'of the cluster',
  Detach: 'of the uninstallation',
};

/** As a node decides: never-block set, lists, exceptions, blocks; what reports say comes before what policies say. */
function verdictOf(facts: SourceFacts): { readonly verdict: Explanation['verdict']; readonly summary: string } {
  const { blocks, lists, exceptions, neverBlock, policies, reports } = facts;
  const text = sourceText(facts.source);
  const fact = neverBlock.find(({ covers }) => covers);
  if (fact !== undefined) {
    return {
      verdict: 'NeverBlocked',
      summary: `${text} is ${factNames[fact.holds]} (${fact.cidr}): it is never dropped.`,
    };
  }
  const dropping = lists.filter(({ mode, covers, except }) => mode === 'Enforce' && covers && except.length === 0);
  if (dropping.length > 0) {
    const what = dropping.some(({ traffic }) => traffic === 'All') ? 'all its packets' : 'its new connections';
    const names = shortNames(
      dropping.map(({ name }) => name),
      3,
    );
    return {
      verdict: 'Listed',
      summary: `${text} is listed: ${what} are dropped by IpBlocklist ${names}, where that holds.`,
    };
  }
  const dropped = blocks.filter((block) => block.state === 'Blocked' && !isExcepted(block, exceptions));
  if (dropped.length > 0) {
    const nodes = new Set(dropped.map(({ node }) => node)).size;
    const by = shortNames([...new Set(dropped.map(({ policy }) => policy))], 3);
    const last = Math.max(...dropped.map(({ endsInMs }) => endsInMs));
    return {
      verdict: 'Blocked',
      summary: `${text} is blocked on ${grouped(nodes)} of ${plural(reports.length, 'node')} by ${by}; the last block ends ${inTime(last)} unless it goes on scanning.`,
    };
  }
  const exception = exceptions.find(({ covers }) => covers);
  if (exception !== undefined) {
    const { name, policies: named, expiresAt = '' } = exception;
    const whom = named.length === 0 ? 'no policy blocks it' : `${shortNames(named, 3)} does not block it`;
    const end = inTime((parseTime(expiresAt) ?? 0) - facts.nowMs);
    return {
      verdict: 'Excepted',
      summary: `${text} is let in: ${whom} while SourceException ${name} stands, which ends ${end}.`,
    };
  }
  const allowing = policies.filter(({ allow }) => allow.length > 0);
  if (allowing.length > 0) {
    const names = shortNames(
      allowing.map(({ name }) => name),
      3,
    );
    return {
      verdict: 'Allowed',
      summary: `${text} is not blocked for scanning where PortScanPolicy ${names} selects the interface: it is in spec.allow.`,
    };
  }
  if (blocks.some(({ state }) => state === 'WouldBlock')) {
    return {
      verdict: 'WouldBlock',
      summary: `${text} scans; mode Enforce would block it, mode Monitor drops nothing.`,
    };
  }
  if (blocks.some(({ state }) => state === 'Spared')) {
    return { verdict: 'Spared', summary: `${text} scans and is spared: a node has it in its never-block set.` };
  }
  return { verdict: 'None', summary: `Nothing drops ${text}, as far as the reports and lists tell.` };
}

/** Also where the report is older than the exception and still shows the block. */
const isExcepted = ({ policy }: NodeBlock, exceptions: readonly ExceptionHit[]): boolean =>
  exceptions.some(({ covers, policies }) => covers && (policies.length === 0 || policies.includes(policy)));

function adviceFor(facts: SourceFacts): string[] {
  const { blocks, lists, exceptions, reports } = facts;
  const text = sourceText(facts.source);
  const advice: string[] = [];
  for (const list of lists) {
    if (!list.covers || list.except.length > 0) continue;
    const end = list.isByHand
      ? `kubectl delete ipblocklist ${list.name}`
      : list.entries.length > 0
        ? `remove the entry from IpBlocklist ${list.name}, or add ${text} to its spec.except`
        : `add ${text} to spec.except of IpBlocklist ${list.name}, or take it out of the ConfigMap`;
    advice.push(`To let it through ${list.name}: ${end}. A SourceException does not weaken a list.`);
  }
  const dropped = blocks.filter(({ state }) => state === 'Blocked');
  if (dropped.some((block) => !isExcepted(block, exceptions))) {
    advice.push(
      `To let it in for an hour: kubectl portcullis unblock ${text} --for 1h. For good: add it to spec.allow of the policy.`,
    );
  } else if (dropped.length > 0) {
    advice.push('The exception is younger than the reports: look again in a minute.');
  }
  for (const { name } of exceptions) advice.push(`To end the exception early: kubectl delete sourceexception ${name}.`);
  if (blocks.some(({ policy }) => policy === '(manual)')) {
    advice.push('A block by hand was made on the node itself: portcullis-agent unblock on that node lifts it.');
  }
  if (blocks.some(({ state }) => state === 'Spared')) {
    advice.push('It scans from inside: find out what runs there.');
  }
  for (const isUninstalled of [false, true]) {
    const detached = reports.filter(
      ({ state, breakGlass }) => state === 'Detached' && (breakGlass === 'Uninstall') === isUninstalled,
    );
    const why = isUninstalled ? 'detached, since Portcullis is being uninstalled' : 'detached by break-glass';
    const names = detached.map(({ node }) => node);
    if (names.length > 0) advice.push(`Nothing is dropped on ${shortNames(names, 3)}: ${why}.`);
  }
  if (reports.length === 0) advice.push('No node reports: is the agent running?');
  const { length: unlisted } = reports.filter(({ isStale }) => isStale);
  if (unlisted > 0) advice.push(`${plural(unlisted, 'report')} is old: what stands there may be over.`);
  return advice;
}

export function formatExplanation(explanation: Explanation, nowMs: number): string {
  const { blocks, lists, exceptions, allowedBy, neverBlock, whatToDo, notLookedAt } = explanation;
  const until = (expiresAt: string | undefined) =>
    expiresAt === undefined ? 'for ever' : inTime((parseTime(expiresAt) ?? 0) - nowMs);
  const table = (titles: string[], rows: string[][], right: number[] = []) =>
    rows.length === 0 ? '' : alignColumns([titles, ...rows], new Set(right));
  return [
    `${printable(explanation.summary)}\n`,
    section(
      'Blocks for scanning',
      table(
        ['SOURCE', 'POLICY', 'NODE', 'STATE', 'PROBES', 'PORTS', 'SINCE', 'UNTIL', 'DROPPED', 'INTERFACE', 'PROVEN'],
        blocks.map((block) => [
          block.source,
          block.policy,
          block.node,
          block.state,
          block.probes === 0 ? '-' : grouped(block.probes),
          shortPorts(block.ports),
          ago(nowMs - Date.parse(block.since)),
          inTime(block.endsInSeconds * 1000),
          grouped(block.packetsDropped),
          block.interface ?? '-',
          block.proven === null ? '-' : block.proven ? 'yes' : 'no',
        ]),
        [4, 8],
      ),
    ),
    section(
      'IpBlocklists',
      table(
        ['LIST', 'MODE', 'ENTRY', 'FROM', 'UNTIL', 'PROGRAMMED', 'NODES', 'REASON'],
        lists.flatMap((list) => {
          const state = [list.programmed, list.nodes];
          return [
            ...list.entries.map((entry) => [
              list.name,
              list.mode,
              entry.cidr,
              'spec',
              until(entry.expiresAt),
              ...state,
              entry.reason ?? '-',
            ]),
            ...list.fromConfigMaps.map((cidr) => [list.name, list.mode, cidr, 'ConfigMap', 'for ever', ...state, '-']),
            ...list.except.map((entry) => [
              list.name,
              list.mode,
              entry.cidr,
              'except',
              until(entry.expiresAt),
              ...state,
              entry.reason ?? '-',
            ]),
          ];
        }),
      ),
    ),
    section(
      'SourceExceptions',
      table(
        ['NAME', 'SOURCE', 'POLICIES', 'UNTIL', 'NODES', 'REASON'],
        exceptions.map((one) => [
          one.name,
          one.cidr,
          one.policies.length === 0 ? 'all' : one.policies.join(','),
          until(one.expiresAt),
          grouped(one.nodesInForce),
          one.reason ?? '-',
        ]),
        [4],
      ),
    ),
    section(
      'Allowed by policies',
      table(
        ['POLICY', 'ENTRY', 'UNTIL', 'REASON'],
        allowedBy.flatMap(({ policy, entries }) =>
          entries.map((entry) => [policy, entry.cidr, until(entry.expiresAt), entry.reason ?? '-']),
        ),
      ),
    ),
    section(
      'Never-block set of the cluster',
      table(
        ['PREFIX', 'WHAT'],
        neverBlock.map(({ cidr, holds }) => [cidr, holds]),
      ),
    ),
    section('What to do', whatToDo.map((line) => `${printable(line)}\n`).join('')),
    section('Not looked at', notLookedAt.map(({ what, reason }) => `${what}: ${reason}\n`).join('')),
  ].join('');
}
