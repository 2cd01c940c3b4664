import { release } from 'node:os';
import { PortcullisError } from '../../api/errors.ts';
import { type Finding, findingOf } from '../finding.ts';
import { BpfError } from '../libbpf/bpf-error.ts';
import { u32 } from '../libbpf/map.ts';
import type { BpfProgram } from '../libbpf/program.ts';
import type { DesiredInterface, DesiredState } from '../resolve/desired-state.ts';
import { Attachments, AttachRefused } from './attachments.ts';
import { collectBlocks, readScanBlocks } from './blocks.ts';
import { KernelClock, measureTicksPerSecond } from './clock.ts';
import { ConcernFilter } from './concern.ts';
import { encodeConfig, type InstanceConfig, loadInstance } from './instance.ts';
import {
  type ConntrackSupport,
  checkKernel,
  conntrackSupport,
  FRAGS_SINCE,
  kernelAtLeast,
  loadClockProgram,
} from './kernel.ts';
import { concern, interfaceStateStruct } from './layout.ts';
import { type Lifted, type LiftRequest, liftRequested } from './lift.ts';
import { ManualBlocks } from './manual.ts';
import { applyClasses, applyOwnAddresses } from './node-sets.ts';
import type { DatapathOptions } from './options.ts';
import { Owners } from './owners.ts';
import { Pins } from './pins.ts';
import type { AttachedLink } from './read-view.ts';
import { encodeSet, SetSlots, setDigest } from './sets.ts';
import { NodeTables, slotsFor } from './tables.ts';
import { trieEntries } from './tries.ts';

/** A prefilter with this many more cells in use than entries is built afresh: each stale cell costs a look-up. */
const STALE_CELLS = 1024;

export interface ApplyResult {
  readonly findings: readonly Finding[];
  /** Owner ids whose objects are gone and whose blocks were lifted. */
  readonly retired: readonly number[];
}

/**
 * The kernel side as one thing to be brought into a desired state. What it attaches and fills is pinned and goes on
 * without it. One apply() at a time; the others read.
 */
export class Datapath {
  readonly options: DatapathOptions;
  readonly tables: NodeTables;
  readonly owners: Owners;
  readonly clock: KernelClock;
  readonly concern: ConcernFilter;
  readonly manual: ManualBlocks;
  readonly pins: Pins;
  readonly #frags: boolean;
  #conntrack: ConntrackSupport;
  readonly #sets: SetSlots;
  readonly #attachments: Attachments;
  readonly #lock: { release(): void };
  readonly #clockProgram: BpfProgram;
  /** Loaded programs by their constants, and what each attached interface runs. */
  readonly #programs = new Map<string, BpfProgram>();
  readonly #running = new Map<
    number,
    {
      readonly config: string;
      readonly slot: number;
      readonly digest: string;
      readonly name: string;
      readonly policy: string | undefined;
    }
  >();
  /** Why interfaces in generic mode are, as far as this agent attached them. */
  readonly #fallbacks = new Map<number, string>();
  #windowTicks = 1n;
  /** A prefilter of another size begins empty, although the tables that it speaks for do not. */
  #concernIsBlank: boolean;

  private constructor(parts: {
    options: DatapathOptions;
    pins: Pins;
    lock: { release(): void };
    tables: NodeTables;
    clockProgram: BpfProgram;
    frags: boolean;
    conntrack: ConntrackSupport;
  }) {
    this.options = parts.options;
    this.pins = parts.pins;
    this.tables = parts.tables;
    this.#lock = parts.lock;
    this.#clockProgram = parts.clockProgram;
    this.#frags = parts.frags;
    this.#conntrack = parts.conntrack;
    this.clock = new KernelClock(parts.clockProgram, parts.tables.layout.ticksPerSecond);
    this.owners = new Owners(parts.tables.map('owners'));
    this.#sets = new SetSlots(parts.tables, parts.pins);
    this.#attachments = new Attachments(parts.pins);
    this.manual = new ManualBlocks(parts.tables);
    this.concern = new ConcernFilter(parts.tables.map('concern'), parts.tables.layout.secret[0]);
    this.#concernIsBlank = parts.tables.isReplaced('concern');
  }

  /**
   * Locks the pin path, adopts what is pinned there, or creates it. `mayReplace`: tables of another layout give way to new ones
   * in the first apply(), whose `prepare` is to fill them with what the others held.
   * @throws PortcullisError NotRoot, KernelTooOld, NoBtf, PinPathNotBpffs, PinPathLocked, LayoutMismatch, LayoutForeign, BpfLoadFailed
   */
  static async open(options: DatapathOptions, { mayReplace = false } = {}): Promise<Datapath> {
    checkKernel();
    const pins = new Pins(options.pinPath);
    pins.create();
    const lock = pins.lock();
    try {
      const frags = kernelAtLeast(FRAGS_SINCE);
      const clockProgram = await loadClockProgram();
      const conntrack = await conntrackSupport();
      const tables = await NodeTables.open(pins, options.sizes, {
        slots: slotsFor(1),
        frags,
        ticksPerSecond: () => measureTicksPerSecond(clockProgram),
        mayReplace,
      });
      const datapath = new Datapath({ options, pins, lock, tables, clockProgram, frags, conntrack });
      datapath.#attachments.adopt();
      return datapath;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Whether flows of pods and NodePorts are told from what a blocked source starts; as of the last apply(). */
  get conntrack(): ConntrackSupport {
    return this.#conntrack;
  }

  /** An earlier agent's work goes on: its programs, and its tables unless they are replaced. */
  get adopted(): boolean {
    return !this.tables.fresh;
  }

  /** The layout of an earlier agent's tables, while they have not given way to this one's. */
  get supersedes(): number | undefined {
    return this.tables.supersedes;
  }

  get attachments(): Attachments {
    return this.#attachments;
  }

  /** The longest window of all policies in force. */
  get windowTicks(): bigint {
    return this.#windowTicks;
  }

  setFill(): { lists: number; allow: number } {
    return this.#sets.fill();
  }

  attachedInterfaces(): AttachedLink[] {
    return this.#attachments.all.map(({ ifindex, mode, link }) => ({
      ifindex,
      mode,
      programId: link.info().programId,
    }));
  }

  interfaceName(ifindex: number): string | undefined {
    return this.#running.get(ifindex)?.name;
  }

  policyOf(ifindex: number): string | undefined {
    return this.#running.get(ifindex)?.policy;
  }

  /**
   * Brings the kernel into the desired state. Each part that fails becomes a finding; the others hold. `prepare` is
   * called when owners have their ids and nothing new is attached yet. With `keepOthers` what an earlier agent left
   * in force is not touched: what it was told is not known (yet).
   */
  async apply(
    desired: DesiredState,
    { prepare = () => {}, keepOthers = false }: { prepare?: () => void; keepOthers?: boolean } = {},
  ): Promise<ApplyResult> {
    const findings: Finding[] = [];
    if (!this.#frags)
      findings.push(findingOf('FragsUnavailable', `kernel ${release()} takes no frames of several buffers`));

    // kube-proxy loads the module, often after this agent has started.
    this.#conntrack = await conntrackSupport();
    if (!this.#conntrack.available && this.#conntrack.isMissed)
      findings.push(findingOf('ConntrackUnavailable', this.#conntrack.reason));

    const { retired, refused } = this.owners.assign(desired.owners, Date.now(), keepOthers);
    for (const { kind, name } of refused)
      findings.push(
        findingOf('TableFull', `no owner id is left for ${kind} ${name}`, {
          object: `${kind}/${name}`,
          field: '--max-owners',
        }),
      );

    const most = Math.max(1, ...desired.interfaces.map(({ policy }) => policy?.distinctTargets ?? 1));
    const reshaped = await this.tables.resize(this.options.sizes, slotsFor(most), this.#frags);
    // Before any program: a node must never be cut off from what keeps it alive, not for a moment.
    findings.push(...applyOwnAddresses(this.tables, desired), ...applyClasses(this.tables, this.concern, desired));
    prepare();
    const wasBlank = this.#concernIsBlank;
    // Before any program asks it; again below, since programs that ran meanwhile told the old one of what they blocked.
    if (wasBlank) this.#fillConcern();
    this.tables.beginReplacing();
    await this.#applyInterfaces(desired, findings, keepOthers);
    // Not beside a command that blocks by hand: it would write to the table that is being left.
    await this.pins.withTables(() => this.#commit());
    this.#concernIsBlank = false;
    const windows = desired.interfaces.map(({ policy }) => policy?.windowMs ?? 0);
    this.#windowTicks = BigInt(Math.ceil((Math.max(0, ...windows) * this.clock.ticksPerSecond) / 1000)) || 1n;
    if (retired.length > 0) collectBlocks(this.tables, this.clock.now(), new Set(retired));
    if (wasBlank || reshaped.length > 0 || this.#concernIsStale()) this.rebuildConcern();
    return { findings, retired };
  }

  /** Takes out what has expired; the kernel heeds none of it any more. Called every few seconds. */
  async collect(): Promise<void> {
    const now = this.clock.now();
    collectBlocks(this.tables, now);
    await this.pins.withTables(() => {
      this.concern.manualEntries = this.manual.collect(now);
    });
    if (this.#concernIsStale()) this.rebuildConcern();
  }

  /**
   * Lifts scan blocks of sources inside of prefixes, for exceptions. To be called after the apply() that allowed them,
   * or they may be blocked anew at once. Reads the tracking tables whole, 64 MiB by default: call it for what is new.
   */
  async liftBlocks(requests: readonly LiftRequest[]): Promise<Lifted> {
    return await liftRequested(this.tables, this.owners, requests);
  }

  /** The wall clock was set: deadlines that came from wall times are computed again by the next apply(). */
  outdateDeadlines(): void {
    this.#sets.invalidate();
  }

  /** Takes our programs off every interface, and nothing else: the next apply() attaches them again. Returns how many there were. */
  detachAll(): number {
    const { all } = this.#attachments;
    for (const { ifindex } of all) {
      this.#attachments.detach(ifindex);
      this.#forget(ifindex);
    }
    return all.length;
  }

  #commit(): void {
    const replaces = this.tables.supersedes !== undefined;
    // A program of an earlier agent goes on with its own tables, which stay pinned as long.
    if (replaces && !this.#attachments.all.every(({ ifindex }) => this.#running.has(ifindex))) return;
    this.tables.commit();
    if (replaces) this.#sets.dropOthers();
  }

  #fillConcern(): void {
    this.rebuildConcern();
    this.concern.manualEntries = this.manual.all().length;
  }

  rebuildConcern(): void {
    this.concern.rebuild(() => this.#concernEntries());
  }

  /** Removes everything that is pinned from the kernel and the bpffs, and nothing else. @throws PortcullisError PinPathLocked */
  static async detachPinned(pins: Pins): Promise<void> {
    const lock = pins.lock();
    try {
      const attachments = new Attachments(pins);
      attachments.adopt();
      for (const { ifindex } of attachments.all) attachments.detach(ifindex);
      pins.removeAll();
    } finally {
      lock.release();
    }
  }

  /** Lets go of descriptors and the lock. What is attached stays. */
  close(): void {
    this.#attachments.close();
    for (const program of this.#programs.values()) program.close();
    this.#programs.clear();
    this.concern.close();
    this.tables.close();
    this.#clockProgram.close();
    this.#lock.release();
  }

  async #applyInterfaces(desired: DesiredState, findings: Finding[], keepOthers: boolean): Promise<void> {
    for (const ifindex of this.#attachments.dropGone()) this.#forget(ifindex);
    const slots = await this.#applySets(desired, findings);
    for (const wanted of desired.interfaces) {
      if (keepOthers && this.#attachments.get(wanted.ifindex) && !this.#running.has(wanted.ifindex)) continue;
      const owner = wanted.policy ? this.owners.idOf({ kind: 'PortScanPolicy', name: wanted.policy.name }) : 0;
      const slot = slots.get(wanted.ifindex);
      if (owner === undefined || slot === undefined) continue;
      try {
        await this.#applyInterface(wanted, { policy: wanted.policy, owner, setSlot: slot, testClock: false }, findings);
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        const known = error instanceof PortcullisError;
        findings.push(
          findingOf(known ? error.code : 'AttachFailed', `${wanted.name}: ${text}`, {
            interfaceName: wanted.name,
            severity: 'error',
            ...(known && { remedy: error.remedy }),
          }),
        );
      }
    }
    if (keepOthers) return;
    const kept = new Set(desired.interfaces.map(({ ifindex }) => ifindex));
    for (const { ifindex } of this.#attachments.all) {
      if (kept.has(ifindex)) continue;
      this.#attachments.detach(ifindex);
      this.#forget(ifindex);
    }
    const usedSlots = new Set([...this.#running.values()].map(({ slot }) => slot));
    await this.#sets.keepOnly(usedSlots, !this.#attachments.all.every(({ ifindex }) => this.#running.has(ifindex)));
    const used = new Set([...this.#running.values()].map(({ config }) => config));
    for (const [config, program] of this.#programs) {
      if (used.has(config)) continue;
      program.close();
      this.#programs.delete(config);
    }
  }

  /** Fills a slot for each group of interfaces with equal lists and allows. Returns the slot of each interface. */
  async #applySets(desired: DesiredState, findings: Finding[]): Promise<Map<number, number>> {
    const slots = new Map<number, number>();
    const groups = new Map<string, DesiredInterface[]>();
    for (const wanted of desired.interfaces) {
      const digest = setDigest(wanted);
      groups.set(digest, [...(groups.get(digest) ?? []), wanted]);
    }
    for (const [digest, group] of groups) {
      let slot = this.#sets.slotOf(digest);
      if (slot === undefined) {
        const contents = encodeSet(
          group[0]!,
          (name) => this.owners.idOf({ kind: 'IpBlocklist', name }),
          this.clock,
          this.options.sizes,
        );
        slot = this.#slotToRefill(group) ?? this.#sets.free();
        if (slot === undefined) {
          findings.push(
            findingOf('TableFull', `no slot is left for the lists of ${group.map(({ name }) => name).join(', ')}`, {
              remedy: 'Let more interfaces have the same lists and allow entries.',
            }),
          );
          continue;
        }
        await this.#sets.put(slot, contents, (prefix, bits) => this.concern.add(prefix, bits));
      }
      // Of earlier applies too: what did not fit then is still not in force.
      const { lists, allow } = this.#sets.refusedIn(slot);
      if (lists > 0)
        findings.push(
          findingOf('TableFull', `${lists} entries of blocklists found no room`, { field: '--max-list-entries' }),
        );
      if (allow > 0)
        findings.push(findingOf('TableFull', `${allow} allow entries found no room`, { field: '--max-allow-entries' }));
      for (const { ifindex } of group) slots.set(ifindex, slot);
    }
    return slots;
  }

  /** A slot that only this group's interfaces read can be refilled under them, without new programs. */
  #slotToRefill(group: readonly DesiredInterface[]): number | undefined {
    const members = new Set(group.map(({ ifindex }) => ifindex));
    for (const { ifindex } of group) {
      const slot = this.#running.get(ifindex)?.slot;
      if (slot === undefined) continue;
      const readers = [...this.#running].filter(([, running]) => running.slot === slot);
      if (readers.every(([reader]) => members.has(reader))) return slot;
    }
    return undefined;
  }

  async #applyInterface(wanted: DesiredInterface, instance: InstanceConfig, findings: Finding[]): Promise<void> {
    const bytes = encodeConfig(instance, { options: this.options, tables: this.tables, frags: this.#frags });
    const conntrack = this.#conntrack.available;
    const config = `${bytes.toString('hex')} ${conntrack}`;
    let attachment = this.#attachments.get(wanted.ifindex);
    const modeChanges =
      attachment !== undefined && this.options.xdpMode !== 'auto' && this.options.xdpMode !== attachment.mode;
    if (!attachment || modeChanges || this.#running.get(wanted.ifindex)?.config !== config) {
      let program = this.#programs.get(config);
      if (!program) {
        program = await loadInstance(bytes, this.tables, this.#frags, new Map(), conntrack);
        this.#programs.set(config, program);
      }
      if (attachment && !modeChanges) await attachment.link.update(program);
      else attachment = await this.#attach(wanted, program, findings);
    }
    if (!attachment) return;
    if (attachment.mode === 'generic' && this.options.xdpMode === 'auto') {
      // The driver cannot be asked again while our program is there.
      const why = this.#fallbacks.get(wanted.ifindex) ?? 'an earlier agent attached it in generic mode';
      findings.push(findingOf('GenericFallback', `${wanted.name}: ${why}`, { interfaceName: wanted.name }));
    }
    this.#running.set(wanted.ifindex, {
      config,
      slot: instance.setSlot,
      digest: setDigest(wanted),
      name: wanted.name,
      policy: wanted.policy?.name,
    });
    this.#recordInterface(wanted, instance.owner, this.#programs.get(config));
  }

  /** For tools that run without the agent; a full table costs them a name and nobody protection. */
  #recordInterface(wanted: DesiredInterface, owner: number, program: BpfProgram | undefined): void {
    const state = Buffer.alloc(interfaceStateStruct.bytes);
    state.writeUInt32LE(owner, interfaceStateStruct.policy);
    state.writeUInt32LE(program?.info().verifiedInstructions ?? 0, interfaceStateStruct.verifiedInstructions);
    state.write(wanted.name, interfaceStateStruct.name, 15, 'utf8');
    try {
      this.tables.map('interfaces').update(u32(wanted.ifindex), state);
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
    }
  }

  /** Attaches, or changes between native and generic: the kernel lets the two not be there together, so that has a gap. */
  async #attach(wanted: DesiredInterface, program: BpfProgram, findings: Finding[]) {
    const before = this.#attachments.get(wanted.ifindex);
    const startedMs = performance.now();
    if (before) this.#attachments.detach(wanted.ifindex);
    try {
      const { attachment, fallbackReason } = await this.#attachments.attach(
        program,
        wanted.ifindex,
        this.options.xdpMode,
      );
      if (before) {
        const gapMs = (performance.now() - startedMs).toFixed(1);
        findings.push(
          findingOf(
            'DetachGap',
            `${wanted.name} was unguarded for ${gapMs} ms while it changed from ${before.mode} to ${attachment.mode}`,
            { interfaceName: wanted.name },
          ),
        );
      }
      if (fallbackReason === undefined) this.#fallbacks.delete(wanted.ifindex);
      else this.#fallbacks.set(wanted.ifindex, `native XDP was refused: ${fallbackReason}`);
      return attachment;
    } catch (error) {
      if (!(error instanceof AttachRefused)) throw error;
      if (before) await this.#attachments.attach(program, wanted.ifindex, before.mode);
      const code = error.kind === 'foreign' ? 'ForeignXdpProgram' : 'AttachFailed';
      findings.push(findingOf(code, `${wanted.name}: ${error.message}`, { interfaceName: wanted.name }));
      return this.#attachments.get(wanted.ifindex);
    }
  }

  #forget(ifindex: number): void {
    this.#running.delete(ifindex);
    this.#fallbacks.delete(ifindex);
    this.tables.map('interfaces').delete(u32(ifindex));
  }

  *#concernEntries() {
    for (const name of ['class4', 'class6'])
      for (const { prefix } of trieEntries(this.tables.map(name))) yield { prefix, bits: concern.CONCERN_CLASS };
    for (const { source } of this.manual.all()) yield { prefix: source, bits: concern.CONCERN_LIST };
    yield* this.#sets.entries();
    for (const { key } of readScanBlocks(this.tables)) yield { prefix: key.source, bits: concern.CONCERN_BLOCK };
  }

  #concernIsStale(): boolean {
    let entries = 0;
    for (const _ of this.#concernEntries()) entries++;
    return this.concern.usedCells() > 2 * entries + STALE_CELLS;
  }
}
