import { randomBytes } from 'node:crypto';
import { PortcullisError } from '../../api/errors.ts';
import { BpfError } from '../libbpf/bpf-error.ts';
import { BpfMap, u32, updateFlag } from '../libbpf/map.ts';
import { releaseFreedMemory } from '../libbpf/memory.ts';
import { BpfObject } from '../libbpf/object.ts';
import { decodeBlock } from './codec.ts';
import { concernBytes } from './concern.ts';
import {
  configStruct,
  layoutMagic,
  layoutStruct,
  layoutVersion,
  probeStruct,
  reason,
  ringEntryStruct,
  ringHeadStruct,
  sourcesPerDomain,
} from './layout.ts';
import { objectImage } from './objects.ts';
import type { TableSizes } from './options.ts';
import type { Pins } from './pins.ts';

/** Maps that hold nothing worth keeping: each instance has its own. */
const SCRATCH = new Set(['test_clock', 'vote_results', 'budgets']);
/** Maps whose entries are copied when a setting changes their size; the others start empty or are built afresh. */
const COPIED = ['blocks', 'manual4', 'manual6', 'owners', 'counters', 'own', 'class4', 'class6'] as const;
const RINGS = 2;

/** Slots of stage 2 a source may have: one more shape would lose tracking more often, one less would waste memory. */
const SLOT_SHAPES = [15, 31, 63];
export const slotsFor = (distinctTargets: number): number =>
  SLOT_SHAPES.find((slots) => slots >= distinctTargets - 1) ?? 63;

const nextPowerOfTwo = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(n, 1)));
/** Twice the blocks: an entry is skipped when its block has been lifted or proven, and those linger. */
export const ringEntries = (sizes: TableSizes): number => nextPowerOfTwo(sizes.maxBlocks * 2);

/** In the version of a pinned layout whose tables are being replaced: no agent knows it, so none adopts half of them. */
const VERSION_BEING_REPLACED = 0;

/** What `layout` says of the pins, decoded. */
export interface Layout {
  readonly secret: readonly [bigint, bigint];
  readonly slots: number;
  readonly ticksPerSecond: number;
}

export interface TablesNeed {
  /** Slots of stage 2. */
  readonly slots: number;
  readonly frags: boolean;
  readonly ticksPerSecond: () => Promise<number>;
  /** Pinned tables of another layout may give way to new ones, since what they hold is known otherwise. */
  readonly mayReplace?: boolean;
}

interface Shape {
  readonly maxEntries: number;
  readonly valueBytes?: number;
}

const shapes = (sizes: TableSizes, slots: number): Record<string, Shape> => ({
  class4: { maxEntries: sizes.maxNeverBlock },
  class6: { maxEntries: sizes.maxNeverBlock },
  manual4: { maxEntries: sizes.maxManualBlocks },
  manual6: { maxEntries: sizes.maxManualBlocks },
  own: { maxEntries: sizes.maxOwnAddresses },
  blocks: { maxEntries: sizes.maxBlocks },
  rings: { maxEntries: RINGS * ringEntries(sizes) },
  domains: { maxEntries: sizes.domains },
  probes: { maxEntries: sizes.domains, valueBytes: sourcesPerDomain * slots * probeStruct.bytes },
  concern: { maxEntries: 1, valueBytes: concernBytes(sizes.concernCells) },
  counters: { maxEntries: sizes.maxOwners * reason.REASON_COUNT },
  owners: { maxEntries: sizes.maxOwners },
  events: { maxEntries: sizes.ringBufferBytes },
});

/** Sets a map's size in an object that is not loaded yet. */
const applyShapes = (object: BpfObject, wanted: Record<string, Shape>): void => {
  for (const [name, shape] of Object.entries(wanted)) {
    object.setMaxEntries(name, shape.maxEntries);
    if (shape.valueBytes !== undefined) object.setValueBytes(name, shape.valueBytes);
  }
};

/** Runs `use` on the guard object, opened; frags and connection tracking are left out where the kernel has none. */
export const withGuardObject = async <T>(
  { frags, conntrack }: { readonly frags: boolean; readonly conntrack: boolean },
  use: (object: BpfObject) => Promise<T>,
): Promise<T> => {
  try {
    using object = BpfObject.open(objectImage(conntrack ? 'guard' : 'guard-sockets'));
    if (!frags) object.disableFrags(GUARD);
    return await use(object);
  } finally {
    releaseFreedMemory();
  }
};

export const GUARD = 'guard';

/**
 * The node's maps: those that outlive the agent, adopted from their pins or created. Programs of all interfaces share
 * them, so that tracking and blocks of a policy hold wherever it does.
 */
export class NodeTables {
  /** True when this is a first start: nothing was pinned. */
  readonly fresh: boolean;
  readonly #maps: Map<string, BpfMap>;
  readonly #pins: Pins;
  #layout: Layout;
  /** Old maps of resized tables, until the programs that write to them are gone. */
  #replaced = new Map<string, BpfMap>();
  /** The layout of the pinned tables that these replace; undefined once these are pinned. */
  #supersedes: number | undefined;

  private constructor(pins: Pins, maps: Map<string, BpfMap>, layout: Layout, fresh: boolean, supersedes?: number) {
    this.#pins = pins;
    this.#maps = maps;
    this.#layout = layout;
    this.fresh = fresh;
    this.#supersedes = supersedes;
  }

  /**
   * Opens what is pinned, or makes and pins all of it on a first start. Where tables of another layout are pinned and may be
   * replaced, or no program is attached that reads them, new ones are made beside them: they are pinned by commit(), when the
   * programs use them.
   * @throws PortcullisError LayoutMismatch, LayoutForeign, BpfLoadFailed
   */
  static async open(pins: Pins, sizes: TableSizes, need: TablesNeed): Promise<NodeTables> {
    const pinned = openPinned(pins);
    // Without a link nothing is dropped: not before the first policies, and not while everything is detached.
    const mayReplace = need.mayReplace || pins.names('links').length === 0;
    const supersedes = pinned && mayReplace ? otherVersion(pins, pinned.get('layout')!) : undefined;
    if (pinned && supersedes === undefined) {
      const tables = new NodeTables(pins, pinned, readLayout(pins, pinned.get('layout')!), false);
      await tables.resize(sizes, need.slots, need.frags);
      return tables;
    }
    for (const map of pinned?.values() ?? []) map.close();
    const layout: Layout = {
      secret: [randomBytes(8).readBigUInt64LE(), randomBytes(8).readBigUInt64LE()],
      ticksPerSecond: await need.ticksPerSecond(),
      slots: need.slots,
    };
    const wanted = shapes(sizes, need.slots);
    const maps = await withGuardObject({ frags: need.frags, conntrack: false }, (object) =>
      createMaps(object, wanted, new Map()),
    );
    const tables = new NodeTables(pins, maps, layout, supersedes === undefined, supersedes);
    tables.#writeLayout(sizes);
    if (supersedes !== undefined) return tables;
    for (const [name, map] of maps) if (name !== 'layout') map.pin(pins.at('maps', name));
    // Last: a folder without it is the rest of a start that did not come this far.
    tables.map('layout').pin(pins.at('maps', 'layout'));
    return tables;
  }

  /** The layout of what is still pinned and gives way to these tables. */
  get supersedes(): number | undefined {
    return this.#supersedes;
  }

  /** Before anything pinned is touched: what is cut off from here on is begun anew by the next agent, of whatever version. */
  beginReplacing(): void {
    if (this.#supersedes === undefined) return;
    using layout = BpfMap.openPinned(this.#pins.at('maps', 'layout'), 'layout');
    const value = layout.lookup(u32(0))!;
    value.writeUInt32LE(VERSION_BEING_REPLACED, layoutStruct.version);
    layout.update(u32(0), value);
  }

  /**
   * Makes tables anew whose size or shape is another now, and copies what they held; more slots than asked for stay.
   * The pins change only in commit(), when the programs use the new tables. Returns the names of the new ones.
   */
  async resize(sizes: TableSizes, wantedSlots: number, frags: boolean): Promise<string[]> {
    const slots = Math.max(this.#layout.slots, wantedSlots);
    const wanted = shapes(sizes, slots);
    const replaced = new Map<string, BpfMap>();
    for (const [name, map] of this.#maps) {
      const shape = wanted[name];
      if (!shape) continue;
      const { maxEntries, valueBytes } = map.shape;
      if (maxEntries !== shape.maxEntries || valueBytes !== (shape.valueBytes ?? valueBytes)) replaced.set(name, map);
    }
    if (replaced.size === 0) return [];
    // The two stages of tracking belong together, and so do the rings and their heads.
    for (const pair of [
      ['domains', 'probes'],
      ['rings', 'ring_heads'],
    ] as const)
      if (pair.some((name) => replaced.has(name))) for (const name of pair) replaced.set(name, this.map(name));
    const kept = new Map([...this.#maps].filter(([name]) => !replaced.has(name)));
    const maps = await withGuardObject({ frags, conntrack: false }, (object) => createMaps(object, wanted, kept));
    for (const name of replaced.keys()) this.#maps.set(name, maps.get(name)!);
    for (const name of COPIED) {
      const from = replaced.get(name);
      if (from) copyMap(from, this.map(name));
    }
    if (replaced.has('rings')) this.refillRings();
    // Resized again before a program was swapped: the first one is still what programs write to.
    for (const [name, map] of replaced) {
      if (this.#replaced.has(name)) map.close();
      else this.#replaced.set(name, map);
    }
    this.#layout = { ...this.#layout, slots };
    this.#writeLayout(sizes);
    return [...replaced.keys()];
  }

  /** Opens what is pinned without changing anything, for commands. Undefined when nothing is pinned. */
  static openExisting(pins: Pins): NodeTables | undefined {
    const pinned = openPinned(pins);
    if (!pinned) return undefined;
    const layout = readLayout(pins, pinned.get('layout')!);
    return new NodeTables(pins, pinned, layout, false);
  }

  get layout(): Layout {
    return this.#layout;
  }

  /** True while programs may still use the old map of a resized table; see commit(). */
  isReplaced(name: string): boolean {
    return this.#replaced.has(name);
  }

  map(name: string): BpfMap {
    const map = this.#maps.get(name);
    if (!map) throw new Error(`no table ${name}`);
    return map;
  }

  get names(): string[] {
    return [...this.#maps.keys()];
  }

  /** Makes every map of `object` one of these. */
  reuseIn(object: BpfObject): void {
    for (const [name, map] of this.#maps) object.reuse(name, map);
  }

  /** After all programs use the new tables: what they blocked in the old ones meanwhile is taken over, then the pins change. */
  commit(): void {
    if (this.#supersedes !== undefined) this.#pinInstead();
    if (this.#replaced.size === 0) return;
    for (const name of ['blocks', 'manual4', 'manual6']) {
      const old = this.#replaced.get(name);
      if (old) copyMap(old, this.map(name), updateFlag.noExist);
    }
    for (const [name, old] of this.#replaced) {
      this.map(name).pin(this.#pins.at('maps', `${name}-new`));
      this.#pins.rename('maps', `${name}-new`, name);
      old.close();
    }
    this.#replaced = new Map();
  }

  /** In place of tables of another layout. */
  #pinInstead(): void {
    const put = (name: string): void => {
      this.map(name).pin(this.#pins.at('maps', `${name}-new`));
      this.#pins.rename('maps', `${name}-new`, name);
    };
    for (const name of this.names) if (name !== 'layout') put(name);
    for (const name of this.#pins.names('maps')) if (!this.#maps.has(name)) this.#pins.remove('maps', name);
    // Last: with it they are tables of this layout.
    put('layout');
    this.#supersedes = undefined;
  }

  close(): void {
    for (const map of [...this.#maps.values(), ...this.#replaced.values()]) map.close();
  }

  /** Rebuilds the order of eviction out of the blocks themselves: after a copy, or when blocks were put back. */
  refillRings(): void {
    const rings = this.map('rings');
    const size = rings.shape.maxEntries / RINGS;
    const blocks = [...this.map('blocks').entries()]
      .map(({ key, value }) => ({ key, block: decodeBlock(value) }))
      .sort((a, b) => (a.block.since < b.block.since ? -1 : 1));
    const heads = [0, 0];
    for (const { key, block } of blocks) {
      const ring = block.flags & 1;
      const entry = Buffer.alloc(ringEntryStruct.bytes);
      key.copy(entry, ringEntryStruct.key);
      entry.writeBigUInt64LE(block.since, ringEntryStruct.since);
      rings.update(u32(ring * size + (heads[ring]! % size)), entry);
      heads[ring]!++;
    }
    for (const ring of [0, 1]) {
      const head = Buffer.alloc(ringHeadStruct.bytes);
      head.writeUInt32LE(heads[ring]!, ringHeadStruct.head);
      this.map('ring_heads').update(u32(ring), head);
    }
  }

  #writeLayout(sizes: TableSizes): void {
    const value = Buffer.alloc(layoutStruct.bytes);
    value.writeUInt32LE(layoutMagic, layoutStruct.magic);
    value.writeUInt32LE(layoutVersion, layoutStruct.version);
    value.writeBigUInt64LE(this.layout.secret[0], layoutStruct.secret);
    value.writeBigUInt64LE(this.layout.secret[1], layoutStruct.secret + 8);
    value.writeUInt32LE(this.layout.slots, layoutStruct.slots);
    value.writeUInt32LE(sizes.domains, layoutStruct.domains);
    value.writeUInt32LE(sizes.concernCells, layoutStruct.cells);
    value.writeUInt32LE(sizes.maxBlocks, layoutStruct.maxBlocks);
    value.writeUInt32LE(sizes.maxOwners, layoutStruct.maxOwners);
    value.writeUInt32LE(this.layout.ticksPerSecond, layoutStruct.ticksPerSecond);
    this.map('layout').update(u32(0), value);
  }
}

const openPinned = (pins: Pins): Map<string, BpfMap> | undefined => {
  if (!pins.has('maps', 'layout')) {
    // The rest of a first start that was cut off; no link exists without the layout.
    if (pins.names('links').length > 0)
      throw new PortcullisError('LayoutForeign', `${pins.path} holds links but no layout: something else made them`, {
        field: '--pin-path',
        value: pins.path,
      });
    for (const name of pins.names('maps')) pins.remove('maps', name);
    return undefined;
  }
  const maps = new Map<string, BpfMap>();
  for (const name of pins.names('maps')) {
    if (name.endsWith('-new')) pins.remove('maps', name);
    else maps.set(name, BpfMap.openPinned(pins.at('maps', name), name));
  }
  return maps;
};

/** @throws PortcullisError LayoutForeign */
const layoutValue = (pins: Pins, map: BpfMap): Buffer => {
  const value = map.shape.valueBytes >= 8 ? map.lookup(u32(0)) : undefined;
  if (value?.readUInt32LE(layoutStruct.magic) === layoutMagic) return value;
  throw new PortcullisError('LayoutForeign', `${pins.path} holds maps that are not Portcullis's`, {
    field: '--pin-path',
    value: pins.path,
  });
};

/** The version of pinned tables that cannot be adopted; undefined where they can be. @throws PortcullisError LayoutForeign */
const otherVersion = (pins: Pins, map: BpfMap): number | undefined => {
  const version = layoutValue(pins, map).readUInt32LE(layoutStruct.version);
  return version === layoutVersion && map.shape.valueBytes === layoutStruct.bytes ? undefined : version;
};

const readLayout = (pins: Pins, map: BpfMap): Layout => {
  const details = { field: '--pin-path', value: pins.path };
  const value = layoutValue(pins, map);
  const version = value.readUInt32LE(layoutStruct.version);
  if (version !== layoutVersion || map.shape.valueBytes !== layoutStruct.bytes) {
    throw new PortcullisError(
      'LayoutMismatch',
      `${pins.path} holds tables of layout ${version}, this version knows layout ${layoutVersion}`,
      details,
    );
  }
  return {
    secret: [value.readBigUInt64LE(layoutStruct.secret), value.readBigUInt64LE(layoutStruct.secret + 8)],
    slots: value.readUInt32LE(layoutStruct.slots),
    ticksPerSecond: value.readUInt32LE(layoutStruct.ticksPerSecond),
  };
};

/** Lets libbpf create the maps, which knows their BTF; the program loaded for it is the smallest there is and is let go. */
const createMaps = async (
  object: BpfObject,
  wanted: Record<string, Shape>,
  kept: ReadonlyMap<string, BpfMap>,
): Promise<Map<string, BpfMap>> => {
  applyShapes(object, wanted);
  for (const [name, map] of kept) object.reuse(name, map);
  const config = Buffer.alloc(configStruct.bytes);
  config.writeUInt32LE(1, configStruct.threshold);
  object.setReadOnlyData(config);
  try {
    await object.load(GUARD);
  } catch (error) {
    throw loadError(error);
  }
  const maps = new Map(kept);
  for (const name of object.mapNames) if (!SCRATCH.has(name) && !maps.has(name)) maps.set(name, object.takeMap(name));
  return maps;
};

const copyMap = (from: BpfMap, to: BpfMap, flags: number = updateFlag.any): void => {
  for (const { key, value } of walk(from)) {
    try {
      to.update(key, value, flags);
    } catch (error) {
      // A smaller table keeps what fits; TableFull tells.
      if (error instanceof BpfError && ['E2BIG', 'ENOSPC', 'ENOENT', 'EINVAL', 'EEXIST'].includes(error.code)) continue;
      throw error;
    }
  }
};

const LPM_TRIE = 11;
export function* walk(map: BpfMap): Generator<{ key: Buffer; value: Buffer }> {
  if (map.shape.type !== LPM_TRIE) {
    yield* map.entries();
    return;
  }
  for (const key of map.keys()) {
    const value = map.lookup(key);
    if (value) yield { key, value };
  }
}

export const loadError = (error: unknown): unknown => {
  if (!(error instanceof BpfError)) return error;
  const remedies: Record<string, string> = {
    EPERM:
      'Run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; a container also needs a seccomp profile that allows bpf().',
    ENOMEM: 'Give the agent more memory, or make its tables smaller.',
    ESRCH: 'The kernel has no BTF: use one built with CONFIG_DEBUG_INFO_BTF.',
  };
  return new PortcullisError('BpfLoadFailed', error.message, {
    cause: error,
    ...(remedies[error.code] && { remedy: remedies[error.code] }),
  });
};
