/** Exceptions: blocks inside of a prefix go, and what was learned of their sources. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { encodeBlock, encodeBlockKey, formatSource } from '../../agent/datapath/codec.ts';
import {
  blockFlag,
  domainStruct,
  firstStruct,
  firstsPerDomain,
  sourceStruct,
  sourcesPerDomain,
} from '../../agent/datapath/layout.ts';
import { type LiftRequest, liftRequested } from '../../agent/datapath/lift.ts';
import { Owners } from '../../agent/datapath/owners.ts';
import { trustedPrefix } from '../../agent/datapath/tries.ts';
import type { TestRun } from '../../agent/libbpf/test-run.ts';
import { DEFAULT_CONFIG, type ModelConfig } from '../model/model.ts';
import { TestNet } from '../support/namespaces.ts';
import {
  allowed,
  listed,
  manuallyBlocked,
  neverBlock,
  OTHER_POLICY,
  POLICY,
  STANDARD_TABLES,
  START,
  STRANGER4,
  STRANGER6,
  syn,
} from './cases/case.ts';
import { KernelNode, testSizes, XDP_DROP } from './kernel-node.ts';

const NEIGHBOUR4 = '198.51.100.8';
const N = 5;

let net: TestNet;
let node: KernelNode;
let owners: Owners;
beforeAll(async () => {
  net = await TestNet.create();
});
afterAll(async () => {
  await net?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  node = await KernelNode.create(net.pinPath(), testSizes, 15);
  for (const change of STANDARD_TABLES) await node.apply(change);
  node.tick = START;
  owners = new Owners(node.tables.map('owners'));
  owners.assign(
    ['web', 'mail'].map((name) => ({ kind: 'PortScanPolicy', name })),
    1,
  );
});
afterEach(async () => await node[Symbol.asyncDispose]());

const instance = (more: Partial<ModelConfig> = {}) => node.instance({ ...DEFAULT_CONFIG, threshold: N, ...more });
const lift = async (...requests: readonly LiftRequest[]) => await liftRequested(node.tables, owners, requests);
const isDropped = (run: TestRun, port: number, source: string) => run.run(syn(port, source)).action === XDP_DROP;
/** How many new ports pass before one is dropped. */
function passes(run: TestRun, source: string, first: number): number {
  for (let count = 0; count < 20; count++) if (isDropped(run, first + count, source)) return count;
  return Number.POSITIVE_INFINITY;
}
const blocked = () => node.blocks().map(({ key }) => `${key.owner} ${formatSource(key.source)}`);

describe('an exception', () => {
  test('lifts the block of its source, who starts again at no target; others stay blocked', async () => {
    const run = await instance();
    for (const source of [STRANGER4, NEIGHBOUR4, STRANGER6]) expect(passes(run, source, 1), source).toBe(N - 1);
    const { blocks } = await lift({ cidr: `${STRANGER4}/32` });
    expect(blocks.map(({ key }) => formatSource(key.source))).toEqual([STRANGER4]);
    expect(blocked()).toHaveLength(2);
    expect(isDropped(run, 1, NEIGHBOUR4)).toBe(true);
    expect(isDropped(run, 1, STRANGER6)).toBe(true);
    node.tick = START + 2;
    expect(passes(run, STRANGER4, 100)).toBe(N - 1);
  });

  test.each([STRANGER4, STRANGER6])('forgets what was counted of %s before', async (source) => {
    for (const before of [1, 2, N - 1]) {
      const run = await instance();
      for (let port = 1; port <= before; port++) expect(isDropped(run, port, source)).toBe(false);
      const cidr = source === STRANGER4 ? `${source}/32` : '2001:db8:bad::/64';
      expect(await lift({ cidr }), String(before)).toEqual({ blocks: [], forgotten: 1 });
      expect(await lift({ cidr }), String(before)).toEqual({ blocks: [], forgotten: 0 });
      expect(passes(run, source, 100), String(before)).toBe(N - 1);
      await lift({ cidr });
    }
  });

  test('leaves the count of everybody else as it is', async () => {
    const run = await instance();
    const crowd = Array.from({ length: 300 }, (_, i) => `203.0.${i >> 8}.${i & 255}`);
    for (const source of [...crowd, NEIGHBOUR4])
      for (let port = 1; port < N; port++) expect(isDropped(run, port, source)).toBe(false);
    expect((await lift({ cidr: '203.0.0.0/24' })).forgotten).toBeGreaterThan(80);
    expect(isDropped(run, 100, NEIGHBOUR4)).toBe(true);
    expect(isDropped(run, 100, '203.0.0.9')).toBe(false);
  });

  test('of a prefix is one for all sources in it, over both families', async () => {
    const run = await instance();
    const sources = [STRANGER4, NEIGHBOUR4, '198.51.101.7', STRANGER6, '2001:db8:bad:1::7', '2001:db8:bae::7'];
    for (const source of sources) passes(run, source, 1);
    const { blocks } = await lift({ cidr: '198.51.100.0/24' }, { cidr: '2001:db8:bad::/48' });
    expect(blocks).toHaveLength(4);
    expect(blocked().sort()).toEqual(['1 198.51.101.7', '1 2001:db8:bae::/64']);
    await lift({ cidr: '0.0.0.0/0' }, { cidr: '::/0' });
    expect(blocked()).toEqual([]);
  });

  test('of one IPv6 address does not lift the block of the prefix around it, which others have earned too', async () => {
    const run = await instance();
    passes(run, STRANGER6, 1);
    expect((await lift({ cidr: `${STRANGER6}/128` })).blocks).toEqual([]);
    expect(blocked()).toEqual(['1 2001:db8:bad::/64']);
  });

  test('of one policy lifts what that policy blocked', async () => {
    const web = await instance({ policy: POLICY });
    const mail = await instance({ policy: OTHER_POLICY });
    for (const run of [web, mail]) expect(passes(run, STRANGER4, 1)).toBe(N - 1);
    for (const run of [web, mail]) expect(isDropped(run, 1, NEIGHBOUR4)).toBe(false);
    const cidr = '198.51.100.0/24';
    expect(await lift({ cidr, policies: ['gone'] })).toEqual({ blocks: [], forgotten: 0 });
    // The source that is blocked has nothing counted: it is settled, for two ticks.
    expect((await lift({ cidr, policies: ['mail', 'gone'] })).blocks.map(({ key }) => key.owner)).toEqual([
      OTHER_POLICY,
    ]);
    expect(blocked()).toEqual([`${POLICY} ${STRANGER4}`]);
    node.tick = START + 2;
    expect(passes(mail, NEIGHBOUR4, 100)).toBe(N - 1);
    expect(passes(web, NEIGHBOUR4, 100)).toBe(N - 2);
    // Two exceptions of one prefix hold for the policies of both.
    await lift({ cidr, policies: ['web'] }, { cidr, policies: ['mail'] });
    expect(blocked()).toEqual([]);
  });

  test('forgets what a blocked source went on trying: its next block is not renewed for that', async () => {
    const { unprovenTicks } = DEFAULT_CONFIG;
    const run = await instance();
    passes(run, STRANGER4, 1);
    // One look a tick.
    for (let i = 1; i < N; i++) {
      node.tick = START + 10 * i;
      run.run(syn(200 + i));
    }
    await lift({ cidr: `${STRANGER4}/32` });
    node.tick = START + 100;
    expect(passes(run, STRANGER4, 1)).toBe(N - 1);
    node.tick = START + 110;
    run.run(syn(300));
    expect(node.blocks().map(({ block }) => Number(block.until))).toEqual([START + 100 + unprovenTicks]);
  });

  test('lifts records of Monitor, and leaves reports of never-block sources, lists and blocks by hand', async () => {
    const watching = await instance({ enforce: false });
    const run = await instance();
    passes(watching, NEIGHBOUR4, 1);
    await node.apply(neverBlock(STRANGER4));
    passes(run, STRANGER4, 1);
    await node.apply(manuallyBlocked('198.51.100.20', START + 100));
    await node.apply(listed('198.51.100.21'));
    expect(blocked()).toHaveLength(2);
    const { blocks } = await lift({ cidr: '198.51.100.0/24' });
    expect(blocks.map(({ value }) => value.flags)).toEqual([blockFlag.BLOCK_MONITOR]);
    expect(node.blocks().map(({ block }) => block.flags)).toEqual([blockFlag.BLOCK_SPARED]);
    expect(isDropped(run, 1, '198.51.100.20')).toBe(true);
    expect(isDropped(run, 1, '198.51.100.21')).toBe(true);
  });

  test('that allows a source lets it in at once, also while its block stands', async () => {
    const run = await instance();
    passes(run, STRANGER4, 1);
    await node.apply(allowed(STRANGER4, START + 100));
    expect(isDropped(run, 1, STRANGER4)).toBe(false);
    await lift({ cidr: `${STRANGER4}/32` });
    for (let port = 1; port < 40; port++) expect(isDropped(run, port, STRANGER4)).toBe(false);
    expect(blocked()).toEqual([]);
    node.tick = START + 100;
    expect(passes(run, STRANGER4, 1)).toBe(N - 1);
  });
});

test('full tables are gone through once, whatever is asked for, and others get their turn meanwhile', async () => {
  const maxBlocks = 65_536;
  const domains = 4_096;
  await using full = await KernelNode.create(net.pinPath(), { ...testSizes, maxBlocks, domains }, 15);
  const entry = { until: BigInt(START + 100), since: BigInt(START), last: BigInt(START), dropped: 0 };
  const block = encodeBlock({ ...entry, flags: 0, probes: 5, ifindex: 1, ports: [1] });
  const keys = Array.from({ length: maxBlocks }, (_, i) =>
    encodeBlockKey({ source: { family: 4, value: 0xcb00_0000n + BigInt(i), length: 32 }, owner: POLICY }),
  );
  await full.tables.map('blocks').updateBatch(Buffer.concat(keys), Buffer.concat(keys.map(() => block)), maxBlocks);
  // Every place of every domain taken, by sources of 10.0.0.0/8.
  const domain = Buffer.alloc(domainStruct.bytes);
  for (let i = 0; i < sourcesPerDomain; i++) {
    domain.writeUInt16LE(1, domainStruct.sourceTags + 2 * i);
    const at = domainStruct.sources + i * sourceStruct.bytes;
    domain.writeBigUInt64LE((0xffffn << 32n) | 0x0a00_0001n, at + sourceStruct.address + 8);
    domain.writeUInt32LE(POLICY, at + sourceStruct.owner);
  }
  for (let i = 0; i < firstsPerDomain; i++) {
    domain.writeUInt16LE(1, domainStruct.firstTags + 2 * i);
    const at = domainStruct.firsts + i * firstStruct.bytes;
    domain.writeBigUInt64LE(0x0a00_0002n, at + firstStruct.key);
    domain.writeBigUInt64LE((BigInt(START) << 30n) | BigInt(POLICY << 16), at + firstStruct.stamp);
  }
  const index = Buffer.alloc(4);
  for (let i = 0; i < domains; i++) {
    index.writeUInt32LE(i);
    full.tables.map('domains').update(index, domain);
  }
  const requests = [
    ...Array.from({ length: 1_000 }, (_, i) => ({
      cidr: formatSource({ ...trustedPrefix('203.0.0.0'), value: 0xcb00_0000n + BigInt(64 * i) }),
    })),
    { cidr: '10.0.0.0/8' },
  ];
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const { blocks, forgotten } = await liftRequested(full.tables, owners, requests);
  clearInterval(timer);
  expect(blocks).toHaveLength(1_000);
  expect(full.blocks()).toHaveLength(maxBlocks - 1_000);
  expect(forgotten).toBe(domains * (sourcesPerDomain + firstsPerDomain));
  expect(turns).toBeGreaterThan(5);
  expect((await liftRequested(full.tables, owners, requests)).forgotten).toBe(0);
});
