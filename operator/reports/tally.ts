import { matchesLabels } from '../../api/label-selector.ts';
import type { NodeSelector } from '../../api/types.ts';
import type { StoredNode } from '../stored/node.ts';
import type { StoredEntry } from '../stored/report.ts';
import type { Sighting } from './sighting.ts';

export type TargetKind = 'PortScanPolicy' | 'IpBlocklist';
/** `Kind/name`. */
export type TargetKey = `${TargetKind}/${string}`;

/** What the nodes are asked to have in force. */
export interface Target {
  readonly kind: TargetKind;
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  /** Unreadable: the nodes that report it count as selected. */
  readonly nodeSelector: NodeSelector | undefined | 'unreadable';
  /** Digest of the prefixes out of ConfigMaps that are to be in force; absent when there are none. */
  readonly prefixSet?: string;
}

export const keyOfTarget = ({ kind, name }: Pick<Target, 'kind' | 'name'>): TargetKey => `${kind}/${name}`;

/** A node, and what it said last. */
export interface NodeState {
  readonly slot: number;
  readonly node: StoredNode;
  readonly sighting: Sighting | undefined;
  /** The report has changed recently enough to be believed. */
  readonly isFresh: boolean;
  /** The node came a moment ago: its agent may still be starting. */
  readonly isNew: boolean;
}

export type Standing = 'programmed' | 'failed' | 'stale' | 'noReport';
const standings = ['unselected', 'programmed', 'failed', 'stale', 'noReport'] as const;
const codeOf = { unselected: 0, programmed: 1, failed: 2, stale: 3, noReport: 4 } as const;

/**
 * How far a node is with a target; undefined when it is not selected. A node that is not ready is never `failed`: whoever
 * cuts its power has not made the policy fail.
 */
export function standingOf(
  target: Target,
  { node, sighting, isFresh }: NodeState,
  entry: StoredEntry | undefined,
): Standing | undefined {
  const isSelected =
    target.nodeSelector === 'unreadable'
      ? entry !== undefined
      : matchesLabels(target.nodeSelector, node.metadata.labels);
  if (!isSelected) return undefined;
  if (sighting === undefined) return 'noReport';
  if (!isFresh) return 'stale';
  if (isInForce(target, entry)) return 'programmed';
  return node.isReady ? 'failed' : 'stale';
}

export function isInForce(target: Target, entry: StoredEntry | undefined): boolean {
  if (entry === undefined || entry.state !== 'Programmed') return false;
  return entry.generation === target.generation && entry.prefixSet === target.prefixSet;
}

/** What changed by an update: `news` is worth telling at once, `counters` can wait. */
export type Effect = 'news' | 'counters' | undefined;

/** Standing and counters of every node for one target, added up as they come: one report's change costs the same on any cluster. */
export class Tally {
  target: Target;
  /** By slot of the node. */
  #codes = new Uint8Array(64);
  readonly #entries: (StoredEntry | undefined)[] = [];
  /** Slots of the nodes that list blocks of the target, and report freshly. */
  readonly withBlocks = new Set<number>();
  readonly counts = { selected: 0, programmed: 0, failed: 0, stale: 0, noReport: 0 };
  /** Over the nodes that are selected and report freshly; packets over the stale ones too, since they are not taken back. */
  readonly sums = { blocked: 0, wouldBlock: 0, spared: 0, packetsDropped: 0 };

  constructor(target: Target) {
    this.target = target;
  }

  standingAt(slot: number): Standing | undefined {
    const standing = standings[this.#codes[slot] ?? 0]!;
    return standing === 'unselected' ? undefined : standing;
  }

  /** Of a node that is selected or once was. */
  entryAt(slot: number): StoredEntry | undefined {
    return this.#entries[slot];
  }

  update(state: NodeState, entry: StoredEntry | undefined): Effect {
    const { slot } = state;
    const standing = standingOf(this.target, state, entry);
    const before = this.standingAt(slot);
    const entryBefore = this.#entries[slot];
    this.#count(before, entryBefore, -1);
    this.#count(standing, entry, 1);
    this.#setCode(slot, codeOf[standing ?? 'unselected']);
    this.#entries[slot] = standing === undefined ? undefined : entry;
    if (standing !== before) return 'news';
    if (standing === undefined || entry === entryBefore) return undefined;
    // Why it is not in force is told with the examples.
    if (standing === 'failed' && (entry?.state !== entryBefore?.state || entry?.message !== entryBefore?.message)) {
      return 'news';
    }
    return 'counters';
  }

  remove(slot: number): Effect {
    const before = this.standingAt(slot);
    this.#count(before, this.#entries[slot], -1);
    this.#setCode(slot, codeOf.unselected);
    this.#entries[slot] = undefined;
    this.withBlocks.delete(slot);
    return before === undefined ? undefined : 'news';
  }

  #count(standing: Standing | undefined, entry: StoredEntry | undefined, sign: 1 | -1): void {
    if (standing === undefined) return;
    this.counts.selected += sign;
    this.counts[standing] += sign;
    if (entry === undefined || standing === 'noReport') return;
    this.sums.packetsDropped += sign * entry.packetsDropped;
    if (standing === 'stale') return;
    this.sums.blocked += sign * entry.blocked;
    this.sums.wouldBlock += sign * entry.wouldBlock;
    this.sums.spared += sign * entry.spared;
  }

  #setCode(slot: number, code: number): void {
    if (slot >= this.#codes.length) {
      if (code === codeOf.unselected) return;
      const larger = new Uint8Array(Math.max(slot + 1, this.#codes.length * 2));
      larger.set(this.#codes);
      this.#codes = larger;
    }
    this.#codes[slot] = code;
  }
}
