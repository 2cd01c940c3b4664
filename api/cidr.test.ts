import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { describe, expect, it } from 'vitest';
import {
  canonicalPrefix,
  contains,
  formatAddress,
  formatPrefix,
  isCanonicalPrefix,
  masked,
  parseAddress,
  parsePrefix,
  parsePrefixOrAddress,
} from './cidr.ts';

/** Fields drawn so that runs of zeros, which `::` is about, are common. */
const ipv6Fields = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), {
  minLength: 8,
  maxLength: 8,
});
const ipv4Octets = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 4, maxLength: 4 });
const isMapped = (fields: number[]) => fields.slice(0, 5).every((field) => field === 0) && fields[5] === 0xffff;

function numberOf(bytes: number[]): bigint {
  return BigInt(`0x${bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('')}`);
}

describe('addresses agree with ipaddr.js', () => {
  it('in IPv4', () => {
    fc.assert(
      fc.property(ipv4Octets, (octets) => {
        const oracle = new ipaddr.IPv4(octets);
        const address = parseAddress(oracle.toString());
        expect(address).toEqual({ family: 4, value: numberOf(oracle.toByteArray()) });
        expect(formatAddress(address!)).toBe(oracle.toString());
      }),
      { numRuns: 2000 },
    );
  });

  it('in IPv6, in the long and the canonical spelling', () => {
    fc.assert(
      fc.property(ipv6Fields, (fields) => {
        fc.pre(!isMapped(fields));
        const oracle = new ipaddr.IPv6(fields);
        const canonical = oracle.toRFC5952String();
        const long = fields.map((field) => field.toString(16).padStart(4, '0')).join(':');
        for (const text of [canonical, oracle.toNormalizedString(), long.toUpperCase()]) {
          const address = parseAddress(text);
          expect(address).toEqual({ family: 6, value: numberOf(oracle.toByteArray()) });
          expect(formatAddress(address!)).toBe(canonical);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('about which prefix holds which', () => {
    const prefix = fc.tuple(ipv6Fields, fc.integer({ min: 0, max: 128 }));
    fc.assert(
      fc.property(
        prefix,
        fc.integer({ min: 0, max: 127 }),
        fc.integer({ min: 0, max: 128 }),
        ([fields, length], bit, other) => {
          fc.pre(!isMapped(fields));
          const outer = parsePrefix(`${new ipaddr.IPv6(fields).toRFC5952String()}/${length}`)!;
          const inner = { ...outer, value: outer.value ^ (1n << BigInt(bit)), length: other };
          const oracle =
            ipaddr.parse(formatAddress(inner)).match(ipaddr.parse(formatAddress(outer)), length) && other >= length;
          expect(contains(outer, inner)).toBe(oracle);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('about the network of a prefix', () => {
    fc.assert(
      fc.property(ipv4Octets, fc.integer({ min: 0, max: 32 }), (octets, length) => {
        const text = `${octets.join('.')}/${length}`;
        const network = `${ipaddr.IPv4.networkAddressFromCIDR(text)}/${length}`;
        expect(formatPrefix(masked(parsePrefix(text)!))).toBe(network);
        expect(isCanonicalPrefix(text)).toBe(text === network);
        expect(isCanonicalPrefix(network)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('what is no address', () => {
  it.each([
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '1.2.3.256',
    '1.2.3.+4',
    ' 1.2.3.4',
    '1.2.3.4 ',
    '0x1.2.3.4',
    ':',
    ':::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '1::2::3',
    '12345::',
    'g::',
    '::1%eth0',
    'fe80::1%1',
    '::ffff:1.2.3.4',
    '::ffff:102:304',
    '1.2.3.4::',
    '::1.2.3',
    '::01.2.3.4',
    '1:',
    ':1',
    `${'0'.repeat(100)}::`,
  ])('%j', (text) => expect(parseAddress(text)).toBeUndefined());
});

describe('prefixes', () => {
  it.each(['10.0.0.0/8', '0.0.0.0/0', '192.0.2.1/32', '::/0', '2001:db8::/32', '::1/128', 'fe80::/10'])(
    'takes %s',
    (text) => expect(isCanonicalPrefix(text)).toBe(true),
  );

  it.each([
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/08',
    '10.0.0.0/+8',
    '10.0.0.0/33',
    '10.0.0.1/8',
    '2001:DB8::/32',
    '2001:db8:0::/32',
    '2001:db8::/032',
    '2001:db8::1/32',
    '::/129',
    '64:ff9b::192.0.2.0/120',
    '::ffff:1.2.3.0/120',
    'fe80::%eth0/64',
    '10.0.0.0/8\n',
  ])('refuses %j', (text) => expect(isCanonicalPrefix(text)).toBe(false));

  it('tells the spelling that is accepted', () => {
    expect(canonicalPrefix('10.0.0.1/8')).toBe('10.0.0.0/8');
    expect(canonicalPrefix('2001:0DB8::1/32')).toBe('2001:db8::/32');
    expect(canonicalPrefix('192.0.2.7')).toBe('192.0.2.7/32');
    expect(canonicalPrefix('64:ff9b::192.0.2.0/120')).toBe('64:ff9b::c000:200/120');
    expect(canonicalPrefix('example.com')).toBeUndefined();
  });

  it('reads a bare address as a prefix of full length where that is wanted', () => {
    expect(parsePrefixOrAddress('::1')).toEqual({ family: 6, value: 1n, length: 128 });
    expect(parsePrefix('::1')).toBeUndefined();
  });

  it('never holds the other family', () => {
    expect(contains(parsePrefix('0.0.0.0/0')!, parsePrefix('::/0')!)).toBe(false);
  });
});
