import type { AttachedInterface, BlockRecord, DatapathView, TableFill } from '../datapath/view.ts';
import type { Finding } from '../finding.ts';
import type { DesiredState, NeverBlockEntry } from '../resolve/desired-state.ts';
import { type BlockDocument, blockDocument, newestFirst } from './block-document.ts';

/** What the status file holds. A change that a reader could stumble over raises `formatVersion`. */
export interface StatusDocument {
  readonly formatVersion: 1;
  /** Version of the agent. */
  readonly version: string;
  /** When this agent was started, RFC 3339. */
  readonly startedAt: string;
  /** When this document was made, RFC 3339. */
  readonly writtenAt: string;
  /** The newest attempt to apply the policies; null before the first. */
  readonly lastApply: ApplyDocument | null;
  readonly interfaces: readonly InterfaceDocument[];
  readonly policies: readonly PolicyDocument[];
  readonly lists: readonly ListDocument[];
  readonly neverBlock: Bounded<NeverBlockEntry>;
  readonly ownAddresses: Bounded<string>;
  /** The newest blocks first. */
  readonly blocks: Bounded<BlockDocument> & {
    /** Of all blocks, not only those that are listed. */
    readonly byState: Readonly<Record<BlockRecord['state'], number>>;
  };
  readonly tables: readonly TableFill[];
  /** What the datapath lost or gave up since its tables were made, by kind. */
  readonly losses: Readonly<Record<string, number>>;
  readonly findings: Bounded<Finding>;
}

/** At most so many items, and how many there are. */
export interface Bounded<T> {
  readonly total: number;
  readonly items: readonly T[];
}

export interface ApplyDocument {
  /** RFC 3339. */
  readonly at: string;
  readonly ok: boolean;
  readonly durationMs: number;
  /** Why it failed; null when it did not. */
  readonly error: string | null;
}

export interface InterfaceDocument {
  readonly name: string;
  readonly ifindex: number;
  /** Null: the policies ask for it, and it is not attached; a finding says why. */
  readonly mode: AttachedInterface['mode'] | null;
  readonly programId: number | null;
  readonly verifiedInstructions: number | null;
  /** The policy that governs there now; null when only lists hold. */
  readonly policy: string | null;
  /** Policies that select it as well and give way. */
  readonly conflicted: readonly string[];
  readonly lists: readonly string[];
  readonly allowEntries: number;
}

export interface PolicyDocument {
  readonly name: string;
  /** `metadata.generation`; null for an object out of a file that has none. */
  readonly generation: number | null;
  /** Interfaces that it governs and is attached to. */
  readonly programmed: readonly string[];
  /** Interfaces that it governs and is not attached to yet. */
  readonly pending: readonly string[];
  /** Interfaces that another policy governs. */
  readonly conflicted: readonly string[];
}

export interface ListDocument {
  readonly name: string;
  readonly generation: number | null;
  /** Interfaces that are attached and hold it. */
  readonly programmed: readonly string[];
  readonly pending: readonly string[];
  /** Unexpired entries. */
  readonly entries: number;
  readonly except: number;
}

export interface StatusInput {
  readonly version: string;
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly lastApply?: { readonly atMs: number; readonly durationMs: number; readonly error?: string };
  readonly desired: DesiredState;
  /** Empty tables and interfaces when it cannot be read. */
  readonly view: DatapathView;
  readonly blocks: readonly BlockRecord[];
  readonly findings: readonly Finding[];
  /** `metadata.generation` by `Kind/name`. */
  readonly generations?: ReadonlyMap<string, number>;
}

/** Bounds keep the file below a megabyte, whatever happens on the network. */
export const statusBounds = { blocks: 100, neverBlock: 1000, ownAddresses: 1000, findings: 500 } as const;

export function buildStatus(input: StatusInput): StatusDocument {
  const { desired, view, nowMs } = input;
  const attached = new Map(view.interfaces.map((entry) => [entry.ifindex, entry]));
  const live = input.blocks.filter((block) => block.untilMs > nowMs);
  return {
    formatVersion: 1,
    version: input.version,
    startedAt: new Date(input.startedAtMs).toISOString(),
    writtenAt: new Date(nowMs).toISOString(),
    lastApply: applyDocument(input.lastApply),
    interfaces: interfaceDocuments(desired, attached),
    policies: policyDocuments(desired, attached, input.generations),
    lists: listDocuments(desired, attached, input.generations),
    neverBlock: bounded(desired.neverBlock, statusBounds.neverBlock),
    ownAddresses: bounded(desired.ownAddresses, statusBounds.ownAddresses),
    blocks: {
      total: live.length,
      byState: countStates(live),
      items: newestFirst(live).slice(0, statusBounds.blocks).map(blockDocument),
    },
    tables: view.tables,
    losses: view.losses,
    findings: bounded(input.findings, statusBounds.findings),
  };
}

type Attached = ReadonlyMap<number, AttachedInterface>;

function applyDocument(apply: StatusInput['lastApply']): ApplyDocument | null {
  if (apply === undefined) return null;
  const { atMs, durationMs, error } = apply;
  return {
    at: new Date(atMs).toISOString(),
    ok: error === undefined,
    durationMs: Math.round(durationMs),
    error: error ?? null,
  };
}

function interfaceDocuments(desired: DesiredState, attached: Attached): InterfaceDocument[] {
  const wanted = desired.interfaces.map((entry): InterfaceDocument => {
    const actual = attached.get(entry.ifindex);
    return {
      ...attachment(actual),
      name: entry.name,
      ifindex: entry.ifindex,
      conflicted: entry.conflicted,
      lists: entry.lists.map((list) => list.name),
      allowEntries: entry.allow.length,
    };
  });
  const known = new Set(desired.interfaces.map((entry) => entry.ifindex));
  // Attached and no longer wanted: on its way out, or its removal failed.
  const leftover = [...attached.values()].filter((entry) => !known.has(entry.ifindex));
  for (const entry of leftover) {
    const nothing = { conflicted: [], lists: [], allowEntries: 0 };
    wanted.push({ ...attachment(entry), name: entry.name, ifindex: entry.ifindex, ...nothing });
  }
  return wanted;
}

function attachment(actual: AttachedInterface | undefined) {
  return {
    mode: actual?.mode ?? null,
    programId: actual?.programId ?? null,
    verifiedInstructions: actual?.verifiedInstructions ?? null,
    policy: actual?.policy ?? null,
  };
}

function policyDocuments(
  desired: DesiredState,
  attached: Attached,
  generations: StatusInput['generations'],
): PolicyDocument[] {
  return namesOf(desired, 'PortScanPolicy').map((name) => {
    const governed = desired.interfaces.filter((entry) => entry.policy?.name === name);
    const isProgrammed = (ifindex: number) => attached.get(ifindex)?.policy === name;
    return {
      name,
      generation: generations?.get(`PortScanPolicy/${name}`) ?? null,
      programmed: governed.filter((entry) => isProgrammed(entry.ifindex)).map((entry) => entry.name),
      pending: governed.filter((entry) => !isProgrammed(entry.ifindex)).map((entry) => entry.name),
      conflicted: desired.interfaces.filter((entry) => entry.conflicted.includes(name)).map((entry) => entry.name),
    };
  });
}

function listDocuments(
  desired: DesiredState,
  attached: Attached,
  generations: StatusInput['generations'],
): ListDocument[] {
  return namesOf(desired, 'IpBlocklist').map((name) => {
    const holding = desired.interfaces.filter((entry) => entry.lists.some((list) => list.name === name));
    const list = holding[0]?.lists.find((entry) => entry.name === name);
    return {
      name,
      generation: generations?.get(`IpBlocklist/${name}`) ?? null,
      programmed: holding.filter((entry) => attached.has(entry.ifindex)).map((entry) => entry.name),
      pending: holding.filter((entry) => !attached.has(entry.ifindex)).map((entry) => entry.name),
      entries: list?.entries.length ?? 0,
      except: list?.except.length ?? 0,
    };
  });
}

function namesOf(desired: DesiredState, kind: 'PortScanPolicy' | 'IpBlocklist'): string[] {
  return desired.owners.filter((owner) => owner.kind === kind).map((owner) => owner.name);
}

function countStates(blocks: readonly BlockRecord[]): Record<BlockRecord['state'], number> {
  const counts = { blocked: 0, 'would-block': 0, spared: 0 };
  for (const block of blocks) counts[block.state]++;
  return counts;
}

function bounded<T>(items: readonly T[], max: number): Bounded<T> {
  return { total: items.length, items: items.slice(0, max) };
}
