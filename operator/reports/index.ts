import type { StoredNode } from '../stored/node.ts';
import { blockSets, entryOf, isFreshAt, type Sighting } from './sighting.ts';
import { type Effect, keyOfTarget, type NodeState, Tally, type Target, type TargetKey } from './tally.ts';
import { type TargetView, viewOf } from './view.ts';

export interface ReportIndexOptions {
  /** A report that has not changed for this long is stale. */
  readonly staleAfterMs: number;
  /** What the view of a target shows has changed: `news` is worth telling at once. Must not throw. */
  readonly onChange: (key: TargetKey, effect: 'news' | 'counters') => void;
}

/** Reports written before an object was seen may be about an earlier one of the same name: for so long they do not count. */
export const settleMs = 15_000;

/** An image has to be pulled before an agent can start. */
export const agentStartMs = 120_000;

interface NodeSlot {
  readonly slot: number;
  node: StoredNode | undefined;
  /** Until then its agent may still be starting; on the monotonic clock. */
  newUntilMs: number;
  sighting: Sighting | undefined;
  isFresh: boolean;
}

interface TargetSlot {
  readonly tally: Tally;
  /** Reports of before this do not count until `settledMs`; both on the monotonic clock. */
  readonly seenAtMs: number;
  settledMs: number;
}

/**
 * What all nodes say of all policies and lists. Pure but for its memory: times are passed in, all on one monotonic clock. A
 * report that changes costs as much as it has policies; a policy or a node that changes is looked at with all nodes, or all
 * policies.
 */
export class ReportIndex {
  readonly #options: ReportIndexOptions;
  /** By name of the node. */
  readonly #byName = new Map<string, NodeSlot>();
  readonly #slots: (NodeSlot | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  readonly #targets = new Map<TargetKey, TargetSlot>();
  readonly #deletedAtMs = new Map<TargetKey, number>();
  /** Slots of the nodes whose report tells of trouble. */
  readonly #troubled = new Set<number>();

  constructor(options: ReportIndexOptions) {
    this.#options = options;
  }

  get nodes(): number {
    let count = 0;
    for (const { node } of this.#byName.values()) if (node !== undefined) count++;
    return count;
  }

  /** `madeAtMs`: absent for a node that was there before anybody looked. */
  setNode(node: StoredNode, madeAtMs = Number.NEGATIVE_INFINITY): void {
    const at = this.#at(node.metadata.name);
    const before = at.node;
    if (before?.metadata.uid !== node.metadata.uid) at.newUntilMs = Math.max(madeAtMs + agentStartMs, 0);
    at.node = node;
    const isSame =
      before !== undefined &&
      before.metadata.uid === node.metadata.uid &&
      before.isReady === node.isReady &&
      sameLabels(before.metadata.labels, node.metadata.labels);
    // A kubelet writes its Node every few minutes, and nearly always nothing of this.
    if (!isSame) this.#updateAll(at);
  }

  deleteNode(name: string): void {
    const at = this.#byName.get(name);
    if (at === undefined) return;
    at.node = undefined;
    for (const key of this.#targets.keys()) this.#remove(key, at.slot);
    this.#drop(name, at);
  }

  /** `sighting`: when this state of the report was seen, and how old it was then. */
  setReport(sighting: Sighting, nowMs: number): void {
    const at = this.#at(sighting.report.metadata.name);
    const before = at.sighting;
    const wasFresh = at.isFresh;
    at.sighting = sighting;
    at.isFresh = isFreshAt(sighting, nowMs, this.#options.staleAfterMs);
    const { troubles, isDetached } = sighting.report;
    const wasTroubled = this.#troubled.has(at.slot);
    if (troubles.length > 0 || isDetached) this.#troubled.add(at.slot);
    else this.#troubled.delete(at.slot);
    const isTroubled = this.#troubled.has(at.slot);
    const hasNewTroubles =
      (wasTroubled || isTroubled) &&
      JSON.stringify([before?.report.isDetached, before?.report.troubles]) !== JSON.stringify([isDetached, troubles]);
    const isForeign = [before, sighting].some((each) => each !== undefined && this.#isOfAnotherNode(at, each));
    if (before === undefined || !wasFresh || !at.isFresh || isForeign) this.#updateAll(at);
    else this.#updateNamed(at, before, sighting);
    if (hasNewTroubles) for (const key of this.#selecting(at.slot)) this.#options.onChange(key, 'news');
  }

  deleteReport(name: string): void {
    const at = this.#byName.get(name);
    if (at === undefined) return;
    at.sighting = undefined;
    at.isFresh = false;
    this.#troubled.delete(at.slot);
    this.#updateAll(at);
    this.#drop(name, at);
  }

  /** To be called whenever anything of the target changes; does nothing when that is nothing that counts here. */
  setTarget(target: Target, nowMs: number): void {
    const key = keyOfTarget(target);
    const before = this.#targets.get(key);
    if (before !== undefined && sameTarget(before.tally.target, target)) return;
    const isNamesake = before !== undefined && before.tally.target.uid !== target.uid;
    const isKnown = before !== undefined && !isNamesake;
    const tally = isKnown ? before.tally : new Tally(target);
    tally.target = target;
    if (!isKnown) {
      const settledMs = isNamesake || this.#recentlyDeleted(key, nowMs) ? nowMs + settleMs : nowMs;
      this.#targets.set(key, { tally, seenAtMs: nowMs, settledMs });
    }
    for (const at of this.#slots) if (at?.node !== undefined) this.#update(key, at, true);
    this.#options.onChange(key, 'news');
  }

  deleteTarget(key: TargetKey, nowMs: number): void {
    if (!this.#targets.delete(key)) return;
    for (const [other, atMs] of this.#deletedAtMs) if (nowMs - atMs > staleNameMs) this.#deletedAtMs.delete(other);
    this.#deletedAtMs.set(key, nowMs);
  }

  #recentlyDeleted(key: TargetKey, nowMs: number): boolean {
    return nowMs - (this.#deletedAtMs.get(key) ?? Number.NEGATIVE_INFINITY) <= staleNameMs;
  }

  /** Finds what has become stale, what has settled, and what is not new any more. To be called every few seconds. */
  sweep(nowMs: number): void {
    for (const at of this.#slots) {
      if (at !== undefined && at.newUntilMs > 0 && nowMs >= at.newUntilMs) {
        at.newUntilMs = 0;
        if (!at.isFresh) for (const key of this.#selecting(at.slot)) this.#options.onChange(key, 'news');
      }
      if (at?.sighting === undefined || !at.isFresh) continue;
      if (isFreshAt(at.sighting, nowMs, this.#options.staleAfterMs)) continue;
      at.isFresh = false;
      this.#updateAll(at);
    }
    for (const [key, target] of this.#targets) {
      if (target.settledMs === target.seenAtMs || nowMs < target.settledMs) continue;
      target.settledMs = target.seenAtMs;
      for (const at of this.#slots) if (at?.node !== undefined) this.#update(key, at);
    }
  }

  /** What there is to tell of a target; undefined when it is not known. */
  view(key: TargetKey, nowMs: number): TargetView | undefined {
    const target = this.#targets.get(key);
    if (target === undefined) return undefined;
    return viewOf(
      target.tally,
      {
        slots: this.#slots.length,
        at: (slot) => this.#stateOf(this.#slots[slot]),
        troubled: this.#troubled,
      },
      nowMs,
    );
  }

  #at(name: string): NodeSlot {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    const slot = this.#freeSlots.pop() ?? this.#slots.length;
    const at: NodeSlot = { slot, node: undefined, newUntilMs: 0, sighting: undefined, isFresh: false };
    this.#byName.set(name, at);
    this.#slots[slot] = at;
    return at;
  }

  #drop(name: string, at: NodeSlot): void {
    if (at.node !== undefined || at.sighting !== undefined) return;
    this.#byName.delete(name);
    this.#slots[at.slot] = undefined;
    this.#freeSlots.push(at.slot);
  }

  /** A node of the same name was there before: what its agent said is not about this one. */
  #isOfAnotherNode({ node }: NodeSlot, { report: { ownerNodeUid } }: Sighting): boolean {
    return ownerNodeUid !== undefined && node !== undefined && ownerNodeUid !== node.metadata.uid;
  }

  #stateOf(at: NodeSlot | undefined): NodeState | undefined {
    if (at?.node === undefined) return undefined;
    const { slot, node, isFresh } = at;
    const sighting = at.sighting !== undefined && this.#isOfAnotherNode(at, at.sighting) ? undefined : at.sighting;
    const isNew = at.newUntilMs > 0;
    return { slot, node, sighting, isFresh: isFresh && sighting !== undefined, isNew };
  }

  #updateAll(at: NodeSlot): void {
    if (at.node === undefined) return;
    for (const key of this.#targets.keys()) this.#update(key, at);
  }

  /** Those that the report names, or named before. */
  #updateNamed(at: NodeSlot, before: Sighting, after: Sighting): void {
    if (at.node === undefined) return;
    const keys = new Set<TargetKey>();
    for (const { report } of [before, after]) {
      for (const { name } of report.policies) keys.add(`PortScanPolicy/${name}`);
      for (const { name } of report.lists) keys.add(`IpBlocklist/${name}`);
      for (const { policy } of report.blocks) keys.add(`PortScanPolicy/${policy}`);
    }
    const blocksBefore = blockSets(before.report);
    const blocksAfter = blockSets(after.report);
    for (const key of keys) {
      if (!this.#targets.has(key)) continue;
      const name = key.slice(key.indexOf('/') + 1);
      const isPolicy = key.startsWith('PortScanPolicy/');
      const hasNewBlocks = isPolicy && blocksBefore.get(name) !== blocksAfter.get(name);
      const effect = this.#update(key, at, true);
      if (effect !== undefined || hasNewBlocks) this.#options.onChange(key, hasNewBlocks ? 'news' : effect!);
    }
  }

  #update(key: TargetKey, at: NodeSlot, isSilent = false): Effect {
    const target = this.#targets.get(key)!;
    const { tally } = target;
    const state = this.#stateOf(at)!;
    const { kind, name } = tally.target;
    const { sighting } = state;
    // While the target settles, what was said before it was seen may be about an earlier one of that name.
    const isAboutEarlier =
      sighting !== undefined && target.settledMs > target.seenAtMs && sighting.atMs < target.seenAtMs;
    const entry = isAboutEarlier ? undefined : entryOf(sighting, kind, name);
    const effect = tally.update(state, entry);
    const hasBlocks =
      kind === 'PortScanPolicy' &&
      !isAboutEarlier &&
      state.isFresh &&
      tally.standingAt(at.slot) !== undefined &&
      sighting!.report.blocks.some(({ policy }) => policy === name);
    if (hasBlocks) tally.withBlocks.add(at.slot);
    else tally.withBlocks.delete(at.slot);
    if (effect !== undefined && !isSilent) this.#options.onChange(key, effect);
    return effect;
  }

  #remove(key: TargetKey, slot: number): void {
    const effect = this.#targets.get(key)!.tally.remove(slot);
    if (effect !== undefined) this.#options.onChange(key, effect);
  }

  *#selecting(slot: number): Generator<TargetKey> {
    for (const [key, { tally }] of this.#targets) if (tally.standingAt(slot) !== undefined) yield key;
  }
}

/** Agents report within that time that an object is gone, also when the bucket of their reports is empty. */
const staleNameMs = 60_000;

function sameTarget(a: Target, b: Target): boolean {
  return (
    a.uid === b.uid &&
    a.generation === b.generation &&
    a.prefixSet === b.prefixSet &&
    JSON.stringify(a.nodeSelector) === JSON.stringify(b.nodeSelector)
  );
}

function sameLabels(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key]);
}
