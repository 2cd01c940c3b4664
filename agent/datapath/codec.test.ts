import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Address, Prefix } from '../../api/cidr.ts';
import {
  blockState,
  decodeBlock,
  decodeBlockKey,
  decodeManual,
  decodeTrieKey,
  encodeAddress,
  encodeBlock,
  encodeBlockKey,
  encodeManual,
  encodeTrieKey,
  formatSource,
  readAddress,
} from './codec.ts';
import { blockStruct, manualValueStruct } from './layout.ts';

const MAPPED = 0xffffn << 32n;
const address4 = fc.bigInt({ min: 0n, max: 0xffff_ffffn }).map((value): Address => ({ family: 4, value }));
const address6 = fc
  .bigInt({ min: 0n, max: (1n << 128n) - 1n })
  .filter((value) => value >> 32n !== 0xffffn)
  .map((value): Address => ({ family: 6, value }));
const address = fc.oneof(address4, address6);
const prefix = address.chain((one) =>
  fc.integer({ min: 0, max: one.family === 4 ? 32 : 128 }).map((length): Prefix => ({ ...one, length })),
);
const tick = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });

describe('addresses', () => {
  test('come back as they were', () => {
    fc.assert(fc.property(address, (one) => void expect(readAddress(encodeAddress(one), 0)).toEqual(one)));
  });

  test('are two halves in host order, an IPv4 address mapped', () => {
    expect(encodeAddress({ family: 4, value: 0xc0000201n }).toString('hex')).toBe('0000000000000000010200c0ffff0000');
    expect(encodeAddress({ family: 6, value: (0x20010db8n << 96n) | 1n }).toString('hex')).toBe(
      '00000000b80d01200100000000000000',
    );
  });

  test('IPv6 addresses beside the mapped ones stay IPv6', () => {
    for (const value of [0n, 1n, 0xfffen << 32n, MAPPED + (1n << 32n), MAPPED | (1n << 64n)])
      expect(readAddress(encodeAddress({ family: 6, value }), 0)).toEqual({ family: 6, value });
  });
});

describe('keys', () => {
  test('of tries come back as they were', () => {
    fc.assert(fc.property(prefix, (one) => void expect(decodeTrieKey(encodeTrieKey(one))).toEqual(one)));
  });

  test('of tries have the length in host order and the address in network order', () => {
    expect(encodeTrieKey({ family: 4, value: 0xcb007100n, length: 24 }).toString('hex')).toBe('18000000cb007100');
    expect(encodeTrieKey({ family: 6, value: 0x20010db8n << 96n, length: 32 }).toString('hex')).toBe(
      '2000000020010db8000000000000000000000000',
    );
  });

  test('of blocks come back as they were', () => {
    fc.assert(
      fc.property(
        prefix,
        u32,
        (source, owner) => void expect(decodeBlockKey(encodeBlockKey({ source, owner }))).toEqual({ source, owner }),
      ),
    );
  });
});

describe('blocks', () => {
  const block = fc.record({
    until: tick,
    since: tick,
    last: tick,
    dropped: fc.maxSafeNat(),
    flags: u32,
    probes: u32,
    ifindex: u32,
    ports: fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 16 }),
  });

  test('come back as they were', () => {
    fc.assert(fc.property(block, (one) => void expect(decodeBlock(encodeBlock(one))).toEqual(one)));
  });

  test('keep the 16 newest ports', () => {
    const ports = Array.from({ length: 40 }, (_, i) => i + 1);
    const value = { until: 1n, since: 1n, last: 1n, dropped: 0, flags: 0, probes: 40, ifindex: 1, ports };
    expect(decodeBlock(encodeBlock(value)).ports).toEqual(ports.slice(0, 16));
  });

  test('of which the port count is damaged show no more ports than there are', () => {
    const value = Buffer.alloc(blockStruct.bytes);
    value.writeUInt32LE(0xffff_ffff, blockStruct.portCount);
    expect(decodeBlock(value).ports).toEqual(new Array(16).fill(0));
  });

  test('are told apart from records that block nobody', () => {
    expect([0, 1, 2, 3, 4, 5, 6].map(blockState)).toEqual([
      ...['blocked', 'blocked', 'would-block', 'would-block', 'spared', 'spared', 'spared'],
    ]);
  });
});

describe('manual blocks', () => {
  const manual = (reason: string) => ({ until: 9n, ownUntil: 8n, since: 7n, dropped: 6, reason });

  test('come back as they were', () => {
    fc.assert(
      fc.property(
        fc.string({ maxLength: 63 }).filter((text) => !text.includes('\0')),
        tick,
        (reason, until) =>
          void expect(decodeManual(encodeManual({ ...manual(reason), until }))).toEqual({ ...manual(reason), until }),
      ),
    );
  });

  test.each([
    ['x'.repeat(100), 'x'.repeat(63)],
    // 31 characters of two bytes fit into 63; half a character is never stored.
    ['é'.repeat(50), 'é'.repeat(31)],
    ['€'.repeat(50), '€'.repeat(21)],
  ])('cut a long reason at a whole character: %s', (reason, kept) => {
    const value = encodeManual(manual(reason));
    expect(value.length).toBe(manualValueStruct.bytes);
    expect(value.at(-1)).toBe(0);
    expect(decodeManual(value).reason).toBe(kept);
  });

  test('a reason that fills its field without an end is read to the end of the field', () => {
    const value = Buffer.alloc(manualValueStruct.bytes, 0x61);
    expect(decodeManual(value).reason).toBe('a'.repeat(manualValueStruct.bytes - manualValueStruct.reason));
  });
});

test('a single address is shown as such, anything wider as a prefix', () => {
  expect(formatSource({ family: 4, value: 0xc6336407n, length: 32 })).toBe('198.51.100.7');
  expect(formatSource({ family: 4, value: 0xc6336400n, length: 24 })).toBe('198.51.100.0/24');
  expect(formatSource({ family: 6, value: 0x20010db8n << 96n, length: 64 })).toBe('2001:db8::/64');
  expect(formatSource({ family: 6, value: 1n, length: 128 })).toBe('::1');
});
