import { type ErrorCode, ErrorTable, PortcullisError } from '../../api/errors.ts';
import { matchesLabels } from '../../api/label-selector.ts';
import type { IpBlocklist, PortScanPolicy } from '../../api/types.ts';
import type { Finding } from '../finding.ts';
import type { HostLink, HostSnapshot } from '../host/snapshot.ts';
import { compareText } from './compare-text.ts';
import { currentList } from './current-list.ts';
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
  readonly host: HostSnapshot;
  readonly nodeLabels: Readonly<Record<string, string>>;
  /** The administrator's list: canonical prefixes or bare addresses. */
  readonly neverBlock: readonly string[];
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
  const { host, nowMs } = input;
  const policies = select(input.policies, input).sort(byPrecedence);
  const lists = select(input.lists, input).sort((a, b) => compareText(a.id, b.id));
  const { configured, findings: settingFindings } = configuredNeverBlock(input.neverBlock);
  const neverBlock = neverBlockSet(host, configured);

  const allows = new Map(policies.map(({ object }) => [object, unexpired(object.spec.allow, nowMs)]));
  const current = new Map(lists.map(({ object }) => [object, currentList(object, nowMs)]));
  const findings: Finding[] = [...settingFindings];
  for (const each of [...policies, ...lists]) findings.push(...selectionFindings(each));
  for (const { object, id } of lists) {
    if (object.spec.mode === 'Enforce') findings.push(...overlapFindings(id, object, nowMs, neverBlock));
  }

  const interfaces = [...host.links]
    .sort((a, b) => a.ifindex - b.ifindex)
    .flatMap((link): DesiredInterface[] => {
      const here = policies.filter((each) => selects(each, link));
      const listsHere = lists.filter((each) => selects(each, link));
      if (here.length === 0 && listsHere.length === 0) return [];
      const [governing, ...others] = here;
      if (governing) findings.push(...others.map((other) => conflictFinding(other, governing, link)));
      return [
        {
          ifindex: link.ifindex,
          name: link.name,
          ...(governing && { policy: desiredPolicy(governing.object) }),
          conflicted: others.map(({ object }) => object.metadata.name),
          allow: unionOfAllows(here.map(({ object }) => allows.get(object)!.prefixes)),
          lists: listsHere.map(({ object }) => current.get(object)!.desired),
        },
      ];
    });
  findings.push(...tieFindings(policies, host.links));

  const nextChangeAtMs = earliest([
    ...[...allows.values()].map((each) => each.nextChangeAtMs),
    ...[...current.values()].map((each) => each.nextChangeAtMs),
  ]);
  return {
    interfaces,
    neverBlock,
    onLink: onLinkPrefixes(host),
    ownAddresses: ownAddresses(host),
    owners: [...policies, ...lists].map(({ object }): OwnerKey => ({ kind: object.kind, name: object.metadata.name })),
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

/** Highest priority first, then the name: files have no age. */
function byPrecedence(a: Selected<PortScanPolicy>, b: Selected<PortScanPolicy>): number {
  return b.object.spec.priority - a.object.spec.priority || compareText(a.id, b.id);
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

function conflictFinding(loser: Selected<PortScanPolicy>, winner: Selected<PortScanPolicy>, link: HostLink): Finding {
  const [low, high] = [loser.object.spec.priority, winner.object.spec.priority];
  const why = low === high ? `both have priority ${low} and its name comes first` : `priority ${high} against ${low}`;
  return finding('PolicyConflicted', `${loser.id} does not govern ${link.name}: ${winner.id} does, ${why}`, {
    object: loser.id,
    field: 'spec.priority',
    interfaceName: link.name,
  });
}

/** One finding for each pair whose names decide anywhere, not one for each interface. */
function tieFindings(policies: readonly Selected<PortScanPolicy>[], links: readonly HostLink[]): Finding[] {
  const pairs = new Map<string, Finding>();
  for (const link of links) {
    const [governing, ...others] = policies.filter((each) => selects(each, link));
    for (const other of others) {
      if (governing === undefined || other.object.spec.priority !== governing.object.spec.priority) continue;
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
  nowMs: number,
  neverBlock: readonly NeverBlockEntry[],
): Finding[] {
  const { entryOver } = currentList(list, nowMs);
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
      field: `spec.entries[${index}].cidr`,
    }),
  ];
}
