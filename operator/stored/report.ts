import { parsePrefixOrAddress } from '../../api/cidr.ts';
import { isMapping } from '../../api/rules.ts';
import type { BlockReport, ListReport, PolicyReport } from '../../api/types/node-report.ts';
import type { KubeMeta, KubeObject } from '../../kube/objects.ts';

/** What became of one policy or list on the node. */
export interface StoredEntry {
  readonly name: string;
  readonly generation: number;
  readonly state: PolicyReport['state'] | ListReport['state'];
  readonly message?: string;
  /** The first interfaces that another policy governs. */
  readonly conflicted?: readonly string[];
  /** Of a list: the digest of what is in force of its ConfigMaps. */
  readonly prefixSet?: string;
  readonly blocked: number;
  readonly wouldBlock: number;
  readonly spared: number;
  readonly packetsDropped: number;
}

export interface StoredBlock {
  readonly source: string;
  readonly policy: string;
  readonly state: BlockReport['state'];
  readonly probes: number;
  readonly ports: readonly number[];
  /** From `since` to `until`, both by the node's clock. */
  readonly lengthMs: number;
  /** From when the report was written. */
  readonly leftMs: number;
  readonly packetsDropped: number;
}

/** Something that a person should know about the node, and that degrades what is to hold there. */
export interface StoredTrouble {
  readonly code: 'TableFull' | 'ForeignXdpProgram';
  readonly message: string;
  /** `Kind/name`, where it concerns one object alone. */
  readonly object?: string;
  readonly interfaceName?: string;
}

/** What is kept of a NodeReport: what the status of policies and lists is made of. */
export interface StoredReport extends KubeObject {
  readonly metadata: Pick<KubeMeta, 'name' | 'uid' | 'resourceVersion' | 'creationTimestamp'>;
  /** The Node that owns it, by its ownerReferences; absent when it has no owner. */
  readonly ownerNodeUid?: string;
  /** When the API server last took a write of it, by its own clock in ms since 1970; absent when it does not say. */
  readonly writtenAtMs?: number;
  readonly isDetached: boolean;
  /** Detached since the installation is being uninstalled, and not by break-glass. */
  readonly isUninstalled: boolean;
  readonly policies: readonly StoredEntry[];
  readonly lists: readonly StoredEntry[];
  readonly blocks: readonly StoredBlock[];
  readonly troubles: readonly StoredTrouble[];
}

// What the schema admits. Nothing of a report is believed beyond that: who holds an agent's token writes what he likes, and
// a schema that was loosened must not make the operator grow.
const maxOwners = 100;
const maxEntries = 200;
const maxBlocks = 20;
const maxPorts = 16;
const maxTroubles = 20;
const maxNameLength = 253;
/** Of a uid that the API server made, 36. The schema of an owner has no bound. */
const maxUidLength = 64;
const maxMessageLength = 256;
/** int32: a sum's parts must not be larger than the sum may be. */
const maxCount = 2 ** 31 - 1;
/** Some thousands of them must add up without loss. */
const maxPackets = 2 ** 50;
const maxBlockMs = 720 * 3_600_000;
/** A block that is renewed may be old, but a date must come out of it. */
const maxLengthMs = 3650 * 86_400_000;

/** What a reflector keeps of reports. Thousands of nodes say the same of the same policies: that is kept once. */
export function reportStore(): (object: KubeObject) => StoredReport {
  const shared = new Map<string, StoredEntry>();
  const share = (entry: StoredEntry): StoredEntry => {
    if (entry.message !== undefined || entry.conflicted !== undefined || entry.packetsDropped > 0) return entry;
    if (entry.blocked > 0 || entry.wouldBlock > 0 || entry.spared > 0) return entry;
    const key = `${entry.name} ${entry.generation} ${entry.state} ${entry.prefixSet ?? ''}`;
    const known = shared.get(key);
    if (known !== undefined) return known;
    if (shared.size >= maxShared) shared.clear();
    shared.set(key, entry);
    return entry;
  };
  return (object) => storeReport(object, share);
}

const maxShared = 2000;

function storeReport(object: KubeObject, share: (entry: StoredEntry) => StoredEntry): StoredReport {
  const { metadata } = object;
  const { status } = object as KubeObject & { readonly status?: unknown };
  const { name, uid, resourceVersion, creationTimestamp } = metadata;
  const content = isMapping(status) ? status : {};
  const owner = mappings(metadata.ownerReferences, maxOwners).find(
    ({ kind, apiVersion }) => kind === 'Node' && apiVersion === 'v1',
  );
  const writtenAtMs = lastWriteMs(metadata);
  return {
    metadata: {
      name,
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    },
    // One that is too long is cut, and so no Node's.
    ...(owner === undefined ? {} : { ownerNodeUid: String(owner.uid).slice(0, maxUidLength) }),
    ...(writtenAtMs === undefined ? {} : { writtenAtMs }),
    isDetached: content.state === 'Detached',
    isUninstalled: content.state === 'Detached' && content.breakGlass === 'Uninstall',
    policies: mappings(content.policies, maxEntries).map(entryOf).map(share),
    lists: mappings(content.lists, maxEntries).map(entryOf).map(share),
    blocks: mappings(isMapping(content.blocks) ? content.blocks.newest : undefined, maxBlocks).flatMap(blockOf),
    troubles: mappings(content.findings, maxTroubles).flatMap(troubleOf),
  };
}

/** By the API server's clock: of the newest write that any manager of fields did. */
export function lastWriteMs(metadata: KubeMeta): number | undefined {
  const { managedFields } = metadata as KubeMeta & { readonly managedFields?: unknown };
  let newestMs: number | undefined;
  for (const { time } of mappings(managedFields, 100)) {
    const ms = typeof time === 'string' ? Date.parse(time) : Number.NaN;
    if (!Number.isNaN(ms) && (newestMs === undefined || ms > newestMs)) newestMs = ms;
  }
  return newestMs;
}

const states: readonly string[] = [
  'Programmed',
  'NoInterface',
  'Conflicted',
  'UnknownField',
  'Invalid',
  'Failed',
  'Pending',
];

function entryOf(entry: Record<string, unknown>): StoredEntry {
  const state = states.includes(entry.state as string) ? (entry.state as StoredEntry['state']) : 'Pending';
  const conflicted = texts(entry.conflicted, 8);
  return {
    name: text(entry.name, maxNameLength) ?? '',
    generation: count(entry.generation, Number.MAX_SAFE_INTEGER),
    state,
    ...optional('message', text(entry.message, maxMessageLength)),
    ...(conflicted.length > 0 ? { conflicted } : {}),
    ...optional('prefixSet', text(entry.prefixSet, 64)),
    blocked: count(entry.blocked, maxCount),
    wouldBlock: count(entry.wouldBlock, maxCount),
    spared: count(entry.spared, maxCount),
    packetsDropped: count(entry.packetsDropped, maxPackets),
  };
}

const blockStates: readonly string[] = ['Blocked', 'WouldBlock', 'Spared'];

function blockOf(block: Record<string, unknown>): StoredBlock[] {
  const source = text(block.source, 43);
  const policy = text(block.policy, maxNameLength);
  // What is shown to people must be an address: terminals take other texts for commands.
  if (source === undefined || policy === undefined || parsePrefixOrAddress(source) === undefined) return [];
  if (!blockStates.includes(block.state as string)) return [];
  const sinceMs = Date.parse(String(block.since));
  const untilMs = Date.parse(String(block.until));
  if (Number.isNaN(sinceMs) || Number.isNaN(untilMs)) return [];
  const leftMs = Math.min(count(block.secondsLeft, maxCount) * 1000, maxBlockMs);
  // Nothing began after the report was written: else it would stay the newest, and push others out of the status.
  const lengthMs = Math.max(untilMs - sinceMs, leftMs);
  return [
    {
      source,
      policy,
      state: block.state as StoredBlock['state'],
      probes: count(block.probes, maxCount),
      ports: mappedPorts(block.ports),
      lengthMs: Math.min(lengthMs, maxLengthMs),
      leftMs,
      packetsDropped: count(block.packetsDropped, maxPackets),
    },
  ];
}

function troubleOf(finding: Record<string, unknown>): StoredTrouble[] {
  const { code } = finding;
  if (code !== 'TableFull' && code !== 'ForeignXdpProgram') return [];
  return [
    {
      code,
      message: text(finding.message, maxMessageLength) ?? '',
      ...optional('object', text(finding.object, 300)),
      ...optional('interfaceName', text(finding.interface, 15)),
    },
  ];
}

function mappings(value: unknown, max: number): Record<string, unknown>[] {
  return Array.isArray(value) ? value.slice(0, max).filter(isMapping) : [];
}

function mappedPorts(value: unknown): readonly number[] {
  if (!Array.isArray(value)) return [];
  const isPort = (port: unknown) => Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65_535;
  return value.slice(0, maxPorts).filter(isPort) as number[];
}

function texts(value: unknown, max: number): string[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, max).filter((entry): entry is string => typeof entry === 'string' && entry.length <= 15);
}

/** What a terminal acts upon, and what reorders or hides the text around it. */
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+/gu;

/**
 * One line that is safe to show, cut to `max` UTF-16 units. Never half of a surrogate pair: the API server would store another
 * text than was written, and the status would be written again for ever.
 */
function text(value: unknown, max: number): string | undefined {
  if (typeof value !== 'string') return undefined;
  const line = value.replace(unprintable, ' ');
  if (line.length <= max) return line;
  const kept = line.slice(0, max - 1);
  return `${/[\ud800-\udbff]$/.test(kept) ? kept.slice(0, -1) : kept}…`;
}

function count(value: unknown, max: number): number {
  return typeof value === 'number' && value > 0 ? Math.min(Math.trunc(value), max) : 0;
}

function optional<K extends string>(key: K, value: string | undefined): { readonly [P in K]?: string } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [P in K]?: string });
}
