import type {
  BlockReport,
  BlocksReport,
  FindingReport,
  InterfaceReport,
  ListReport,
  NodeReportStatus,
  PolicyReport,
} from '../../api/types/node-report.ts';
import { API_VERSION } from '../../api/types.ts';
import type { NewKubeObject } from '../../kube/objects.ts';
import type { BreakGlassReason } from '../break-glass.ts';
import type { AttachedInterface, BlockRecord, DatapathView } from '../datapath/view.ts';
import type { Finding } from '../finding.ts';
import type { HostLink } from '../host/snapshot.ts';
import type { DesiredInterface, DesiredState } from '../resolve/desired-state.ts';
import type { PrefixSetContent, RefusedObject } from '../source/policy-source.ts';
import { newestFirst } from './block-document.ts';
import { bounded, cut, fitReport, reportBounds } from './report-size.ts';

export interface NodeReportInput {
  readonly nodeName: string;
  /** Absent before the Node was read once: then the report has no owner yet. */
  readonly nodeUid?: string;
  readonly version: string;
  readonly layoutVersion?: number;
  readonly bootId?: string;
  /** Wall clock. */
  readonly startedAtMs: number;
  /** Wall clock. */
  readonly nowMs: number;
  /** The newest attempt to apply; absent before the first. */
  readonly lastApply?: { readonly atMs: number; readonly durationMs: number; readonly error?: string };
  /** What was applied last without a failure; with break-glass, what would be. */
  readonly desired: DesiredState;
  /** Empty tables and interfaces when it cannot be read. */
  readonly view: DatapathView;
  readonly blocks: readonly BlockRecord[];
  readonly findings: readonly Finding[];
  /** Objects whose newest generation is not in force since it was refused. */
  readonly refused: readonly RefusedObject[];
  /** `metadata.generation` by `Kind/name` of the objects that `desired` was made of, whether they select this node or not. */
  readonly generations: ReadonlyMap<string, number>;
  /**
   * The same of the newest snapshot, where that may be another: its policies are reported as Failed when the last apply
   * failed. Never as Programmed.
   */
  readonly wantedGenerations?: ReadonlyMap<string, number>;
  /** By name of the list: what of its ConfigMaps is in force. */
  readonly prefixSets: ReadonlyMap<string, Pick<PrefixSetContent, 'digest'>>;
  readonly breakGlass?: BreakGlassReason;
  /** Links of the newest host snapshot: they tell the number of a program that is in the way. */
  readonly links?: readonly Pick<HostLink, 'ifindex' | 'xdp'>[];
}

/** What the agent applies to the API server. */
export type NodeReportObject = NewKubeObject & {
  readonly apiVersion: typeof API_VERSION;
  readonly kind: 'NodeReport';
  readonly status: NodeReportStatus;
};

/** In place of a policy's name where a block was made by hand; no object can have this name. */
export const manualBlockPolicy = '(manual)';

const attachFailures: readonly string[] = ['AttachFailed', 'ForeignXdpProgram', 'BpfLoadFailed'];
/** A report that is written is the proof that this is over: it would only make the next one news. */
const neverReported: readonly string[] = ['ReportNotWritten'];

/**
 * What the node's agent tells of itself, within the bounds of the schema and 16 KiB of JSON (see report-size.ts for what is
 * left out first). Of more than 20 blocks those that drop come before those that do not; what is listed is the newest first.
 */
export function buildNodeReport(input: NodeReportInput): NodeReportObject {
  const { nowMs, nodeName, nodeUid } = input;
  const live = input.blocks.filter((block) => block.untilMs > nowMs);
  const findings = input.findings.filter(({ code }) => !neverReported.includes(code));
  const counts = countBlocks(live);
  const interfaces = interfaceReports(input, findings);
  const policies = policyReports(input, findings, counts);
  const lists = listReports(input, findings);
  const isProgrammed = ({ state }: { readonly state: string }) => state === 'Programmed';
  const losses = Object.entries(input.view.losses).filter(([, count]) => count > 0);
  const owner = { apiVersion: 'v1', kind: 'Node', name: nodeName };
  const status: NodeReportStatus = {
    observedAt: toSeconds(nowMs),
    state: stateOf(input, interfaces),
    ...(input.breakGlass !== undefined && { breakGlass: input.breakGlass }),
    mode: modeOf(input.view.interfaces),
    agent: {
      version: cut(input.version, 64),
      startedAt: toSeconds(input.startedAtMs),
      ...(input.bootId !== undefined && { bootId: cut(input.bootId, 64) }),
      ...(input.layoutVersion !== undefined && { layoutVersion: input.layoutVersion }),
    },
    policiesProgrammed: policies.filter(isProgrammed).length + lists.filter(isProgrammed).length,
    interfacesTotal: interfaces.length,
    interfaces,
    policies,
    lists,
    blocks: blocksReport(live, nowMs),
    tables: input.view.tables.map(({ table, entries, capacity }) => ({
      name: cut(table, 32),
      used: entries,
      max: capacity,
    })),
    losses: losses.map(([name, count]) => ({ name: cut(name, 64), count })),
    exceptions: [...new Set(input.desired.exceptions.map(({ name }) => name))].sort(),
    findingsTotal: findings.length,
    findings: findings.toSorted((a, b) => severityRank[a.severity] - severityRank[b.severity]).map(findingReport),
  };
  return fitReport({
    apiVersion: API_VERSION,
    kind: 'NodeReport',
    metadata: {
      name: nodeName,
      // Garbage collection then takes the report away together with the Node, and that of an earlier Node of the same name.
      ...(nodeUid !== undefined && { ownerReferences: [{ ...owner, uid: nodeUid }] }),
    },
    status,
  });
}

const severityRank = { error: 0, warning: 1, info: 2 } as const;

function stateOf(input: NodeReportInput, interfaces: readonly InterfaceReport[]): NodeReportStatus['state'] {
  if (input.breakGlass !== undefined) return 'Detached';
  if (input.lastApply === undefined) return 'Starting';
  if (input.lastApply.error !== undefined) return 'Failed';
  const isUnguarded = interfaces.length > 0 && interfaces.every(({ mode }) => mode === 'None');
  return isUnguarded ? 'Failed' : 'Enforcing';
}

function modeOf(attached: readonly AttachedInterface[]): NonNullable<NodeReportStatus['mode']> {
  const modes = new Set(attached.map(({ mode }) => mode));
  if (modes.size === 0) return 'None';
  if (modes.size > 1) return 'Mixed';
  return modes.has('native') ? 'Native' : 'Generic';
}

/** Those that are not guarded first: of very many, they are what somebody looks for. */
function interfaceReports(input: NodeReportInput, findings: readonly Finding[]): InterfaceReport[] {
  const attached = attachedBy(input);
  const reports = input.desired.interfaces.map((wanted): InterfaceReport => {
    const actual = attached.get(wanted.ifindex);
    const lists = wanted.lists.map(({ name }) => name);
    const common = { name: cut(wanted.name, 15), ...(lists.length > 0 && { lists }) };
    if (actual) {
      return {
        ...common,
        mode: actual.mode === 'native' ? 'Native' : 'Generic',
        ...(actual.policy !== undefined && { policy: actual.policy }),
        programId: actual.programId,
      };
    }
    const failure = attachFailure(wanted, findings);
    const xdp = input.links?.find(({ ifindex }) => ifindex === wanted.ifindex)?.xdp;
    return {
      ...common,
      mode: 'None',
      ...(failure?.code === 'ForeignXdpProgram' && xdp !== undefined && { foreignProgramId: xdp.programId }),
      error: cut(whyDetached(input, failure), reportBounds.messageChars),
    };
  });
  return [...reports.filter(({ mode }) => mode === 'None'), ...reports.filter(({ mode }) => mode !== 'None')];
}

const attachedBy = ({ view }: NodeReportInput) => new Map(view.interfaces.map((entry) => [entry.ifindex, entry]));

const attachFailure = ({ name }: DesiredInterface, findings: readonly Finding[]): Finding | undefined =>
  findings.find(({ code, interfaceName }) => interfaceName === name && attachFailures.includes(code));

function whyDetached({ breakGlass, lastApply }: NodeReportInput, failure: Finding | undefined): string {
  if (breakGlass !== undefined) return breakGlassTexts[breakGlass];
  return failure?.message ?? lastApply?.error ?? 'not attached yet';
}

const breakGlassTexts: Readonly<Record<BreakGlassReason, string>> = {
  File: 'detached by the break-glass file of the node',
  NodeAnnotation: 'detached by the break-glass annotation of the Node',
  Uninstall: 'detached, since Portcullis is being uninstalled',
};

type Kind = 'PortScanPolicy' | 'IpBlocklist';

interface Outcome {
  readonly generation: number;
  readonly state: ListReport['state'];
  readonly message?: string;
}

/** Every object of the kind that concerns this node, in order of its name. */
function namesOf(input: NodeReportInput, kind: Kind): string[] {
  const names = input.desired.owners.filter((owner) => owner.kind === kind).map(({ name }) => name);
  const refused = input.refused.filter((object) => object.kind === kind).map(({ name }) => name);
  const failed = input.lastApply?.error === undefined ? [] : newNames(input, kind);
  return [...new Set([...names, ...refused, ...failed])].sort();
}

/** Objects that the failed apply would have brought; whether they select this node is for the reader to say. */
const newNames = ({ generations, wantedGenerations = new Map() }: NodeReportInput, kind: Kind): string[] =>
  [...wantedGenerations.keys()]
    .filter((key) => key.startsWith(`${kind}/`) && !generations.has(key))
    .map((key) => key.slice(kind.length + 1));

/** What hinders the object as a whole, whatever its interfaces; undefined when nothing does. */
function hindrance(input: NodeReportInput, kind: Kind, name: string): Outcome | undefined {
  const key = `${kind}/${name}`;
  const refused = input.refused.find((object) => object.kind === kind && object.name === name);
  if (refused) {
    const stays = refused.hasLastGood ? 'its last good program stays' : 'there is no earlier one that could stay';
    return { generation: refused.generation, state: refused.state, message: `${refused.message}; ${stays}` };
  }
  const generation = input.generations.get(key) ?? 0;
  const wanted = input.wantedGenerations?.get(key) ?? generation;
  const { breakGlass, lastApply } = input;
  if (breakGlass !== undefined) return { generation: wanted, state: 'Failed', message: breakGlassTexts[breakGlass] };
  if (lastApply === undefined) return { generation: wanted, state: 'Pending' };
  if (lastApply.error !== undefined) return { generation: wanted, state: 'Failed', message: lastApply.error };
  return undefined;
}

/** For an object that nothing hinders as a whole: what came of it on the interfaces where it shall hold. */
function outcomeOn(
  interfaces: readonly DesiredInterface[],
  isAttached: (wanted: DesiredInterface) => boolean,
  input: NodeReportInput,
  findings: readonly Finding[],
  key: string,
): Outcome {
  const generation = input.generations.get(key) ?? 0;
  const noRoom = findings.find(({ code, object }) => code === 'TableFull' && object === key);
  if (noRoom) return { generation, state: 'Failed', message: noRoom.message };
  const missing = interfaces.filter((wanted) => !isAttached(wanted));
  if (missing.length === 0) return { generation, state: 'Programmed' };
  const failure = missing.map((wanted) => attachFailure(wanted, findings)).find((found) => found !== undefined);
  if (failure) return { generation, state: 'Failed', message: failure.message };
  return { generation, state: 'Pending', message: `not attached yet: ${missing.map(({ name }) => name).join(', ')}` };
}

function policyReports(input: NodeReportInput, findings: readonly Finding[], counts: BlockCounts): PolicyReport[] {
  const attached = attachedBy(input);
  return namesOf(input, 'PortScanPolicy').map((name) => {
    const key = `PortScanPolicy/${name}`;
    const governed = input.desired.interfaces.filter(({ policy }) => policy?.name === name);
    const conflicted = input.desired.interfaces.filter((entry) => entry.conflicted.includes(name));
    const isAttached = ({ ifindex }: DesiredInterface) => attached.get(ifindex)?.policy === name;
    const { state, generation, message } = hindrance(input, 'PortScanPolicy', name) ?? {
      ...outcomeOn(governed, isAttached, input, findings, key),
      ...(governed.length === 0 && {
        state: conflicted.length > 0 ? ('Conflicted' as const) : ('NoInterface' as const),
      }),
    };
    const { blocked = 0, wouldBlock = 0, spared = 0 } = counts.get(name) ?? {};
    return {
      name,
      generation,
      state,
      ...(conflicted.length > 0 && { conflicted: conflicted.slice(0, 8).map((entry) => cut(entry.name, 15)) }),
      ...messageField(message),
      ...withoutZeros({ blocked, wouldBlock, spared, packetsDropped: droppedBy(input, 'PortScanPolicy', name) }),
    };
  });
}

function listReports(input: NodeReportInput, findings: readonly Finding[]): ListReport[] {
  const attached = attachedBy(input);
  return namesOf(input, 'IpBlocklist').map((name) => {
    const holding = input.desired.interfaces.filter(({ lists }) => lists.some((list) => list.name === name));
    const list = holding[0]?.lists.find((entry) => entry.name === name);
    const isAttached = ({ ifindex }: DesiredInterface) => attached.has(ifindex);
    const { state, generation, message } = hindrance(input, 'IpBlocklist', name) ?? {
      ...outcomeOn(holding, isAttached, input, findings, `IpBlocklist/${name}`),
      ...(holding.length === 0 && { state: 'NoInterface' as const }),
    };
    const prefixSet = input.prefixSets.get(name)?.digest;
    return {
      name,
      generation,
      state,
      ...messageField(message),
      ...(prefixSet !== undefined && { prefixSet }),
      ...withoutZeros({
        entries: list === undefined ? 0 : new Set(list.entries).size,
        packetsDropped: droppedBy(input, 'IpBlocklist', name),
      }),
    };
  });
}

const messageField = (message: string | undefined) =>
  message === undefined ? {} : { message: cut(message, reportBounds.messageChars) };

/** 200 policies must fit: a count that is absent is none. */
function withoutZeros<T extends Record<string, number>>(counts: T): Partial<T> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0)) as Partial<T>;
}

function droppedBy({ view }: NodeReportInput, kind: Kind, name: string): number {
  let packets = 0;
  for (const { ownerKind, ownerName, verdict, packets: count } of view.counters)
    if (verdict === 'drop' && ownerKind === kind && ownerName === name) packets += count;
  return packets;
}

type BlockCounts = ReadonlyMap<string, { blocked: number; wouldBlock: number; spared: number }>;
const stateFields = { blocked: 'blocked', 'would-block': 'wouldBlock', spared: 'spared' } as const;
const stateNames = { blocked: 'Blocked', 'would-block': 'WouldBlock', spared: 'Spared' } as const;

function countBlocks(live: readonly BlockRecord[]): BlockCounts {
  const counts = new Map<string, { blocked: number; wouldBlock: number; spared: number }>();
  for (const { by, state } of live) {
    if (by.kind !== 'PortScanPolicy') continue;
    const count = counts.get(by.name) ?? { blocked: 0, wouldBlock: 0, spared: 0 };
    count[stateFields[state]]++;
    counts.set(by.name, count);
  }
  return counts;
}

function blocksReport(live: readonly BlockRecord[], nowMs: number): BlocksReport {
  const dropping = live.filter(({ state }) => state === 'blocked');
  const others = live.filter(({ state }) => state !== 'blocked');
  const chosen = [...newestFirst(dropping), ...newestFirst(others)].slice(0, reportBounds.blocks);
  const spared = others.filter(({ state }) => state === 'spared').length;
  return {
    blocked: dropping.length,
    ...withoutZeros({ wouldBlock: others.length - spared, spared }),
    newest: newestFirst(chosen).map((block) => blockReport(block, nowMs)),
  };
}

function blockReport(block: BlockRecord, nowMs: number): BlockReport {
  const isManual = block.by.kind === 'Manual';
  const untilSeconds = Math.ceil(block.untilMs / 1000);
  return {
    source: block.source,
    policy: isManual ? manualBlockPolicy : block.by.name,
    state: stateNames[block.state],
    ...(!isManual && { proven: block.proven }),
    ...(block.interfaceName !== undefined && { interface: cut(block.interfaceName, 15) }),
    ...(!isManual && { probes: block.probes }),
    ...(block.ports.length > 0 && { ports: [...bounded(block.ports, reportBounds.ports)] }),
    since: toSeconds(block.sinceMs),
    until: toSeconds(untilSeconds * 1000),
    // From observedAt as it is written, whole seconds.
    secondsLeft: untilSeconds - Math.floor(nowMs / 1000),
    ...withoutZeros({ packetsDropped: block.packetsDropped }),
  };
}

const findingReport = ({ code, severity, message, object, interfaceName }: Finding): FindingReport => ({
  code,
  severity,
  message: cut(message, reportBounds.messageChars),
  ...(object !== undefined && { object: cut(object, 300) }),
  ...(interfaceName !== undefined && { interface: cut(interfaceName, 15) }),
});

const toSeconds = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
