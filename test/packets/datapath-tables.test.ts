/** What user space keeps in the kernel's tables: owners, blocks, manual blocks, sets, and the tables themselves. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { blockRecords, collectBlocks, liftBlocks, readScanBlocks, restoreBlock } from '../../agent/datapath/blocks.ts';
import { KernelClock, measureTicksPerSecond, type TickClock } from '../../agent/datapath/clock.ts';
import { type BlockValue, encodeBlock, encodeBlockKey } from '../../agent/datapath/codec.ts';
import { readCounters, readLosses } from '../../agent/datapath/counters.ts';
import { encodeConfig } from '../../agent/datapath/instance.ts';
import { loadClockProgram } from '../../agent/datapath/kernel.ts';
import {
  blockFlag,
  configStruct,
  layoutStruct,
  probeStruct,
  reason,
  sourcesPerDomain,
} from '../../agent/datapath/layout.ts';
import { ManualBlocks } from '../../agent/datapath/manual.ts';
import { Owners } from '../../agent/datapath/owners.ts';
import { Pins } from '../../agent/datapath/pins.ts';
import { readTables } from '../../agent/datapath/read-view.ts';
import { encodeSet, pinnedSetFill, SetSlots, setDigest } from '../../agent/datapath/sets.ts';
import { NodeTables, slotsFor } from '../../agent/datapath/tables.ts';
import { TrackedSources } from '../../agent/datapath/tracked-sources.ts';
import { buildTrie, replaceEntries, trieEntries, trustedPrefix } from '../../agent/datapath/tries.ts';
import { BpfMap, mapFlag, mapType, u32 } from '../../agent/libbpf/map.ts';
import type { OwnerKey } from '../../agent/resolve/desired-state.ts';
import { restoreBlocks, saveableBlocks } from '../../agent/state/blocks.ts';
import { DEFAULT_CONFIG } from '../model/model.ts';
import { TestNet } from '../support/namespaces.ts';
import { NODE4, own, POLICY, START, STRANGER4, STRANGER6, syn } from './cases/case.ts';
import { KernelNode, testSizes } from './kernel-node.ts';

const SMALL = { ...testSizes, domains: 4, maxBlocks: 64, maxOwners: 8, ringBufferBytes: 65_536 };
const HOUR_MS = 3_600_000;
/** A wall clock at which tick START is 1,000,000 ms, at 100 ticks a second. */
const clockAt = (tick: number): TickClock => ({
  ticksPerSecond: 100,
  now: () => BigInt(tick),
  toWallMs: (other) => 1_000_000 + (Number(other) - START) * 10,
  toTick: (wallMs) => BigInt(Math.max(0, START + Math.ceil((wallMs - 1_000_000) / 10))),
});
const value = (more: Partial<BlockValue> = {}): BlockValue => ({
  ...{ until: BigInt(START + 100), since: BigInt(START), last: BigInt(START), dropped: 3 },
  ...{ flags: 0, probes: 15, ifindex: 7, ports: [22, 80] },
  ...more,
});
const policy = (name: string): OwnerKey => ({ kind: 'PortScanPolicy', name });
const list = (name: string): OwnerKey => ({ kind: 'IpBlocklist', name });

let net: TestNet;
let pinPath: string;
let node: KernelNode;
beforeAll(async () => {
  net = await TestNet.create();
});
afterAll(async () => {
  await net?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  pinPath = net.pinPath();
  node = await KernelNode.create(pinPath, SMALL, 15);
});
afterEach(async () => await node[Symbol.asyncDispose]());

const put = (source: string, owner: number, block: BlockValue) =>
  node.tables.map('blocks').update(encodeBlockKey({ source: trustedPrefix(source), owner }), encodeBlock(block));
const sourcesIn = (blocks: ReturnType<typeof readScanBlocks>) => blocks.map(({ key }) => key.source.value).sort();

describe('owners', () => {
  const owners = () => new Owners(node.tables.map('owners'));
  const sample = [policy('web'), list('bad'), policy('bad')];

  test('have ids that another process reads the same, 0 for nobody', () => {
    const first = owners();
    expect(first.assign(sample, 1)).toEqual({ retired: [], refused: [] });
    const ids = sample.map((key) => first.idOf(key));
    expect(new Set(ids)).toEqual(new Set([1, 2, 3]));
    const second = owners();
    expect(sample.map((key) => second.idOf(key))).toEqual(ids);
    expect(second.byId(ids[0]!)).toMatchObject({ kind: 'PortScanPolicy', name: 'web', retiredAtMs: 0 });
    expect(second.byId(0)).toBeUndefined();
  });

  test('that go are retired and get their id and counters back when they return', () => {
    const one = owners();
    one.assign(sample, 1);
    const id = one.idOf(policy('web'))!;
    expect(one.assign(sample.slice(1), 2)).toEqual({ retired: [id], refused: [] });
    expect(one.idOf(policy('web'))).toBeUndefined();
    expect(one.byId(id)).toMatchObject({ name: 'web', retiredAtMs: 2 });
    expect(one.assign(sample.slice(1), 3).retired).toEqual([]);
    one.assign(sample, HOUR_MS * 50);
    expect(one.idOf(policy('web'))).toBe(id);
  });

  test('get the id of another only an hour after it went: tracking may hold votes until then', () => {
    const one = owners();
    const names = Array.from({ length: 7 }, (_, i) => policy(`p${i}`));
    expect(one.assign(names, 1)).toEqual({ retired: [], refused: [] });
    expect(one.capacity).toBe(7);
    expect(one.assign([...names, policy('late')], 2).refused).toEqual([policy('late')]);
    const gone = one.idOf(policy('p3'))!;
    const fewer = [...names.filter(({ name }) => name !== 'p3'), policy('late')];
    expect(one.assign(fewer, 1_000)).toEqual({ retired: [gone], refused: [policy('late')] });
    expect(one.assign(fewer, 999 + HOUR_MS).refused).toEqual([policy('late')]);
    expect(one.assign(fewer, 1_000 + HOUR_MS).refused).toEqual([]);
    expect(one.idOf(policy('late'))).toBe(gone);
  });

  test('may have the longest names that Kubernetes allows', () => {
    const name = 'a'.repeat(253);
    owners().assign([policy(name)], 1);
    expect(owners().idOf(policy(name))).toBe(1);
  });
});

describe('scan blocks', () => {
  test('that have expired, and those of owners that are gone, are collected; the others stay', () => {
    put('198.51.100.7', 1, value());
    put('198.51.100.8', 1, value({ until: BigInt(START) }));
    put('198.51.100.9', 2, value());
    expect(collectBlocks(node.tables, BigInt(START), new Set([2]))).toBe(2);
    expect(sourcesIn(readScanBlocks(node.tables))).toEqual([0xc6336407n]);
  });

  test('that were made anew while the table was being read are not collected', () => {
    put('198.51.100.7', 1, value({ until: BigInt(START) }));
    put('198.51.100.8', 1, value({ until: BigInt(START) }));
    const map = node.tables.map('blocks');
    const read = [...map.entries()].map(({ key, value }) => ({ key: Buffer.from(key), value: Buffer.from(value) }));
    put('198.51.100.7', 1, value({ until: BigInt(START + 1) }));
    const late = {
      entries: () => read,
      lookup: (key: Buffer) => map.lookup(key),
      delete: (key: Buffer) => map.delete(key),
    };
    const tables = { map: () => late } as unknown as NodeTables;
    expect(collectBlocks(tables, BigInt(START))).toBe(1);
    expect(sourcesIn(readScanBlocks(node.tables))).toEqual([0xc6336407n]);
  });

  test.each([
    ['198.51.100.7', ['198.51.100.7']],
    ['2001:db8:bad::7', ['2001:db8:bad::/64', '2001:db8:bad::7']],
    ['2001:db8:bad::8', ['2001:db8:bad::/64']],
    ['2001:db8:bad::/64', ['2001:db8:bad::/64']],
    ['2001:db8::/32', []],
    ['198.51.100.8', []],
  ])('that concern %s are lifted: %s', (source, lifted) => {
    for (const one of ['198.51.100.7', '2001:db8:bad::/64', '2001:db8:bad::7', '::c633:6407']) {
      put(one, 1, value());
      put(one, 2, value());
    }
    const wanted = lifted.flatMap((one) => [trustedPrefix(one).value, trustedPrefix(one).value]).sort();
    expect(sourcesIn(liftBlocks(node.tables, trustedPrefix(source)))).toEqual(wanted);
    expect(readScanBlocks(node.tables).length).toBe(8 - wanted.length);
  });

  test('are put back unless the kernel has one of the same source, and there is room', () => {
    const key = { source: trustedPrefix(STRANGER4), owner: 1 };
    expect(restoreBlock(node.tables, key, value())).toBe(true);
    restoreBlock(node.tables, key, value({ probes: 1 }));
    expect(readScanBlocks(node.tables)).toMatchObject([{ value: { probes: 15 } }]);
    for (let i = 1; i < SMALL.maxBlocks; i++)
      expect(restoreBlock(node.tables, { source: trustedPrefix(`203.0.113.${i}`), owner: 1 }, value())).toBe(true);
    expect(restoreBlock(node.tables, { source: trustedPrefix('203.0.113.200'), owner: 1 }, value())).toBe(false);
  });

  test('are told with names and wall clock times, newest first, without those that are over', () => {
    new Owners(node.tables.map('owners')).assign([policy('web')], 1);
    put('198.51.100.7', 1, value({ flags: blockFlag.BLOCK_PROVEN }));
    put('2001:db8:bad::/64', 99, value({ since: BigInt(START + 50), flags: blockFlag.BLOCK_MONITOR, ifindex: 8 }));
    put('198.51.100.9', 1, value({ until: BigInt(START + 60) }));
    const manual = new ManualBlocks(node.tables);
    manual.add(trustedPrefix('203.0.113.0/24'), BigInt(START + 900), BigInt(START + 40), 'noise');
    manual.add(trustedPrefix('203.0.113.9'), BigInt(START + 60), BigInt(START), 'over');
    const names = (ifindex: number) => (ifindex === 7 ? 'eth0' : undefined);
    const records = blockRecords(node.tables, new Owners(node.tables.map('owners')), clockAt(START + 60), names);
    expect(records).toMatchObject([
      { source: '2001:db8:bad::/64', by: { name: '#99' }, state: 'would-block', proven: false },
      { source: '203.0.113.0/24', by: { kind: 'Manual' }, reason: 'noise', packetsDropped: 0 },
      { source: '198.51.100.7', by: { name: 'web' }, state: 'blocked', proven: true, interfaceName: 'eth0' },
    ]);
    expect(records[0]).not.toHaveProperty('interfaceName');
    expect(records[2]!.untilMs - records[2]!.sinceMs).toBe(1_000);
  });

  test('are saved and put back over a reboot: names, times and flags stay, records are left out', () => {
    const owners = new Owners(node.tables.map('owners'));
    owners.assign([policy('web'), policy('old')], 1);
    const clock = clockAt(START);
    const manual = new ManualBlocks(node.tables);
    const parts = { tables: node.tables, owners, clock, manual };
    put(STRANGER4, 1, value({ until: BigInt(START + 6_000), flags: blockFlag.BLOCK_PROVEN }));
    put('2001:db8:bad::/64', 2, value({ until: BigInt(START + 6_000) }));
    put('203.0.113.1', 1, value({ flags: blockFlag.BLOCK_MONITOR }));
    put('203.0.113.2', 1, value({ flags: blockFlag.BLOCK_SPARED }));
    put('203.0.113.3', 1, value({ until: BigInt(START) }));
    manual.add(trustedPrefix('203.0.113.128/25'), BigInt(START + 9_000), BigInt(START), 'noise');
    const saved = saveableBlocks(parts);
    expect(saved.map(({ source, policy: name }) => [source, name])).toEqual(
      expect.arrayContaining([
        [STRANGER4, 'web'],
        ['2001:db8:bad::/64', 'old'],
        ['203.0.113.128/25', undefined],
      ]),
    );
    expect(saved).toHaveLength(3);
    // The next boot: empty tables, another clock, and a policy less.
    for (const { key } of readScanBlocks(node.tables)) node.tables.map('blocks').delete(encodeBlockKey(key));
    manual.remove(trustedPrefix('203.0.113.128/25'));
    owners.assign([policy('web')], 2);
    expect(restoreBlocks(saved, { ...parts, clock: { ...clock, toTick: (ms) => clock.toTick(ms) - 500n } })).toBe(2);
    expect(readScanBlocks(node.tables)).toMatchObject([
      { key: { owner: 1 }, value: { until: BigInt(START + 5_500), since: BigInt(START - 500), flags: 1, probes: 15 } },
    ]);
    expect(manual.all()).toMatchObject([{ ownUntil: BigInt(START + 8_500), reason: 'noise' }]);
  });
});

describe('manual blocks', () => {
  const manual = () => new ManualBlocks(node.tables);
  const untilOf = (source: string) =>
    manual()
      .all()
      .find((one) => one.source.value === trustedPrefix(source).value);

  test('last as long as the longest of all that cover them', () => {
    manual().add(trustedPrefix('203.0.113.9'), 100n, 0n, 'one');
    manual().add(trustedPrefix('203.0.113.0/25'), 500n, 0n, 'wide');
    manual().add(trustedPrefix('203.0.113.64/26'), 300n, 0n, 'beside');
    expect(untilOf('203.0.113.9')).toMatchObject({ until: 500n, ownUntil: 100n });
    expect(untilOf('203.0.113.64')).toMatchObject({ until: 500n, ownUntil: 300n });
    manual().remove(trustedPrefix('203.0.113.0/25'));
    expect(untilOf('203.0.113.9')).toMatchObject({ until: 100n, ownUntil: 100n });
    expect(untilOf('203.0.113.64')).toMatchObject({ until: 300n });
  });

  test('are extended by blocking again, and keep what they counted', async () => {
    await node.apply(own(NODE4));
    manual().add(trustedPrefix(STRANGER4), BigInt(START + 10), BigInt(START), 'one');
    await node.apply({ table: 'manual', prefix: STRANGER4, value: { until: START + 10 } });
    node.tick = START;
    const run = await node.instance(DEFAULT_CONFIG);
    for (let i = 0; i < 3; i++) expect(run.run(syn(1)).action).toBe(1);
    manual().add(trustedPrefix(STRANGER4), BigInt(START + 50), BigInt(START + 5), 'two');
    expect(manual().all()).toMatchObject([{ ownUntil: BigInt(START + 50), dropped: 3, reason: 'two' }]);
  });

  test('are removed by exactly their name', () => {
    manual().add(trustedPrefix('203.0.113.0/24'), 500n, 0n, 'wide');
    expect(manual().remove(trustedPrefix('203.0.113.9'))).toBe(false);
    expect(manual().remove(trustedPrefix('203.0.113.0/25'))).toBe(false);
    expect(manual().remove(trustedPrefix('203.0.113.0/24'))).toBe(true);
    expect(manual().all()).toEqual([]);
  });

  test('that have expired are collected by their own deadline', () => {
    manual().add(trustedPrefix('203.0.113.9'), 100n, 0n, 'one');
    manual().add(trustedPrefix('203.0.113.0/24'), 500n, 0n, 'wide');
    manual().add(trustedPrefix(STRANGER6), 50n, 0n, 'six');
    expect(manual().collect(100n)).toBe(1);
    expect(manual().all()).toMatchObject([{ ownUntil: 500n, reason: 'wide' }]);
    expect(manual().collect(500n)).toBe(0);
  });

  test('for which there is no room are refused by name, and one that stands may still be extended', async () => {
    const tiny = net.pinPath();
    await using small = await KernelNode.create(tiny, { ...SMALL, maxManualBlocks: 2 });
    const blocks = new ManualBlocks(small.tables);
    blocks.add(trustedPrefix('203.0.113.1'), 100n, 0n, '');
    blocks.add(trustedPrefix('203.0.113.2'), 100n, 0n, '');
    expect(() => blocks.add(trustedPrefix('203.0.113.3'), 100n, 0n, '')).toThrow('all 2 manual blocks are taken');
    blocks.add(trustedPrefix('203.0.113.2'), 200n, 0n, '');
    blocks.add(trustedPrefix(STRANGER6), 200n, 0n, '');
    expect(blocks.all()).toHaveLength(3);
  });
});

describe('a trie', () => {
  const entries = (...prefixes: string[]) =>
    prefixes.map((one, i) => ({ prefix: trustedPrefix(one), value: Buffer.alloc(8, i + 1) }));
  const make = (maxEntries: number) =>
    BpfMap.create('trie', { type: mapType.lpmTrie, keyBytes: 8, valueBytes: 8, maxEntries, flags: mapFlag.noPrealloc });
  const texts = (map: BpfMap) =>
    trieEntries(map)
      .map(({ prefix, value: bytes }) => `${prefix.value.toString(16)}/${prefix.length}=${bytes[0]}`)
      .sort();

  test('is brought to hold exactly what is wanted', () => {
    using map = make(8);
    expect(replaceEntries(map, entries('10.0.0.0/8', '10.1.0.0/16'))).toEqual([]);
    expect(texts(map)).toEqual(['a000000/8=1', 'a010000/16=2']);
    expect(replaceEntries(map, entries('192.168.0.0/16', '10.0.0.0/8'))).toEqual([]);
    expect(texts(map)).toEqual(['a000000/8=2', 'c0a80000/16=1']);
    expect(replaceEntries(map, [])).toEqual([]);
    expect(texts(map)).toEqual([]);
  });

  test('that is too small holds the first of what is wanted and names the rest', () => {
    using map = make(2);
    replaceEntries(map, entries('10.0.0.0/8', '11.0.0.0/8'));
    const wanted = entries('12.0.0.0/8', '13.0.0.0/8', '14.0.0.0/8');
    expect(replaceEntries(map, wanted)).toEqual(wanted.slice(2));
    expect(texts(map)).toEqual(['c000000/8=1', 'd000000/8=2']);
  });

  test('is built whole out of thousands of entries', async () => {
    const many = Array.from({ length: 5_000 }, (_, i) => ({
      prefix: { family: 6 as const, value: BigInt(i) << 64n, length: 64 },
      value: Buffer.alloc(8, i),
    }));
    using map = await buildTrie('big', 6, many);
    expect(map.keys()).toHaveLength(5_000);
    expect(map.shape.maxEntries).toBe(5_000);
    using empty = await buildTrie('empty', 4, []);
    expect(empty.keys()).toEqual([]);
  });
});

describe('sets of lists and allow entries', () => {
  const bounds = { maxListEntries: 100, maxAllowEntries: 100 };
  const badList = (entries: string[], more = {}) => ({
    ...{ name: 'bad', enforce: true, allTraffic: true, entries, except: [] },
    ...more,
  });
  const encode = (lists: ReturnType<typeof badList>[], allow: { cidr: string; expiresAtMs?: number }[] = []) =>
    encodeSet({ lists, allow }, (name) => (name === 'bad' ? 11 : undefined), clockAt(START), bounds);

  test('are equal when what is asked for is, and only then', () => {
    const one = { lists: [badList(['10.0.0.0/8'])], allow: [] };
    expect(setDigest(structuredClone(one))).toBe(setDigest(one));
    expect(setDigest({ ...one, lists: [badList(['10.0.0.0/9'])] })).not.toBe(setDigest(one));
    expect(setDigest({ ...one, allow: [{ cidr: '10.0.0.0/8' }] })).not.toBe(setDigest(one));
  });

  test('leave out lists that have no owner id', () => {
    expect(encode([badList(['10.0.0.0/8'], { name: 'refused' })]).tables.lists4).toEqual([]);
  });

  test('end allow entries at the tick of their expiry, and never those without one', () => {
    const { tables } = encode([], [{ cidr: '10.0.0.0/8', expiresAtMs: 1_000_500 }, { cidr: '2001:db8::/32' }]);
    expect(tables.allows4.map(({ value: bytes }) => bytes.readBigUInt64LE())).toEqual([BigInt(START + 50)]);
    expect(tables.allows6.map(({ value: bytes }) => bytes.readBigUInt64LE())).toEqual([(1n << 63n) - 1n]);
  });

  test('beyond their bound are counted as refused', () => {
    const many = Array.from({ length: 150 }, (_, i) => `10.${i}.0.0/17`);
    expect(encode([badList(many)]).refused).toEqual({ lists: 50, allow: 0 });
    expect(
      encode(
        [],
        many.map((cidr, i) => ({ cidr, expiresAtMs: 2_000_000 + i })),
      ).refused,
    ).toEqual({ lists: 0, allow: 50 });
  });

  test('take effect in their slot alone, are swapped whole, and are gone when nobody uses the slot', async () => {
    const pins = new Pins(pinPath);
    const slots = new SetSlots(node.tables, pins);
    node.tick = START;
    await node.apply(own(NODE4));
    const run = await Promise.all([0, 1].map((setSlot) => node.instance({ ...DEFAULT_CONFIG, setSlot })));
    const drops = () => run.map((one) => one.run(syn(1)).action === 1);
    const announced: bigint[] = [];
    const contents = encode([badList(['198.51.100.0/24', '2001:db8:bad::/48'])]);
    expect(slots.free()).toBe(0);
    // The prefilter's bit comes from an entry of the other slot, as it would from announce().
    await node.apply({ table: 'lists', slot: 5, prefix: '198.51.100.0/24', value: { owner: 11, enforce: true } });
    await slots.put(1, contents, ({ value: first }) => announced.push(first));
    expect(announced).toHaveLength(2);
    expect(drops()).toEqual([false, true]);
    expect(slots.slotOf(contents.digest)).toBe(1);
    expect(slots.fill()).toEqual({ lists: 1, allow: 0 });
    expect(pinnedSetFill(pins)).toEqual({ lists: 1, allow: 0 });
    expect(pins.names('sets').sort()).toEqual(['1-lists4', '1-lists6']);
    // A later agent does not know what the slot holds, and does not take it for free.
    expect(new SetSlots(node.tables, pins).free()).toBe(0);
    await slots.put(1, encode([badList(['2001:db8:bad::/48'])]), () => {});
    expect(drops()).toEqual([false, false]);
    expect(pins.names('sets')).toEqual(['1-lists6']);
    slots.invalidate();
    expect(slots.slotOf(contents.digest)).toBeUndefined();
    await slots.keepOnly(new Set([0]), false);
    expect(pins.names('sets')).toEqual([]);
    expect(node.tables.map('lists6').lookup(u32(1))).toBeUndefined();
  });
});

describe('the tables of a node', () => {
  const need = (slots = 15) => ({ slots, frags: true, ticksPerSecond: async () => 100 });
  const pins = () => new Pins(pinPath);

  test('are adopted with all they hold', async () => {
    put(STRANGER4, 1, value());
    const { secret } = node.tables.layout;
    const again = await NodeTables.open(pins(), SMALL, need());
    expect(node.tables.fresh).toBe(true);
    expect(again.fresh).toBe(false);
    expect(again.layout).toEqual({ secret, slots: 15, ticksPerSecond: 100 });
    expect(readScanBlocks(again)).toHaveLength(1);
    again.close();
    const shown = NodeTables.openExisting(pins())!;
    expect(shown.names.sort()).toEqual(node.tables.names.sort());
    shown.close();
  });

  test('of another layout are refused, neither read nor changed', () => {
    const map = node.tables.map('layout');
    const layout = map.lookup(u32(0))!;
    const foreign = Buffer.from(layout);
    foreign.writeUInt32LE(2, layoutStruct.version);
    map.update(u32(0), foreign);
    expect(() => NodeTables.openExisting(pins())).toThrow('holds tables of layout 2, this version knows layout 1');
    foreign.writeUInt32LE(0x1234, layoutStruct.magic);
    map.update(u32(0), foreign);
    expect(() => NodeTables.openExisting(pins())).toThrow("maps that are not Portcullis's");
    map.update(u32(0), layout);
    NodeTables.openExisting(pins())!.close();
  });

  test('whose first start was cut off are begun anew; links without a layout are somebody else’s', async () => {
    const rest = new Pins(net.pinPath());
    rest.create();
    node.tables.map('own').pin(rest.at('maps', 'own'));
    expect(NodeTables.openExisting(rest)).toBeUndefined();
    expect(rest.names('maps')).toEqual([]);
    node.tables.map('own').pin(rest.at('links', '1-native'));
    expect(() => NodeTables.openExisting(rest)).toThrow('holds links but no layout');
    rest.removeAll();
  });

  test('that change their size keep blocks, manual blocks, owners and counters; tracking starts anew when its shape does', async () => {
    put(STRANGER4, 1, value());
    put('203.0.113.1', 1, value({ flags: blockFlag.BLOCK_PROVEN }));
    new ManualBlocks(node.tables).add(trustedPrefix('203.0.113.9'), 9n, 1n, 'noise');
    new Owners(node.tables.map('owners')).assign([policy('web')], 1);
    node.tick = START;
    await node.apply(own(NODE4));
    (await node.instance(DEFAULT_CONFIG)).run(syn(1, '203.0.113.77'));
    const counted = readCounters(node.tables, new Owners(node.tables.map('owners'))).filter(
      ({ packets }) => packets > 0,
    );
    expect(counted).toEqual([
      { ownerKind: 'PortScanPolicy', ownerName: 'web', verdict: 'pass', reason: 'new-connection', packets: 1 },
    ]);
    const tables = NodeTables.openExisting(pins())!;
    const grown = { ...SMALL, maxBlocks: 128, maxManualBlocks: 100, maxOwners: 16, domains: 8, maxOwnAddresses: 10 };
    const renewed = await tables.resize(grown, 31, true);
    expect(renewed).toEqual(
      expect.arrayContaining(['blocks', 'rings', 'ring_heads', 'domains', 'probes', 'owners', 'counters', 'own']),
    );
    // What programs of the old tables block until they are replaced is not lost.
    put('203.0.113.2', 1, value());
    expect(tables.isReplaced('blocks')).toBe(true);
    tables.commit();
    expect(tables.isReplaced('blocks')).toBe(false);
    expect(readScanBlocks(tables)).toHaveLength(3);
    expect(new ManualBlocks(tables).all()).toMatchObject([{ reason: 'noise' }]);
    const owners = new Owners(tables.map('owners'));
    expect(owners.idOf(policy('web'))).toBe(1);
    expect(readCounters(tables, owners).filter(({ packets }) => packets > 0)).toEqual(counted);
    expect(tables.layout.slots).toBe(31);
    expect(tables.map('probes').shape.valueBytes).toBe(sourcesPerDomain * 31 * probeStruct.bytes);
    tables.close();
    const adopted = NodeTables.openExisting(pins())!;
    expect(adopted.map('blocks').shape.maxEntries).toBe(128);
    expect(
      pins()
        .names('maps')
        .filter((name) => name.endsWith('-new')),
    ).toEqual([]);
    adopted.close();
  });

  test('that stay as they are are left alone, and a threshold that needs fewer slots changes nothing', async () => {
    expect(await node.tables.resize(SMALL, 15, true)).toEqual([]);
    expect(await node.tables.resize(SMALL, 1, true)).toEqual([]);
    expect([2, 15, 16, 17, 32, 33, 64].map(slotsFor)).toEqual([15, 15, 15, 31, 31, 63, 63]);
  });

  test('that are smaller than what they held keep what fits', async () => {
    for (let i = 0; i < 64; i++) put(`203.0.113.${i}`, 1, value({ since: BigInt(START + i) }));
    await node.tables.resize({ ...SMALL, maxBlocks: 16 }, 15, true);
    expect(readScanBlocks(node.tables)).toHaveLength(16);
    node.tables.commit();
  });

  test('tell how full they are', async () => {
    put(STRANGER4, 1, value());
    new Owners(node.tables.map('owners')).assign([policy('web'), list('bad')], 1);
    new Owners(node.tables.map('owners')).assign([policy('web')], 2);
    new ManualBlocks(node.tables).add(trustedPrefix(STRANGER6), 9n, 1n, '');
    const fills = readTables({
      ...{
        tables: node.tables,
        owners: new Owners(node.tables.map('owners')),
        links: [],
        interfaceName: () => undefined,
      },
      ...{ setFill: { lists: 5, allow: 6 }, tracked: { firsts: 7, sources: 8 }, sizes: SMALL },
    });
    const of = (table: string) => fills.find((one) => one.table === table)!;
    expect(of('blocks')).toMatchObject({ entries: 1, capacity: SMALL.maxBlocks });
    expect(of('owners')).toMatchObject({ entries: 1, capacity: SMALL.maxOwners - 1 });
    expect(of('manual-blocks')).toMatchObject({ entries: 1, capacity: SMALL.maxManualBlocks });
    expect(of('list-entries')).toMatchObject({ entries: 5, capacity: SMALL.maxListEntries });
    expect(of('first-targets').entries).toBe(7);
    expect(of('sources').entries).toBe(8);
  });
});

test('tracked sources are counted by stage, and no longer when their targets are old', async () => {
  node.tick = START;
  await node.apply(own(NODE4));
  const run = await node.instance({ ...DEFAULT_CONFIG, threshold: 15, windowTicks: 100 });
  for (const source of ['198.51.100.1', '198.51.100.2', '198.51.100.3']) run.run(syn(1, source));
  run.run(syn(2, '198.51.100.3'));
  const tracked = new TrackedSources(node.tables);
  const count = (tick: number) => {
    while (!tracked.step(BigInt(tick), 100n));
    return tracked.counts;
  };
  expect(tracked.counts).toEqual({ firsts: 0, sources: 0 });
  expect(count(START)).toEqual({ firsts: 2, sources: 1 });
  expect(count(START + 99)).toEqual({ firsts: 2, sources: 1 });
  expect(count(START + 100)).toEqual({ firsts: 0, sources: 0 });
});

test('losses are read by name and summed over CPUs', () => {
  const map = node.tables.map('losses');
  const cpus = map.userValueBytes / 8;
  const each = Buffer.alloc(map.userValueBytes);
  for (let cpu = 0; cpu < cpus; cpu++) each.writeBigUInt64LE(BigInt(cpu + 1), cpu * 8);
  map.update(u32(2), each);
  expect(readLosses(node.tables)).toMatchObject({ 'ring-full': (cpus * (cpus + 1)) / 2, 'block-evicted': 0 });
});

test('counters that show that nothing happened stand beside those that count, for owners in use', () => {
  new Owners(node.tables.map('owners')).assign([policy('web'), list('bad')], 1);
  const map = node.tables.map('counters');
  const one = Buffer.alloc(map.userValueBytes);
  one.writeBigUInt64LE(5n);
  map.update(u32(2 * reason.REASON_COUNT + reason.WOULD_DROP_LIST), one);
  map.update(u32(reason.PASS_MALFORMED), one);
  const samples = readCounters(node.tables, new Owners(node.tables.map('owners')));
  const shown = samples.map(
    ({ ownerName, verdict, reason: name, packets }) => `${ownerName} ${verdict} ${name} ${packets}`,
  );
  expect(shown).toEqual(
    expect.arrayContaining([
      ' pass malformed 5',
      ' drop manual 0',
      'bad would-drop list 5',
      'bad drop list 0',
      'web drop scan-detected 0',
      'web pass new-connection 0',
    ]),
  );
  expect(shown.some((line) => line.startsWith('web') && line.includes('malformed'))).toBe(false);
});

describe('the constants of an instance', () => {
  const encode = (more = {}) =>
    encodeConfig(
      {
        policy: {
          ...{ name: 'web', enforce: false, distinctTargets: 20, windowMs: 60_000, allDestinations: true },
          ...{ ipv6PrefixLength: 72, blockDurationMs: 600_000, unprovenDurationMs: 15, blockAllTraffic: false },
          ...{ logConnections: false, ...more },
        },
        ...{ owner: POLICY, setSlot: 3, testClock: false },
      },
      { options: node.options, tables: node.tables, frags: false },
    );

  test('hold times in ticks, at least one, and the IPv6 length as a mask', () => {
    const bytes = encode();
    const u64 = (at: number) => bytes.readBigUInt64LE(at);
    expect(u64(configStruct.windowTicks)).toBe(6_000n);
    expect(u64(configStruct.blockTicks)).toBe(60_000n);
    expect(u64(configStruct.unprovenTicks)).toBe(2n);
    expect(encode({ unprovenDurationMs: 1 }).readBigUInt64LE(configStruct.unprovenTicks)).toBe(1n);
    expect([u64(configStruct.v6Mask), u64(configStruct.v6Mask + 8)]).toEqual([(1n << 64n) - 1n, 0xffn << 56n]);
    expect(bytes.readUInt32LE(configStruct.threshold)).toBe(20);
    expect(bytes.readUInt32LE(configStruct.setSlot)).toBe(3);
    expect(bytes.readUInt32LE(configStruct.domainMask)).toBe(SMALL.domains - 1);
  });

  test('differ in one bit for each switch, and no setting turns the test clock on', () => {
    const flags = (more = {}) => encode(more).readUInt32LE(configStruct.flags);
    expect(flags()).toBe(2 | 4);
    expect(flags({ enforce: true })).toBe(1 | 2 | 4);
    expect(flags({ allDestinations: false })).toBe(2);
    expect(flags({ blockAllTraffic: true })).toBe(2 | 4 | 8);
    expect(flags({ logConnections: true })).toBe(2 | 4 | 16);
  });
});

describe('the clock', () => {
  test('ticks as often as it was measured to', async () => {
    using program = await loadClockProgram();
    const ticksPerSecond = await measureTicksPerSecond(program);
    expect([100, 250, 300, 1000]).toContain(ticksPerSecond);
    const clock = new KernelClock(program, ticksPerSecond);
    const before = clock.now();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const seconds = Number(clock.now() - before) / ticksPerSecond;
    expect(seconds).toBeGreaterThan(0.28);
    expect(seconds).toBeLessThan(3);
    // There and back, to a tick.
    const in10s = Date.now() + 10_000;
    expect(Math.abs(clock.toWallMs(clock.toTick(in10s)) - in10s)).toBeLessThan(100);
    expect(clock.toTick(0)).toBe(0n);
  });
});

describe('the pin path', () => {
  test('must be on a bpffs, and is named when it is not', () => {
    const folder = net.folder();
    expect(() => new Pins(`${folder}/a/b`).create()).toThrow(`${folder}/a/b is not on a bpffs: ${folder} is another`);
  });

  test('belongs to one agent at a time', () => {
    const lock = new Pins(pinPath).lock();
    expect(() => new Pins(pinPath).lock()).toThrow(`another agent works on ${pinPath}`);
    lock.release();
    new Pins(pinPath).lock().release();
  });

  test('lets changes of the tables wait for each other, and go on after one that failed', async () => {
    const order: number[] = [];
    const change = (n: number) =>
      new Pins(pinPath).withTables(async () => {
        order.push(n);
        await new Promise((resolve) => setTimeout(resolve, 20));
        order.push(n);
        if (n === 1) throw new Error('failed');
      });
    const results = await Promise.allSettled([change(1), change(2), change(3)]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled']);
    for (let i = 0; i < 6; i += 2) expect(order[i]).toBe(order[i + 1]);
  });
});
