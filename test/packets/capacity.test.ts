/** Bounded memory and exact counting at the sizes that the agent has by default, under floods of forged sources. */
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { collectBlocks } from '../../agent/datapath/blocks.ts';
import { type BlockValue, decodeBlock, encodeBlock, encodeBlockKey } from '../../agent/datapath/codec.ts';
import { readLosses } from '../../agent/datapath/counters.ts';
import { blockFlag, firstsPerDomain, sourcesPerDomain } from '../../agent/datapath/layout.ts';
import { defaultSizes, type TableSizes } from '../../agent/datapath/options.ts';
import { DEFAULT_CONFIG, type ModelConfig } from '../model/model.ts';
import { TestNet } from '../support/namespaces.ts';
import { NODE4, own, POLICY, START } from './cases/case.ts';
import { KernelNode } from './kernel-node.ts';
import { nthSource, SynSender } from './syn-sender.ts';

/** What `--max-first-targets` promises by default; there are more than twice as many places, since sources spread unevenly. */
const GUARANTEED = 786_432;
/** Scanners that must all be counted exactly; their sources lie beyond every flood's. */
const SCANNERS = 200;
const FIRST_SCANNER = 1_000_000_000;
const FOREVER: Partial<ModelConfig> = { windowTicks: 1_000_000, blockTicks: 2_000_000, unprovenTicks: 1_000_000 };

let net: TestNet;
let node: KernelNode;

const lossesSince = (before: Readonly<Record<string, number>>) => {
  const now = readLosses(node.tables);
  return Object.fromEntries(Object.entries(now).map(([name, count]) => [name, count - (before[name] ?? 0)]));
};
const sender = async (config: Partial<ModelConfig>) =>
  new SynSender(await node.instance({ ...DEFAULT_CONFIG, ...FOREVER, ...config }), NODE4);
const keyOf = (source: number, owner = POLICY) =>
  encodeBlockKey({ source: { family: 4, value: BigInt(source), length: 32 }, owner });
const isBlocked = (source: number) => node.tables.map('blocks').lookup(keyOf(source)) !== undefined;
const scanners = Array.from({ length: SCANNERS }, (_, i) => nthSource(FIRST_SCANNER + i));
const blockCount = () => [...node.tables.map('blocks').entries()].length;

/** The source's address is held to be proven, as when a segment of its acknowledged what this host sent. */
function prove(source: number, more: Partial<BlockValue> = {}): void {
  const map = node.tables.map('blocks');
  const block = decodeBlock(map.lookup(keyOf(source))!);
  map.update(keyOf(source), encodeBlock({ ...block, ...more, flags: block.flags | blockFlag.BLOCK_PROVEN }));
}

async function start(sizes: TableSizes): Promise<void> {
  net ??= await TestNet.create();
  node = await KernelNode.create(net.pinPath(), sizes, 15);
  await node.apply(own(NODE4));
  node.tick = START;
}
afterAll(async () => {
  await net?.[Symbol.asyncDispose]();
});

describe('at default sizes', () => {
  beforeAll(async () => await start(defaultSizes));
  afterAll(async () => await node[Symbol.asyncDispose]());

  test('memory of all tables is what it is from the start', () => {
    const bytes = node.tables.names.reduce((sum, name) => {
      const info = readFileSync(`/proc/self/fdinfo/${node.tables.map(name).fd}`, 'utf8');
      return sum + Number(/^memlock:\s*(\d+)/m.exec(info)?.[1] ?? 0);
    }, 0);
    console.log(`figure: ${Math.round(bytes / 2 ** 20)} MiB of kernel memory in all tables at default sizes`);
    expect(bytes).toBeGreaterThan(50 * 2 ** 20);
    expect(bytes).toBeLessThan(256 * 2 ** 20);
  });

  test(`N is exact though ${GUARANTEED} forged sources knock between two probes`, async () => {
    expect(defaultSizes.domains * firstsPerDomain).toBeGreaterThanOrEqual(2 * GUARANTEED);
    const syn = await sender({ threshold: 15 });
    const before = readLosses(node.tables);
    const passed = scanners.map(() => 0);
    const startedMs = performance.now();
    for (let probe = 1; probe <= 17; probe++) {
      for (const [i, source] of scanners.entries()) if (syn.send(source, probe)) passed[i]!++;
      // From the second probe on a scanner stands in the second stage, where one SYN leads nobody.
      if (probe <= 2) expect(syn.flood(probe * GUARANTEED, GUARANTEED)).toBe(GUARANTEED);
    }
    const us = ((performance.now() - startedMs) * 1000) / (2 * GUARANTEED);
    console.log(
      `figure: ${SCANNERS} scanners exact between 2 x ${GUARANTEED} forged sources, ${us.toFixed(1)} µs a SYN`,
    );
    expect(passed).toEqual(scanners.map(() => 14));
    expect(scanners.every(isBlocked)).toBe(true);
    expect(blockCount()).toBe(SCANNERS);
    // The second flood needs the places of the first: nothing is lost silently.
    expect(lossesSince(before)['first-target-evicted']).toBeGreaterThan(0);
    expect(lossesSince(before)['source-evicted']).toBe(0);
  });

  test('sources of two targets each make room before a scanner of more', async () => {
    const syn = await sender({ threshold: 15, policy: 2 });
    const before = readLosses(node.tables);
    for (const port of [1, 2, 3, 4]) for (const source of scanners) expect(syn.send(source, port)).toBe(true);
    // Three times what the second stage holds.
    const forged = 3 * sourcesPerDomain * defaultSizes.domains;
    for (let i = 0; i < forged; i++) {
      syn.send(nthSource(i), 1);
      syn.send(nthSource(i), 2);
    }
    const passed = scanners.map((source) => Array.from({ length: 14 }, (_, i) => syn.send(source, 5 + i)));
    expect(passed).toEqual(scanners.map(() => Array.from({ length: 14 }, (_, i) => i < 10)));
    expect(lossesSince(before)['source-evicted']).toBeGreaterThan(defaultSizes.domains);
  });

  test('100,000 forged sources of N SYNs fill the block table and no more; proven and manual blocks survive', async () => {
    const syn = await sender({ threshold: 5, policy: 3 });
    const before = readLosses(node.tables);
    const blocksBefore = blockCount();
    const real = scanners[0]!;
    const manual = scanners[1]!;
    const dotted = [24, 16, 8, 0].map((shift) => (manual >>> shift) & 255).join('.');
    await node.apply({ table: 'manual', prefix: dotted, value: { until: START + 1_000_000 } });
    for (const port of [1, 2, 3, 4, 5]) syn.send(real, port);
    const map = node.tables.map('blocks');
    const key = keyOf(real, 3);
    map.update(key, encodeBlock({ ...decodeBlock(map.lookup(key)!), flags: blockFlag.BLOCK_PROVEN }));
    const forged = 100_000;
    let passed = 0;
    for (let i = 0; i < forged; i++) for (let port = 1; port <= 5; port++) if (syn.send(nthSource(i), port)) passed++;
    expect(passed).toBe(4 * forged);
    expect(blockCount()).toBe(defaultSizes.maxBlocks);
    const { 'block-evicted': evicted, 'block-table-full': full } = lossesSince(before);
    expect({ evicted, full }).toEqual({ evicted: blocksBefore + 1 + forged - defaultSizes.maxBlocks, full: 0 });
    // The newest stand, the oldest but the proven one are gone.
    expect(map.lookup(keyOf(nthSource(forged - 1), 3))).toBeDefined();
    expect(map.lookup(keyOf(nthSource(0), 3))).toBeUndefined();
    expect(map.lookup(key)).toBeDefined();
    expect(syn.send(real, 99)).toBe(false);
    expect(syn.send(manual, 99)).toBe(false);
    // A scanner that comes now is cut off like any other.
    const late = scanners.slice(2).map((source) => Array.from({ length: 7 }, (_, i) => syn.send(source, 1 + i)));
    expect(late).toEqual(late.map(() => [true, true, true, true, false, false, false]));
    expect(blockCount()).toBe(defaultSizes.maxBlocks);
  });
});

describe('a full block table', () => {
  const MOST = 32;
  beforeAll(async () => await start({ ...defaultSizes, domains: 64, maxBlocks: MOST, ringBufferBytes: 1 << 20 }));
  afterAll(async () => await node[Symbol.asyncDispose]());
  afterEach(async () => {
    await node.reset();
    await node.apply(own(NODE4));
    node.tables.refillRings();
    node.tick = START;
  });

  /** With N = 1 each source's first SYN blocks it. */
  const blocking = async () => await sender({ threshold: 1 });
  const sources = (count: number, first = 0) => Array.from({ length: count }, (_, i) => nthSource(first + i));

  test('gives up its oldest unproven block first', async () => {
    const syn = await blocking();
    const [old, more] = [sources(MOST), sources(3, 1_000)];
    for (const [i, source] of old.entries()) {
      node.tick = START + i;
      expect(syn.send(source, 1)).toBe(false);
    }
    prove(old[1]!);
    for (const source of more) expect(syn.send(source, 1)).toBe(false);
    expect(old.map(isBlocked)).toEqual(old.map((_, i) => i === 1 || i > 3));
    expect(more.every(isBlocked)).toBe(true);
  });

  test('gives up the oldest proven block when all are proven', async () => {
    const syn = await blocking();
    const old = sources(MOST);
    for (const [i, source] of old.entries()) {
      node.tick = START + i;
      syn.send(source, 1);
    }
    for (const source of old) prove(source);
    node.tables.refillRings();
    const before = readLosses(node.tables);
    const newcomer = nthSource(1_000);
    expect(syn.send(newcomer, 1)).toBe(false);
    expect(isBlocked(newcomer)).toBe(true);
    expect(old.map(isBlocked)).toEqual(old.map((_, i) => i !== 0));
    expect(lossesSince(before)).toMatchObject({ 'block-evicted': 1, 'block-table-full': 0 });
  });

  test('takes the place of an expired block without calling it a loss', async () => {
    const syn = await sender({ threshold: 1, unprovenTicks: 10 });
    const old = sources(MOST);
    for (const source of old) syn.send(source, 1);
    const before = readLosses(node.tables);
    node.tick = START + 10;
    syn.send(nthSource(1_000), 1);
    expect(blockCount()).toBe(MOST);
    expect(isBlocked(nthSource(1_000))).toBe(true);
    expect(lossesSince(before)['block-evicted']).toBe(0);
  });

  test('of which the order is lost drops the Nth probe all the same and counts what it could not keep', async () => {
    const syn = await blocking();
    // As when blocks were put back and the order of eviction was not.
    const map = node.tables.map('blocks');
    const value = { until: 9_999_999n, since: 1n, last: 1n, dropped: 1, flags: 0, probes: 1, ifindex: 1, ports: [1] };
    for (const source of sources(MOST)) map.update(keyOf(source), encodeBlock(value));
    const before = readLosses(node.tables);
    expect(syn.send(nthSource(1_000), 1)).toBe(false);
    expect(isBlocked(nthSource(1_000))).toBe(false);
    expect(lossesSince(before)).toMatchObject({ 'block-evicted': 0, 'block-table-full': 1 });
  });

  test('still makes room after ten thousand blocks have come and gone beside an old proven one', async () => {
    const syn = await sender({ threshold: 1, unprovenTicks: 10 });
    const before = readLosses(node.tables);
    const proven = nthSource(1_000_000);
    syn.send(proven, 1);
    prove(proven, { until: BigInt(START + 100_000) });
    for (let round = 0; round < 400; round++) {
      node.tick = START + round * 10;
      for (const source of sources(MOST - 7, round * 100)) syn.send(source, 1);
      // As the agent does every few seconds.
      collectBlocks(node.tables, BigInt(START + round * 10 + 10));
    }
    expect(blockCount()).toBe(1);
    node.tick = START + 4_000;
    const [old, newcomers] = [sources(MOST - 1, 100_000), sources(10, 200_000)];
    for (const source of [...old, ...newcomers]) syn.send(source, 1);
    expect(newcomers.map(isBlocked)).toEqual(newcomers.map(() => true));
    expect(old.map(isBlocked)).toEqual(old.map((_, i) => i >= 10));
    expect(isBlocked(proven)).toBe(true);
    expect(lossesSince(before)).toMatchObject({ 'block-evicted': 10, 'block-table-full': 0 });
  });
});
