import { spawnSync } from 'node:child_process';
import { restoreBlock } from '../../agent/datapath/blocks.ts';
import { Datapath } from '../../agent/datapath/datapath.ts';
import { encodeConfig, loadInstance } from '../../agent/datapath/instance.ts';
import { configStruct } from '../../agent/datapath/layout.ts';
import { defaultSizes, type TableSizes } from '../../agent/datapath/options.ts';
import { BpfMap, mapType, u32 } from '../../agent/libbpf/map.ts';
import type { BpfProgram } from '../../agent/libbpf/program.ts';
import type { DesiredPolicy, DesiredState } from '../../agent/resolve/desired-state.ts';
import { TestNet } from '../support/namespaces.ts';
import { OWN_ADDRESS, v4 } from './frames.ts';
import { loadBenchProgram, RotatedKeys } from './objects.ts';

export const POLICY: DesiredPolicy = {
  name: 'bench',
  enforce: true,
  distinctTargets: 15,
  windowMs: 60_000,
  allDestinations: false,
  ipv6PrefixLength: 64,
  blockDurationMs: 3_600_000,
  unprovenDurationMs: 3_600_000,
  blockAllTraffic: false,
  logConnections: false,
};

/** As the agent's own setting. */
export const CONNECTION_EVENTS_PER_SECOND = 50_000;
export const UNLIMITED_EVENTS = 10_000_000;

/** A range of IPv4 addresses, all of which one entry of a table is about. */
export interface Range {
  readonly first: number;
  readonly length: number;
}

/** What the tables hold while the datapath is measured. */
export interface Population {
  readonly neverBlock: readonly Range[];
  readonly listed: readonly Range[];
  readonly allowed: readonly Range[];
  /** Single addresses, blocked for scanning. */
  readonly blocked: readonly number[];
}

export const emptyPopulation: Population = { neverBlock: [], listed: [], allowed: [], blocked: [] };

/** A permutation of 32-bit numbers. Constants: Wellons' low-bias mixer. */
const mix32 = (input: number): number => {
  let x = input ^ (input >>> 16);
  x = Math.imul(x, 0x7feb352d);
  x ^= x >>> 15;
  x = Math.imul(x, 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
};

/** `index`-th of 2^32 different addresses in an order without a pattern; each `series` has an order of its own. */
export const shuffledAddress = (index: number, series: number): number => mix32(index ^ mix32(series));

const masked = (address: number, length: number): number =>
  length === 0 ? 0 : (address & (~0 << (32 - length))) >>> 0;

/** Addresses of 224.0.0.0/3, 0/8 and 127/8 are nobody's. */
const isUsable = (address: number): boolean =>
  address >>> 29 !== 7 && address >>> 24 !== 0 && address >>> 24 !== 127 && address >>> 17 !== 0xc612 >>> 1;

const draw = (count: number, series: number, lengthOf: (index: number) => number): Range[] => {
  const ranges: Range[] = [];
  for (let i = 0; ranges.length < count; i++) {
    const address = shuffledAddress(i, series);
    const length = lengthOf(ranges.length);
    if (isUsable(address)) ranges.push({ first: masked(address, length), length });
  }
  return ranges;
};

/** Prefix lengths as lists that are published have them: 80 % addresses, 12 % /24, 4 % /26 to /28, 4 % /16 to /23. */
const listLength = (index: number): number => {
  const share = index % 100;
  if (share < 80) return 32;
  if (share < 92) return 24;
  return share < 96 ? 26 + (index % 3) : 16 + (index % 8);
};

/** 50 never-block prefixes, 10,000 listed, 1,000 blocked sources, 100 allowed prefixes. */
export const standardPopulation: Population = {
  neverBlock: draw(50, 101, (i) => (i < 40 ? 32 : i < 48 ? 24 : 16)),
  listed: draw(10_000, 102, listLength),
  allowed: draw(100, 103, (i) => (i % 2 ? 32 : 24)),
  blocked: draw(1000, 104, () => 32).map(({ first }) => first),
};

const cidr = ({ first, length }: Range): string => `${v4(first)}/${length}`;

const desiredState = (population: Population, ifindex: number): DesiredState => ({
  interfaces: [
    {
      ifindex,
      name: 'lo',
      policy: POLICY,
      conflicted: [],
      allow: population.allowed.map((range) => ({ cidr: cidr(range) })),
      lists: [
        {
          name: 'bench',
          enforce: true,
          allTraffic: true,
          entries: population.listed.map(cidr),
          except: [],
        },
      ],
    },
  ],
  neverBlock: population.neverBlock.map((range) => ({ cidr: cidr(range), kind: 'configured' })),
  onLink: [],
  ownAddresses: [OWN_ADDRESS],
  exceptions: [],
  owners: [
    { kind: 'PortScanPolicy', name: 'bench' },
    { kind: 'IpBlocklist', name: 'bench' },
  ],
  findings: [],
});

export interface InstanceOptions {
  readonly policy?: DesiredPolicy;
  /** Each CPU. */
  readonly connectionEventsPerSecond?: number;
  /** All sources fall into one domain, so that the tracking tables stay in the cache. */
  readonly oneDomain?: boolean;
  /** Time stands still, at a tick set by `tick`. */
  readonly testClock?: boolean;
}

/** The product's own datapath with filled tables, attached to the loopback of this network namespace, and measured beside it. */
export class BenchNode implements AsyncDisposable {
  readonly pinPath: string;
  readonly datapath: Datapath;
  readonly keys = new RotatedKeys();
  readonly #net: TestNet;
  readonly #programs: BpfProgram[] = [];
  readonly #clock = BpfMap.create('test_clock', {
    type: mapType.array,
    keyBytes: 4,
    valueBytes: 8,
    maxEntries: 1,
    flags: 0,
  });

  private constructor(net: TestNet, pinPath: string, datapath: Datapath) {
    this.#net = net;
    this.pinPath = pinPath;
    this.datapath = datapath;
  }

  static async create(population: Population, sizes: TableSizes = defaultSizes): Promise<BenchNode> {
    const net = await TestNet.create();
    const pinPath = net.pinPath();
    const datapath = await Datapath.open({
      pinPath,
      xdpMode: 'generic',
      maxExtensionHeaders: 8,
      connectionEventsPerSecond: CONNECTION_EVENTS_PER_SECOND,
      blockEventsPerSecond: 5000,
      sizes,
    });
    const node = new BenchNode(net, pinPath, datapath);
    const { findings } = await datapath.apply(desiredState(population, LOOPBACK));
    if (findings.length > 0) throw new Error(findings.map(({ message }) => message).join('\n'));
    node.#block(population.blocked);
    return node;
  }

  #block(sources: readonly number[]): void {
    const now = this.datapath.clock.now();
    const owner = this.#owner;
    for (const address of sources) {
      const source = { family: 4, value: BigInt(address), length: 32 } as const;
      const until = now + BigInt(3600 * this.datapath.clock.ticksPerSecond);
      restoreBlock(
        this.datapath.tables,
        { source, owner },
        { until, since: now, last: now, dropped: 0, flags: 0, probes: 15, ifindex: LOOPBACK, ports: [] },
      );
    }
    this.datapath.tables.refillRings();
    this.datapath.rebuildConcern();
  }

  get #owner(): number {
    const owner = this.datapath.owners.idOf({ kind: 'PortScanPolicy', name: POLICY.name });
    if (owner === undefined) throw new Error('the policy has no owner id');
    return owner;
  }

  #config(options: InstanceOptions): Buffer {
    const config = encodeConfig(
      {
        policy: options.policy ?? POLICY,
        owner: this.#owner,
        setSlot: 0,
        testClock: options.testClock ?? false,
      },
      {
        options: {
          ...this.datapath.options,
          connectionEventsPerSecond: options.connectionEventsPerSecond ?? CONNECTION_EVENTS_PER_SECOND,
        },
        tables: this.datapath.tables,
        frags: true,
      },
    );
    if (options.oneDomain) config.writeUInt32LE(0, configStruct.domainMask);
    return config;
  }

  /** The guard as it is attached. */
  async guard(options: InstanceOptions = {}): Promise<BpfProgram> {
    const maps = new Map([['test_clock', this.#clock]]);
    return this.#keep(await loadInstance(this.#config(options), this.datapath.tables, true, maps));
  }

  /** A program of a benchmark object on this node's tables and keys. */
  async program(object: string, name: string, options?: InstanceOptions, extra?: ReadonlyMap<string, BpfMap>) {
    const { tables } = this.datapath;
    const maps = new Map<string, BpfMap>([
      ...tables.names.map((table) => [table, tables.map(table)] as const),
      ...this.keys.maps,
      ['test_clock', this.#clock],
      ...(extra ?? []),
    ]);
    return this.#keep(await loadBenchProgram(object, name, maps, options && this.#config(options)));
  }

  #keep(program: BpfProgram): BpfProgram {
    this.#programs.push(program);
    return program;
  }

  set tick(tick: bigint) {
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(tick);
    this.#clock.update(u32(0), value);
  }

  /** Forgets every tracked source; blocks stay. */
  forgetTracked(): void {
    const domains = this.datapath.tables.map('domains');
    const empty = Buffer.alloc(domains.shape.valueBytes);
    for (let i = 0; i < domains.shape.maxEntries; i++) domains.update(u32(i), empty);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const program of this.#programs) program.close();
    this.keys.close();
    this.#clock.close();
    const { pins } = this.datapath;
    this.datapath.close();
    await Datapath.detachPinned(pins);
    await this.#net[Symbol.asyncDispose]();
  }
}

/** Of every network namespace. */
const LOOPBACK = 1;

/** Starts this process again in a network namespace of its own, which is gone when it ends. Undefined there; its exit code here. */
export const enterOwnNamespace = (): number | undefined => {
  if (process.env.PORTCULLIS_BENCH_NAMESPACE === '1') return undefined;
  const argv = ['--net', process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const { status, error } = spawnSync('unshare', argv, {
    stdio: 'inherit',
    env: { ...process.env, PORTCULLIS_BENCH_NAMESPACE: '1' },
  });
  if (error) throw error;
  return status ?? 1;
};
