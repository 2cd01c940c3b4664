import type { StoredBlock, StoredEntry } from '../stored/report.ts';
import { endOf, type Sighting } from './sighting.ts';
import type { NodeState, Tally, Target } from './tally.ts';

/** A node that does not have the target in force. */
export interface LaggingNode {
  readonly node: string;
  readonly reason: string;
  readonly message?: string;
}

/** A block of the target on one node. */
export interface NodeBlock {
  readonly node: string;
  readonly block: StoredBlock;
  /** By the operator's wall clock. */
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** What is wrong on nodes that the target selects. */
export interface TroubledNodes {
  readonly nodes: number;
  /** The first of them, by name. */
  readonly example: string;
  readonly message: string;
}

/** All that the status of one policy or list tells of the nodes. */
export interface TargetView {
  readonly target: Target;
  readonly counts: Readonly<Tally['counts']>;
  readonly sums: Readonly<Tally['sums']>;
  /** At most 10, by name. */
  readonly lagging: readonly LaggingNode[];
  /** How many of the failed nodes say so. */
  readonly failedStates: ReadonlyMap<string, number>;
  /** Nodes that have it in force where another policy governs some of the interfaces. */
  readonly partlyConflicted: number;
  /** Nodes that are ready, and whose agent is not heard. One that was made a moment ago has time until its agent runs. */
  readonly silent: { readonly stale: number; readonly noReport: number };
  readonly detached?: TroubledNodes;
  readonly tableFull?: TroubledNodes;
  readonly foreignProgram?: TroubledNodes;
  /** Unexpired ones, in no order. */
  readonly blocks: readonly NodeBlock[];
  /** When the next of them ends, on the monotonic clock. */
  readonly nextEndMs?: number;
}

/** The nodes as the index has them. */
export interface Nodes {
  readonly slots: number;
  at(slot: number): NodeState | undefined;
  /** Slots of nodes whose report tells of trouble. */
  readonly troubled: ReadonlySet<number>;
}

const maxLagging = 10;

export function viewOf(tally: Tally, nodes: Nodes, nowMs: number): TargetView {
  const sums = { ...tally.sums };
  const { blocks, nextEndMs, ended } = blocksOf(tally, nodes, nowMs);
  // An agent need not report that a block has ended.
  sums.blocked = Math.max(sums.blocked - ended.Blocked, 0);
  sums.wouldBlock = Math.max(sums.wouldBlock - ended.WouldBlock, 0);
  sums.spared = Math.max(sums.spared - ended.Spared, 0);
  return {
    target: tally.target,
    counts: { ...tally.counts },
    sums,
    ...standingsOf(tally, nodes),
    ...troublesOf(tally, nodes),
    blocks,
    ...(nextEndMs === undefined ? {} : { nextEndMs }),
  };
}

function standingsOf(tally: Tally, nodes: Nodes) {
  const { selected, programmed } = tally.counts;
  const lagging: { node: string; slot: number }[] = [];
  const failedStates = new Map<string, number>();
  const silent = { stale: 0, noReport: 0 };
  let partlyConflicted = 0;
  for (let slot = 0; slot < nodes.slots; slot++) {
    const standing = tally.standingAt(slot);
    if (standing === undefined) continue;
    if (standing === 'programmed') {
      if (tally.entryAt(slot)?.conflicted !== undefined) partlyConflicted++;
      continue;
    }
    const state = nodes.at(slot)!;
    lagging.push({ node: state.node.metadata.name, slot });
    if (standing === 'failed') {
      const said = stateSaid(tally.target, tally.entryAt(slot));
      failedStates.set(said, (failedStates.get(said) ?? 0) + 1);
    } else if (state.node.isReady && !(standing === 'noReport' && state.isNew)) silent[standing]++;
  }
  lagging.sort((a, b) => Number(a.node > b.node) - Number(a.node < b.node));
  // What is wrong is of more use than what is merely late or away.
  const rank = { failed: 0, stale: 1, noReport: 2, programmed: 3 } as const;
  lagging.sort((a, b) => rank[tally.standingAt(a.slot)!] - rank[tally.standingAt(b.slot)!]);
  return {
    lagging:
      selected === programmed ? [] : lagging.slice(0, maxLagging).map(({ slot }) => laggingNode(tally, nodes, slot)),
    failedStates,
    silent,
    partlyConflicted,
  };
}

/** What the node says of this generation; Pending when it speaks of another one, or not at all. */
function stateSaid(target: Target, entry: StoredEntry | undefined): string {
  if (entry === undefined || entry.generation !== target.generation) return 'Pending';
  // In force, but with other prefixes than those wanted.
  return entry.state === 'Programmed' ? 'Pending' : entry.state;
}

function laggingNode(tally: Tally, nodes: Nodes, slot: number): LaggingNode {
  const { node, sighting, isFresh } = nodes.at(slot)!;
  const { name } = node.metadata;
  const { target } = tally;
  const entry = tally.entryAt(slot);
  const readiness = node.isReady ? '' : '; the node is not ready';
  if (sighting === undefined)
    return { node: name, reason: 'NoReport', message: `no agent reports from there${readiness}` };
  if (!isFresh)
    return { node: name, reason: 'StaleReport', message: `the agent has not reported for too long${readiness}` };
  if (!node.isReady) return { node: name, reason: 'NodeNotReady', message: 'the node is not ready' };
  if (entry === undefined) return { node: name, reason: 'Pending', message: 'the agent does not have it yet' };
  const reason = stateSaid(target, entry);
  if (reason !== 'Pending')
    return { node: name, reason, ...(entry.message === undefined ? {} : { message: entry.message }) };
  if (entry.generation !== target.generation) {
    return { node: name, reason, message: `the agent speaks of generation ${entry.generation}` };
  }
  if (entry.state === 'Programmed') return { node: name, reason, message: 'the agent has other prefixes in force yet' };
  return { node: name, reason, ...(entry.message === undefined ? {} : { message: entry.message }) };
}

function troublesOf(tally: Tally, nodes: Nodes) {
  const { kind, name } = tally.target;
  const key = `${kind}/${name}`;
  const found = { detached: new Trouble(), tableFull: new Trouble(), foreignProgram: new Trouble() };
  for (const slot of nodes.troubled) {
    if (tally.standingAt(slot) === undefined) continue;
    const { node, sighting, isFresh } = nodes.at(slot)!;
    if (!isFresh) continue;
    const nodeName = node.metadata.name;
    const { isDetached, isUninstalled, troubles } = sighting!.report;
    const why = isUninstalled ? 'detached, since Portcullis is being uninstalled' : 'detached by break-glass';
    if (isDetached) found.detached.add(nodeName, why);
    const full = troubles.find(({ code, object }) => code === 'TableFull' && (object ?? key) === key);
    if (full !== undefined) found.tableFull.add(nodeName, full.message);
    // Only where it keeps the target from holding: the interface may be one that the target does not select.
    const isHindered = tally.entryAt(slot)?.state === 'Failed';
    const foreign = isHindered ? troubles.find(({ code }) => code === 'ForeignXdpProgram') : undefined;
    if (foreign !== undefined) found.foreignProgram.add(nodeName, foreign.message);
  }
  return {
    ...found.detached.field('detached'),
    ...found.tableFull.field('tableFull'),
    ...found.foreignProgram.field('foreignProgram'),
  };
}

class Trouble {
  #nodes = 0;
  #example = '';
  #message = '';

  add(node: string, message: string): void {
    this.#nodes++;
    if (this.#nodes > 1 && node >= this.#example) return;
    this.#example = node;
    this.#message = message;
  }

  field<K extends string>(key: K): { readonly [P in K]?: TroubledNodes } {
    if (this.#nodes === 0) return {};
    const troubled: TroubledNodes = { nodes: this.#nodes, example: this.#example, message: this.#message };
    return { [key]: troubled } as { readonly [P in K]?: TroubledNodes };
  }
}

function blocksOf(tally: Tally, nodes: Nodes, nowMs: number) {
  const blocks: NodeBlock[] = [];
  const ended = { Blocked: 0, WouldBlock: 0, Spared: 0 };
  let nextEndMs: number | undefined;
  for (const slot of tally.withBlocks) {
    const { node, sighting } = nodes.at(slot)!;
    for (const block of sighting!.report.blocks) {
      if (block.policy !== tally.target.name) continue;
      const end = endOf(sighting as Sighting, block);
      if (end.atMs <= nowMs) {
        ended[block.state]++;
        continue;
      }
      if (nextEndMs === undefined || end.atMs < nextEndMs) nextEndMs = end.atMs;
      blocks.push({
        node: node.metadata.name,
        block,
        sinceMs: end.wallMs - block.lengthMs,
        untilMs: end.wallMs,
      });
    }
  }
  return { blocks, nextEndMs, ended };
}
