/** What is thrown out of a full block table. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { collectBlocks } from '../../agent/datapath/blocks.ts';
import { decodeBlock, encodeBlock, encodeBlockKey, encodeManual, encodeTrieKey } from '../../agent/datapath/codec.ts';
import { blockFlag } from '../../agent/datapath/layout.ts';
import { Pins } from '../../agent/datapath/pins.ts';
import { NodeTables } from '../../agent/datapath/tables.ts';
import { BpfMap } from '../../agent/libbpf/map.ts';
import { DEFAULT_CONFIG } from '../model/model.ts';
import { TestNet } from '../support/namespaces.ts';
import { NODE4, own, POLICY, START } from './cases/case.ts';
import { KernelNode, testSizes } from './kernel-node.ts';
import { nthSource, SynSender } from './syn-sender.ts';

let net: TestNet;
let node: KernelNode;
const MAX = 64;
const keyOf = (source: number) =>
  encodeBlockKey({ source: { family: 4, value: BigInt(source), length: 32 }, owner: POLICY });
const isBlocked = (source: number) => node.tables.map('blocks').lookup(keyOf(source)) !== undefined;
beforeAll(async () => {
  net = await TestNet.create();
});
afterAll(async () => {
  await net?.[Symbol.asyncDispose]();
});
const fresh = async () => {
  node = await KernelNode.create(net.pinPath(), { ...testSizes, maxBlocks: MAX }, 15);
  await node.apply(own(NODE4));
  node.tick = START;
  return new SynSender(
    await node.instance({ ...DEFAULT_CONFIG, threshold: 2, windowTicks: 100, blockTicks: 10_000, unprovenTicks: 100 }),
    NODE4,
  );
};
afterEach(async () => await node?.[Symbol.asyncDispose]());
const block = (syn: SynSender, n: number) => {
  syn.send(nthSource(n), 1);
  syn.send(nthSource(n), 2);
};

test('after more blocks than the ring has places, a full table still lets its oldest go, not its newest', async () => {
  const syn = await fresh();
  let tick = START;
  let n = 0;
  // 196 blocks that expire and are collected, never 64 at once: 5 more than the ring of 128 places.
  for (; n < 196; n++) {
    node.tick = tick += 200;
    block(syn, n);
    collectBlocks(node.tables, BigInt(tick + 150));
  }
  node.tick = tick += 200;
  const first = n;
  for (; n < first + MAX; n++) {
    node.tick = ++tick;
    block(syn, n);
  }
  // Full now, all live. Eight more:
  const late = n;
  for (; n < late + 8; n++) {
    node.tick = ++tick;
    block(syn, n);
  }
  const gone = Array.from({ length: MAX + 8 }, (_, i) => i).filter((i) => !isBlocked(nthSource(first + i)));
  expect(gone).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
});

test('an unproven block makes room before a proven one, whatever stale entries its ring has', async () => {
  const syn = await fresh();
  let tick = START;
  let n = 10_000;
  // 16 real scanners, proven through the program's own state: flags and ring as prove() leaves them.
  const real = Array.from({ length: 16 }, (_, i) => nthSource(i));
  const map = node.tables.map('blocks');
  for (const [i, source] of real.entries()) {
    block(syn, i);
    const b = decodeBlock(map.lookup(keyOf(source))!);
    map.update(
      keyOf(source),
      encodeBlock({ ...b, flags: b.flags | blockFlag.BLOCK_PROVEN, until: BigInt(START + 10_000) }),
    );
  }
  node.tables.refillRings();
  // One that lives: the renewed block of a scan that goes on. What goes behind it cannot be swept.
  const long = nthSource(n);
  block(syn, n++);
  const l = decodeBlock(map.lookup(keyOf(long))!);
  map.update(keyOf(long), encodeBlock({ ...l, until: BigInt(START + 10_000) }));
  // Forged blocks fill what is left, expire and are collected: their ring entries stay.
  for (let i = 0; i < 47; i++) block(syn, n++);
  node.tick = tick += 150;
  collectBlocks(node.tables, BigInt(tick));
  // And again: 48 live unproven ones, a full table.
  for (let i = 0; i < 47; i++) block(syn, n++);
  expect(real.filter(isBlocked).length).toBe(16);
  for (let i = 0; i < 4; i++) block(syn, n++);
  expect(real.filter(isBlocked).length).toBe(16);
});

test('a manual block made while tables are being resized is kept', async () => {
  const pinPath = net.pinPath();
  node = await KernelNode.create(pinPath, testSizes, 15);
  const pins = new Pins(pinPath);
  const need = { slots: 15, frags: true, ticksPerSecond: async () => 100 };
  const agent = await NodeTables.open(pins, { ...testSizes, maxManualBlocks: 128 }, need);
  const source = { family: 4 as const, value: 0xc6336407n, length: 32 };
  const value = encodeManual({ until: 9_000_000n, ownUntil: 9_000_000n, since: 1n, dropped: 0, reason: 'by hand' });
  // The command opens the pins: the old table, until commit().
  using old = BpfMap.openPinned(pins.at('maps', 'manual4'), 'manual4');
  old.update(encodeTrieKey(source), value);
  agent.commit();
  expect(agent.map('manual4').lookup(encodeTrieKey(source))).toBeDefined();
  agent.close();
});
