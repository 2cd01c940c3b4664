import { mkdirSync } from 'node:fs';
import {
  decodeBlock,
  decodeBlockKey,
  encodeAddress,
  encodeBlockKey,
  encodeManual,
  encodeTrieKey,
} from '../../agent/datapath/codec.ts';
import { ConcernFilter } from '../../agent/datapath/concern.ts';
import { encodeConfig, loadInstance } from '../../agent/datapath/instance.ts';
import {
  blockEventStruct,
  blockKeyStruct,
  concern,
  listFlag,
  reason as reasonNumbers,
  sourceClass,
} from '../../agent/datapath/layout.ts';
import { type DatapathOptions, defaultSizes, type TableSizes } from '../../agent/datapath/options.ts';
import { Pins } from '../../agent/datapath/pins.ts';
import { NodeTables, walk } from '../../agent/datapath/tables.ts';
import { BpfMap, mapFlag, mapType, u32 } from '../../agent/libbpf/map.ts';
import type { BpfProgram } from '../../agent/libbpf/program.ts';
import { RingBuffer } from '../../agent/libbpf/ring-buffer.ts';
import { TestRun } from '../../agent/libbpf/test-run.ts';
import type { Address, Prefix } from '../../api/cidr.ts';
import type { ModelConfig } from '../model/model.ts';
import type { Reason } from '../model/reasons.ts';
import type { TableChange } from '../model/tables.ts';
import { toPrefix } from '../support/address.ts';

const REASONS = Object.keys(reasonNumbers).filter((name) => name !== 'REASON_COUNT') as Reason[];
const REASON_COUNT = reasonNumbers.REASON_COUNT;
/** Small, so that hundreds of cases can start from empty tables. */
export const testSizes: TableSizes = {
  ...defaultSizes,
  domains: 64,
  maxBlocks: 4096,
  concernCells: 65_536,
  maxOwners: 64,
  ringBufferBytes: 1 << 20,
};

export const XDP_DROP = 1;
export const XDP_PASS = 2;

const prefixOf = (text: string): Prefix => {
  const { version, first, length } = toPrefix(text);
  return { family: version, value: version === 4 ? first & 0xffff_ffffn : first, length: length };
};

/** The program and its tables, filled as an agent would and run packet by packet, with a clock of the test's own. */
export class KernelNode implements AsyncDisposable {
  readonly tables: NodeTables;
  readonly options: DatapathOptions;
  readonly #conntrack: boolean | undefined;
  readonly #pins: Pins;
  readonly #clock = BpfMap.create('test_clock', {
    type: mapType.array,
    keyBytes: 4,
    valueBytes: 8,
    maxEntries: 1,
    flags: 0,
  });
  readonly #concern: ConcernFilter;
  readonly #programs = new Map<string, { program: BpfProgram; run: TestRun }>();
  readonly #inner = new Map<string, BpfMap>();
  readonly #entries = new Map<string, { prefix: Prefix; bits: number }>();
  readonly #ring: RingBuffer;

  private constructor(pins: Pins, tables: NodeTables, options: DatapathOptions, conntrack: boolean | undefined) {
    this.#conntrack = conntrack;
    this.#pins = pins;
    this.tables = tables;
    this.options = options;
    this.#concern = new ConcernFilter(tables.map('concern'), tables.layout.secret[0]);
    this.#ring = new RingBuffer(tables.map('events'));
  }

  /** `conntrack`: which of the two guards; what the kernel allows when absent. */
  static async create(
    pinPath: string,
    sizes: TableSizes = testSizes,
    slots = 63,
    conntrack?: boolean,
  ): Promise<KernelNode> {
    mkdirSync(pinPath, { recursive: true });
    const pins = new Pins(pinPath);
    pins.create();
    const tables = await NodeTables.open(pins, sizes, { slots, frags: true, ticksPerSecond: async () => 100 });
    const options: DatapathOptions = {
      pinPath,
      xdpMode: 'auto',
      maxExtensionHeaders: 8,
      connectionEventsPerSecond: 1_000_000,
      blockEventsPerSecond: 1_000_000,
      sizes,
    };
    return new KernelNode(pins, tables, options, conntrack);
  }

  /** Empties every table but the counters. */
  async reset(): Promise<void> {
    for (const name of ['class4', 'class6', 'manual4', 'manual6', 'own', 'blocks']) {
      const map = this.tables.map(name);
      for (const { key } of [...walk(map)]) map.delete(key);
    }
    for (const [name, map] of this.#inner) {
      const [table, slot] = name.split('/');
      await this.tables.map(table!).clearInner(Number(slot));
      map.close();
    }
    this.#inner.clear();
    const domains = this.tables.map('domains');
    const empty = Buffer.alloc(domains.shape.valueBytes);
    for (let i = 0; i < domains.shape.maxEntries; i++) domains.update(u32(i), empty);
    const probes = this.tables.map('probes');
    const none = Buffer.alloc(probes.shape.valueBytes);
    for (let i = 0; i < probes.shape.maxEntries; i++) probes.update(u32(i), none);
    this.#entries.clear();
    this.#concern.rebuild(() => []);
    this.#concern.rebuild(() => []);
    this.#concern.manualEntries = 0;
    this.#ring.drain(() => {});
  }

  async apply(change: TableChange): Promise<void> {
    if (change.table === 'own') {
      const address: Address = prefixOf(change.address);
      if (change.value) this.tables.map('own').update(encodeAddress(address), u32(1));
      else this.tables.map('own').delete(encodeAddress(address));
      return;
    }
    if (change.table === 'blocks') {
      const source = prefixOf(change.source);
      this.tables.map('blocks').delete(encodeBlockKey({ source, owner: change.owner }));
      return;
    }
    const prefix = prefixOf(change.prefix);
    const key = encodeTrieKey(prefix);
    if (change.table === 'classes') {
      const value = Buffer.alloc(8);
      value.writeUInt32LE(
        (change.value?.neverBlock ? sourceClass.CLASS_NEVER_BLOCK : 0) |
          (change.value?.onLink ? sourceClass.CLASS_ON_LINK : 0),
      );
      this.#write(this.tables.map(`class${prefix.family}`), key, change.value && value, prefix, concern.CONCERN_CLASS);
    } else if (change.table === 'manual') {
      const value =
        change.value &&
        encodeManual({
          until: BigInt(change.value.until),
          ownUntil: BigInt(change.value.until),
          since: 0n,
          dropped: 0,
          reason: 'test',
        });
      this.#write(this.tables.map(`manual${prefix.family}`), key, value, prefix, concern.CONCERN_LIST);
      this.#concern.manualEntries = this.tables.map('manual4').keys().length + this.tables.map('manual6').keys().length;
    } else if (change.table === 'lists') {
      const value = Buffer.alloc(8);
      value.writeUInt32LE(change.value?.owner ?? 0, 0);
      value.writeUInt32LE(
        (change.value?.enforce ? listFlag.LIST_ENFORCE : 0) |
          (change.value?.allTraffic ? listFlag.LIST_ALL_TRAFFIC : 0) |
          (change.value?.spared ? listFlag.LIST_SPARED : 0),
        4,
      );
      this.#write(
        await this.#set(`lists${prefix.family}`, change.slot),
        key,
        change.value && value,
        prefix,
        concern.CONCERN_LIST,
      );
    } else {
      const value = Buffer.alloc(8);
      value.writeBigUInt64LE(BigInt(change.value?.until ?? 0));
      this.#write(
        await this.#set(`allows${prefix.family}`, change.slot),
        key,
        change.value && value,
        prefix,
        concern.CONCERN_ALLOW,
      );
    }
  }

  #write(map: BpfMap, key: Buffer, value: Buffer | null, prefix: Prefix, bits: number): void {
    if (value) {
      map.update(key, value);
      this.#concern.add(prefix, bits);
    } else map.delete(key);
  }

  async #set(table: string, slot: number): Promise<BpfMap> {
    const name = `${table}/${slot}`;
    const known = this.#inner.get(name);
    if (known) return known;
    const map = BpfMap.create(table, {
      type: mapType.lpmTrie,
      keyBytes: table.endsWith('4') ? 8 : 20,
      valueBytes: 8,
      maxEntries: 1024,
      flags: mapFlag.noPrealloc,
    });
    await this.tables.map(table).setInner(slot, map);
    this.#inner.set(name, map);
    return map;
  }

  async instance(config: ModelConfig): Promise<TestRun> {
    const { ticksPerSecond } = this.tables.layout;
    const ms = (ticks: number) => (ticks * 1000) / ticksPerSecond;
    const policy = config.detect
      ? {
          name: 'test',
          enforce: config.enforce,
          distinctTargets: config.threshold,
          windowMs: ms(config.windowTicks),
          allDestinations: config.allDestinations,
          ipv6PrefixLength: config.ipv6PrefixLength,
          blockDurationMs: ms(config.blockTicks),
          unprovenDurationMs: ms(config.unprovenTicks),
          blockAllTraffic: config.blockAllTraffic,
          logConnections: config.logConnections,
        }
      : undefined;
    const bytes = encodeConfig(
      { policy, owner: config.policy, setSlot: config.setSlot, testClock: true },
      {
        options: { ...this.options, maxExtensionHeaders: config.maxExtensionHeaders },
        tables: this.tables,
        frags: true,
      },
    );
    const name = bytes.toString('hex');
    let known = this.#programs.get(name);
    if (!known) {
      const program = await loadInstance(
        bytes,
        this.tables,
        true,
        new Map([['test_clock', this.#clock]]),
        this.#conntrack,
      );
      known = { program, run: new TestRun(program) };
      this.#programs.set(name, known);
    }
    return known.run;
  }

  set tick(tick: number) {
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(BigInt(tick));
    this.#clock.update(u32(0), value);
  }

  /** Counters of some owners, summed over CPUs. */
  counters(owners: readonly number[]): Map<string, number> {
    const map = this.tables.map('counters');
    const counts = new Map<string, number>();
    for (const owner of owners) {
      const values = map.readArray(owner * REASON_COUNT, REASON_COUNT);
      const cpus = map.userValueBytes / 8;
      for (const [i, reason] of REASONS.entries()) {
        let sum = 0;
        for (let cpu = 0; cpu < cpus; cpu++) sum += Number(values.readBigUInt64LE((i * cpus + cpu) * 8));
        counts.set(`${owner} ${reason}`, sum);
      }
    }
    return counts;
  }

  blocks(): { key: ReturnType<typeof decodeBlockKey>; block: ReturnType<typeof decodeBlock> }[] {
    return [...this.tables.map('blocks').entries()].map(({ key, value }) => ({
      key: decodeBlockKey(key),
      block: decodeBlock(value),
    }));
  }

  /** Events since the last call: block events as fields, of others only the kind. */
  events(): { kind: number; until?: number; ports?: number[]; source?: Prefix; probes?: number }[] {
    const found: { kind: number; until?: number; ports?: number[]; source?: Prefix; probes?: number }[] = [];
    this.#ring.drain((data, at, bytes) => {
      const record = Buffer.from(new Uint8Array(data.buffer, data.byteOffset + at, bytes));
      const kind = record.readUInt32LE(0);
      if (kind !== 2) {
        found.push({ kind });
        return;
      }
      const count = record.readUInt32LE(blockEventStruct.portCount);
      found.push({
        kind,
        until: Number(record.readBigUInt64LE(blockEventStruct.until)),
        ports: Array.from({ length: count }, (_, i) => record.readUInt16LE(blockEventStruct.ports + 2 * i)),
        source: decodeBlockKey(record.subarray(blockEventStruct.key, blockEventStruct.key + blockKeyStruct.bytes))
          .source,
        probes: record.readUInt32LE(blockEventStruct.probes),
      });
    });
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { program } of this.#programs.values()) program.close();
    this.#concern.close();
    this.tables.close();
    this.#pins.removeAll();
  }
}
