/** The prefilter never hides an entry: user space and the program find the same cells, for every prefix length. */
import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { encodeBlock, encodeBlockKey } from '../../agent/datapath/codec.ts';
import { ConcernFilter } from '../../agent/datapath/concern.ts';
import { concern } from '../../agent/datapath/layout.ts';
import type { TestRun } from '../../agent/libbpf/test-run.ts';
import { DEFAULT_CONFIG } from '../model/model.ts';
import { type Address, formatAddress, mapped, prefixMask } from '../support/address.ts';
import { TestNet } from '../support/namespaces.ts';
import {
  allowed,
  listed,
  manuallyBlocked,
  neverBlock,
  own,
  POLICY,
  STANDARD_TABLES,
  START,
  syn,
} from './cases/case.ts';
import { KernelNode, testSizes, XDP_DROP } from './kernel-node.ts';

const FAMILIES = { IPv4: 32, IPv6: 128 } as const;
type Family = keyof typeof FAMILIES;
const V4_START = 96;

let net: TestNet;
let node: KernelNode;
let run: TestRun;
beforeAll(async () => {
  net = await TestNet.create();
  node = await KernelNode.create(net.pinPath(), { ...testSizes, domains: 2 });
  // So many targets that nothing is dropped but by a table.
  run = await node.instance({ ...DEFAULT_CONFIG, threshold: 64 });
});
afterAll(async () => {
  await node?.[Symbol.asyncDispose]();
  await net?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await node.reset();
  node.tick = START;
});

const randomBits = (): Address =>
  Array.from({ length: 4 }).reduce<Address>((bits) => (bits << 32n) | BigInt(randomInt(2 ** 32)), 0n);

/** A random prefix of a length, and addresses in it (its ends and a random one) and just outside of it. */
function randomPrefix(family: Family, length: number) {
  const v4 = family === 'IPv4';
  // Away from ::ffff:0:0/96, which no IPv6 packet may have, and from link-local, whose sources are single.
  const start = v4 ? mapped(0) : 0x2001_0000n << 96n;
  const mask = prefixMask(v4 ? V4_START + length : length);
  const random = v4 ? mapped(randomInt(2 ** 32)) : length < 16 ? start : start | (randomBits() >> 16n);
  const first = random & mask;
  const last = first | (~mask & prefixMask(128));
  const inside = [first, last, first | (randomBits() & ~mask & prefixMask(128))];
  const bit = 1n << BigInt(FAMILIES[family] - length);
  const outside = length === 0 ? [] : [first ^ bit, last ^ bit];
  return { text: `${formatAddress(first)}/${length}`, length, inside, outside };
}

/** The text of an IPv4 address in table form is dotted, so the frame is IPv4. */
const sends = (source: Address): boolean => run.run(syn(1, formatAddress(source))).action !== XDP_DROP;
const isMappedOrZero = (address: Address) => address >> 32n === 0xffffn;

const cases = Object.entries(FAMILIES).flatMap(([family, most]) =>
  Array.from({ length: most + 1 }, (_, length) => [family as Family, length] as const),
);

describe('a prefix of every length is found by the program', () => {
  test.each(Object.keys(FAMILIES) as Family[])('listed: %s', async (family) => {
    for (const [, length] of cases.filter(([one]) => one === family)) {
      await node.reset();
      const { text, inside, outside } = randomPrefix(family, length);
      await node.apply(own('192.0.2.1'));
      await node.apply(listed(text));
      // An IPv6 source that reads as IPv4 is malformed and passes, whatever is listed.
      const reachable = inside.filter((address) => family === 'IPv4' || !isMappedOrZero(address));
      expect(reachable.length).toBeGreaterThan(0);
      for (const address of reachable) expect(sends(address), `${formatAddress(address)} in ${text}`).toBe(false);
      for (const address of outside) expect(sends(address), `${formatAddress(address)} not in ${text}`).toBe(true);
    }
  });

  test.each(Object.keys(FAMILIES) as Family[])('never blocked, allowed and blocked by hand: %s', async (family) => {
    for (const [, length] of cases.filter(([one]) => one === family)) {
      const { text, inside } = randomPrefix(family, length);
      const [address] = inside.slice(-1) as [Address];
      if (family === 'IPv6' && isMappedOrZero(address)) continue;
      await node.reset();
      await node.apply(manuallyBlocked(text, START + 10));
      expect(sends(address), `blocked by hand: ${text}`).toBe(false);
      await node.apply(neverBlock(text));
      expect(sends(address), `never blocked: ${text}`).toBe(true);
      await node.reset();
      await node.apply(allowed(text, START + 10));
      const before = node.counters([POLICY]).get(`${POLICY} PASS_ALLOWED`)!;
      sends(address);
      expect(node.counters([POLICY]).get(`${POLICY} PASS_ALLOWED`), `allowed: ${text}`).toBe(before + 1);
    }
  });
});

describe('a scan block', () => {
  test.each([48, 49, 63, 64, 65, 96, 127, 128])(
    'of an IPv6 /%i is found when the program made it, when user space put it back, and when the filter is built afresh',
    async (length) => {
      const config = { ...DEFAULT_CONFIG, threshold: 1, ipv6PrefixLength: length };
      run = await node.instance(config);
      for (const change of STANDARD_TABLES) await node.apply(change);
      const { inside, text } = randomPrefix('IPv6', length);
      expect(inside.map(sends)).toEqual([false, false, false]);
      expect(node.blocks().length, text).toBe(1);

      await node.reset();
      const [{ key, block }] = [{ ...prefixBlock(length) }];
      const filter = new ConcernFilter(node.tables.map('concern'), node.tables.layout.secret[0]);
      node.tables.map('blocks').update(encodeBlockKey(key), encodeBlock(block));
      const source = formatAddress(key.source.value);
      expect(droppedAsBlocked(source), 'unknown to the filter').toBe(0);
      node.tables.map('blocks').update(encodeBlockKey(key), encodeBlock(block));
      filter.add(key.source, concern.CONCERN_BLOCK);
      expect(droppedAsBlocked(source), 'added').toBe(1);
      filter.rebuild(() => []);
      filter.rebuild(() => [{ prefix: key.source, bits: concern.CONCERN_BLOCK }]);
      expect(droppedAsBlocked(source), 'built afresh').toBe(1);
      filter.close();
    },
  );

  function prefixBlock(length: number) {
    const value = (0x2001_0db8n << 96n) | (randomBits() >> 32n);
    return {
      key: { source: { family: 6 as const, value: value & prefixMask(length), length }, owner: POLICY },
      block: {
        ...{ until: BigInt(START + 100), since: BigInt(START), last: BigInt(START) },
        ...{ dropped: 0, flags: 0, probes: 1, ifindex: 1, ports: [1] },
      },
    };
  }

  /** How many of one more SYN are counted as blocked: 0 or 1. */
  function droppedAsBlocked(source: string): number {
    const name = `${POLICY} DROP_SCAN_BLOCKED`;
    const before = node.counters([POLICY]).get(name)!;
    run.run(syn(1, source, { destination: '2001:db8:0:9::9' }));
    return node.counters([POLICY]).get(name)! - before;
  }
});

describe('the filter', () => {
  test('forgets in a rebuild what is gone and keeps what the program adds meanwhile', async () => {
    run = await node.instance({ ...DEFAULT_CONFIG, threshold: 1 });
    for (const change of STANDARD_TABLES) await node.apply(change);
    const filter = new ConcernFilter(node.tables.map('concern'), node.tables.layout.secret[0]);
    filter.rebuild(() => []);
    filter.rebuild(() => []);
    expect(filter.usedCells()).toBe(0);
    filter.add({ family: 4, value: 0xcb007109n, length: 32 }, concern.CONCERN_LIST);
    expect(filter.usedCells()).toBe(1);
    filter.rebuild(() => {
      // While the idle half is being built, a source is blocked.
      expect(sends(mapped(0xc6336407))).toBe(false);
      return [];
    });
    expect(filter.usedCells()).toBe(1);
    const before = node.counters([POLICY]).get(`${POLICY} DROP_SCAN_BLOCKED`)!;
    expect(sends(mapped(0xc6336407))).toBe(false);
    expect(node.counters([POLICY]).get(`${POLICY} DROP_SCAN_BLOCKED`)).toBe(before + 1);
    filter.close();
  });
});
