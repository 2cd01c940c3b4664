import { type ErrorCode, ErrorTable, PortcullisError } from '../../api/errors.ts';
import { matchesLabels } from '../../api/label-selector.ts';
import { parseTime } from '../../api/time.ts';
import type { IpBlocklist, PortScanPolicy, SourceException } from '../../api/types.ts';
import type { Finding } from '../finding.ts';
import type { HostLink, HostSnapshot } from '../host/snapshot.ts';
import type { ClusterView, PrefixSetContent } from '../source/policy-source.ts';
import { compareText } from './compare-text.ts';
import { type CurrentList, currentList } from './current-list.ts';
import type { DesiredAllow, DesiredInterface, DesiredState, NeverBlockEntry, OwnerKey } from './desired-state.ts';
import { earliest, unexpired } from './expiry.ts';
import { type Selection, selectInterfaces } from './interfaces.ts';
import { neverBlockSet, onLinkPrefixes, ownAddresses, parseNeverBlock } from './never-block.ts';
import { desiredPolicy } from './policy.ts';
import { prefixOf } from './prefix-fold.ts';

export interface ResolveInput {
  /** Validated, defaults applied. Order is not significant. */
  readonly policies: readonly PortScanPolicy[];
  readonly lists: readonly IpBlocklist[];
  readonly exceptions: readonly SourceException[];
  readonly host: HostSnapshot;
  readonly nodeLabels: Readonly<Record<string, string>>;
  /** The administrator's list: canonical prefixes or bare addresses. */
  readonly neverBlock: readonly string[];
  /** Absent for files: these know no facts, and their objects have no age. */
  readonly cluster?: Pick<ClusterView, 'facts' | 'prefixSets'>;
  /** Wall clock. */
  readonly nowMs: number;
}

/** What selects nodes and interfaces. */
type Guard = PortScanPolicy | IpBlocklist;

interface Selected<T extends Guard> {
  readonly object: T;
  readonly id: string;
  readonly selection: Selection;
}

/** What this node's kernel shall hold, and a reason for everything that was left out. */
export function resolve(input: ResolveInput): DesiredState {
  const { host, nowMs, cluster } = input;
  const precedence = precedenceOf(cluster !== undefined);
  const policies = select(input.policies, input).sort((a, b) => precedence(a, b).order);
  const lists = select(input.lists, input).sort((a, b) => compareText(a.id, b.id));
  const { configured, findings: settingFindings } = configuredNeverBlock(input.neverBlock);
  const neverBlock = neverBlockSet(host, configured, cluster?.facts);

  const allows = new Map(policies.map(({ object }) => [object, unexpired(object.spec.allow, nowMs)]));
  const current = new Map(
    lists.map(({ object }) => [object, currentList(object, nowMs, prefixSetOf(object, cluster))]),
  );
  const exceptions = currentExceptions(input.exceptions, nowMs);
  const findings: Finding[] = [...settingFindings, ...factsFindings(cluster)];
  for (const each of [...policies, ...lists]) findings.push(...selectionFindings(each));
  for (const { object, id } of lists) {
    if (cluster === undefined && object.spec.configMapRefs.length > 0) {
      const message = `${id} names ConfigMaps, which a file cannot: their prefixes are not in force`;
      findings.push(finding('NeedsCluster', message, { object: id, field: 'spec.configMapRefs' }));
    }
    if (object.spec.mode === 'Enforce') findings.push(...overlapFindings(id, object, current.get(object)!, neverBlock));
  }

  const interfaces = [...host.links]
    .sort((a, b) => a.ifindex - b.ifindex)
    .flatMap((link): DesiredInterface[] => {
      const here = policies.filter((each) => selects(each, link));
      const listsHere = lists.filter((each) => selects(each, link));
      if (here.length === 0 && listsHere.length === 0) return [];
      const [governing, ...others] = here;
      if (governing) {
        findings.push(
          ...others.map((other) => conflictFinding(other, governing, link, precedence(governing, other).by)),
        );
      }
      const spared = exceptions.filter((each) => governing && isAbout(each, governing.object.metadata.name));
      return [
        {
          ifindex: link.ifindex,
          name: link.name,
          ...(governing && { policy: desiredPolicy(governing.object) }),
          conflicted: others.map(({ object }) => object.metadata.name),
          allow: unionOfAllows([...here.map(({ object }) => allows.get(object)!.prefixes), spared.map(allowOf)]),
          lists: listsHere.map(({ object }) => current.get(object)!.desired),
        },
      ];
    });
  findings.push(...tieFindings(policies, host.links, precedence));
  const governing = new Set(interfaces.flatMap(({ policy }) => policy?.name ?? []));
  const inForce = exceptions.filter((each) => [...governing].some((name) => isAbout(each, name)));

  const nextChangeAtMs = earliest([
    ...[...allows.values()].map((each) => each.nextChangeAtMs),
    ...[...current.values()].map((each) => each.nextChangeAtMs),
    ...exceptions.map(({ expiresAtMs }) => expiresAtMs),
  ]);
  return {
    interfaces,
    neverBlock,
    onLink: onLinkPrefixes(host),
    ownAddresses: ownAddresses(host),
    owners: [...policies, ...lists].map(({ object }): OwnerKey => ({ kind: object.kind, name: object.metadata.name })),
    exceptions: inForce.map(({ name, cidr, policies: named }) =>
      named.length === 0 ? { name, cidr } : { name, cidr, policies: named },
    ),
    findings,
    ...(nextChangeAtMs !== undefined && { nextChangeAtMs }),
  };
}

function select<T extends Guard>(objects: readonly T[], { host, nodeLabels }: ResolveInput): Selected<T>[] {
  return objects
    .filter(({ spec }) => matchesLabels(spec.nodeSelector, nodeLabels))
    .map((object) => ({
      object,
      id: `${object.kind}/${object.metadata.name}`,
      selection: selectInterfaces(object.spec.interfaces, host),
    }));
}

const selects = ({ selection }: Selected<Guard>, link: HostLink): boolean => selection.links.includes(link);

interface Precedence {
  /** Below 0: the first comes before the second. */
  readonly order: number;
  /** What decided. */
  readonly by: 'priority' | 'age' | 'name';
}

type Precede = (a: Selected<PortScanPolicy>, b: Selected<PortScanPolicy>) => Precedence;

/** Highest priority first, then the oldest, then the name. Files have no age: a time in one is that of another cluster's object. */
function precedenceOf(hasAge: boolean): Precede {
  const bornMs = ({ object }: Selected<PortScanPolicy>): number =>
    (object.metadata.creationTimestamp && parseTime(object.metadata.creationTimestamp)) || Number.POSITIVE_INFINITY;
  return (a, b) => {
    const byPriority = b.object.spec.priority - a.object.spec.priority;
    if (byPriority !== 0) return { order: byPriority, by: 'priority' };
    // No subtraction: without a time both are infinite.
    if (hasAge && bornMs(a) !== bornMs(b)) return { order: bornMs(a) < bornMs(b) ? -1 : 1, by: 'age' };
    return { order: compareText(a.id, b.id), by: 'name' };
  };
}

interface CurrentException {
  readonly name: string;
  readonly cidr: string;
  /** Empty: all. */
  readonly policies: readonly string[];
  readonly expiresAtMs: number;
}

function currentExceptions(exceptions: readonly SourceException[], nowMs: number): CurrentException[] {
  return exceptions
    .flatMap(({ metadata: { name }, spec: { source, policies, expiresAt } }): CurrentException[] => {
      const expiresAtMs = parseTime(expiresAt);
      if (expiresAtMs === undefined || expiresAtMs <= nowMs) return [];
      return [{ name, cidr: source, policies, expiresAtMs }];
    })
    .sort((a, b) => compareText(a.name, b.name));
}

/** A policy that selects an interface and does not govern it blocks nobody there. */
function isAbout({ policies }: CurrentException, governing: string): boolean {
  return policies.length === 0 || policies.includes(governing);
}

function allowOf({ cidr, expiresAtMs }: CurrentException): DesiredAllow {
  return { cidr, expiresAtMs };
}

/** A list that names no ConfigMap any more loses their prefixes at once, whatever its status still says. */
function prefixSetOf(list: IpBlocklist, cluster: ResolveInput['cluster']): PrefixSetContent | undefined {
  return list.spec.configMapRefs.length === 0 ? undefined : cluster?.prefixSets.get(list.metadata.name);
}

function factsFindings(cluster: ResolveInput['cluster']): Finding[] {
  if (cluster === undefined) return [];
  if (cluster.facts.length === 0) {
    const message =
      'nothing is known of the cluster: no ClusterFacts are there, so its nodes, pods and services can be blocked';
    return [finding('FactsUnknown', message)];
  }
  const isComplete = cluster.facts.some(({ spec }) => spec.holds === 'Cluster' && spec.complete === true);
  return isComplete ? [] : [finding('FactsUnknown', 'not all ranges of pods are known, so pods can be blocked')];
}

/** Of the same prefix in several policies the latest expiry holds. */
function unionOfAllows(allows: readonly (readonly DesiredAllow[])[]): DesiredAllow[] {
  const latest = new Map<string, DesiredAllow>();
  for (const allow of allows.flat()) {
    const known = latest.get(allow.cidr);
    const isLater = (allow.expiresAtMs ?? Number.POSITIVE_INFINITY) > (known?.expiresAtMs ?? Number.POSITIVE_INFINITY);
    if (known === undefined || isLater) latest.set(allow.cidr, allow);
  }
  return [...latest.values()];
}

function finding(code: ErrorCode, message: string, more: Partial<Finding> = {}): Finding {
  const { severity, remedy } = ErrorTable[code];
  return { code, severity, message, remedy, ...more };
}

function configuredNeverBlock(texts: readonly string[]): { configured: string[]; findings: Finding[] } {
  const configured: string[] = [];
  const findings: Finding[] = [];
  for (const text of texts) {
    try {
      configured.push(parseNeverBlock(text));
    } catch (error) {
      if (!(error instanceof PortcullisError)) throw error;
      findings.push(finding(error.code, error.message, { remedy: error.remedy, field: 'never-block' }));
    }
  }
  return { configured, findings };
}

function selectionFindings({ id, selection }: Selected<Guard>): Finding[] {
  const { links, unsupported, unsupportedByRole } = selection;
  const findings = unsupported.map(({ link, reason }) =>
    finding('InterfaceUnsupported', `${id} selects ${link.name}, which is ${reason}`, {
      object: id,
      field: 'spec.interfaces',
      interfaceName: link.name,
    }),
  );
  if (links.length === 0) {
    const why = [...unsupported, ...unsupportedByRole].map(({ link, reason }) => `; ${link.name} is ${reason}`);
    findings.push(
      finding('NoInterfaceMatches', `${id} selects no interface of this node that can be guarded${why.join('')}`, {
        object: id,
        field: 'spec.interfaces',
      }),
    );
  }
  return findings;
}

function conflictFinding(
  loser: Selected<PortScanPolicy>,
  winner: Selected<PortScanPolicy>,
  link: HostLink,
  by: Precedence['by'],
): Finding {
  const [low, high] = [loser.object.spec.priority, winner.object.spec.priority];
  const why = {
    priority: `priority ${high} against ${low}`,
    age: `both have priority ${low} and it is older`,
    name: `both have priority ${low} and its name comes first`,
  }[by];
  return finding('PolicyConflicted', `${loser.id} does not govern ${link.name}: ${winner.id} does, ${why}`, {
    object: loser.id,
    field: 'spec.priority',
    interfaceName: link.name,
  });
}

/** One finding for each pair whose names decide anywhere, not one for each interface. */
function tieFindings(
  policies: readonly Selected<PortScanPolicy>[],
  links: readonly HostLink[],
  precedence: Precede,
): Finding[] {
  const pairs = new Map<string, Finding>();
  for (const link of links) {
    const [governing, ...others] = policies.filter((each) => selects(each, link));
    for (const other of others) {
      if (governing === undefined || precedence(governing, other).by !== 'name') continue;
      const message = `${governing.id} governs ${link.name} rather than ${other.id} by its name alone: both have priority ${other.object.spec.priority}`;
      const key = `${governing.id} ${other.id}`;
      if (!pairs.has(key)) {
        pairs.set(key, finding('PolicyTieByName', message, { object: other.id, field: 'spec.priority' }));
      }
    }
  }
  return [...pairs.values()];
}

/** As many as are named before the rest is only counted. */
const MAX_NAMED = 3;

function overlapFindings(
  id: string,
  list: IpBlocklist,
  { entryOver }: CurrentList,
  neverBlock: readonly NeverBlockEntry[],
): Finding[] {
  const overlaps = neverBlock.flatMap(({ cidr, kind }) => {
    const entry = kind === 'special' ? undefined : entryOver(prefixOf(cidr));
    return entry === undefined ? [] : [{ entry, text: `${cidr} (${kind}) is inside ${entry}` }];
  });
  const [first] = overlaps;
  if (first === undefined) return [];
  const named = overlaps.slice(0, MAX_NAMED).map(({ text }) => text);
  const rest = overlaps.length > MAX_NAMED ? ` and ${overlaps.length - MAX_NAMED} more` : '';
  const index = list.spec.entries.findIndex(({ cidr }) => cidr === first.entry);
  return [
    finding('NeverBlockOverlapsList', `${id} lists sources that are never blocked: ${named.join(', ')}${rest}`, {
      severity: 'info',
      object: id,
      field: index === -1 ? 'spec.configMapRefs' : `spec.entries[${index}].cidr`,
    }),
  ];
}
