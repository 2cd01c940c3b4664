import { parse } from 'ipaddr.js';
import { describe, expect, test } from 'vitest';
import { addressBytes, formatAddress, prefixMask, toAddress, toPrefix } from './address.ts';
import { complement, fold, pseudoHeaderSum, sumWords } from './internet-checksum.ts';
import { flagByte, frame, icmp, icmpv6, ipv4, ipv6, quoted, raw, tcp, udp } from './packets.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

describe('the Internet checksum', () => {
  test('the example of RFC 1071 section 3 sums to 2ddf0, folded ddf2', () => {
    const bytes = hex('0001 f203 f4f5 f6f7');
    expect(sumWords(bytes)).toBe(0x2ddf0);
    expect(fold(sumWords(bytes))).toBe(0xddf2);
    expect(complement(sumWords(bytes))).toBe(0x220d);
  });

  test('the often quoted IPv4 header with checksum b861 verifies', () => {
    const header = hex('4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7');
    expect(fold(sumWords(header))).toBe(0xffff);
    header.writeUInt16BE(0, 10);
    expect(complement(sumWords(header))).toBe(0xb861);
  });

  test('an odd last byte is the high half of a word', () => {
    expect(sumWords(hex('0102 03'))).toBe(0x0102 + 0x0300);
  });

  test('folding carries more than once', () => {
    expect(fold(0x1ffff)).toBe(1);
    expect(fold(0xffff_ffff)).toBe(0xffff);
    expect(fold(0x12_3456_789a)).toBe((0x12 + 0x3456 + 0x789a) & 0xffff);
  });

  test('the pseudo-header counts addresses, protocol and length', () => {
    expect(pseudoHeaderSum(hex('c0a80001'), hex('c0a800c7'), 17, 95)).toBe(0xc0a8 + 1 + 0xc0a8 + 0xc7 + 17 + 95);
  });
});

describe('frames equal ones written out by hand', () => {
  test('a TCP SYN over IPv4', () => {
    // IP: 4500+0028+1234+0000+4006+c633+6407+c000+0201 = 2839d, folded 839f, complement 7c60.
    // TCP: c633+6407+c000+0201+0006+0014 + 9c40+0050+0102+0304+5002+0400 = 2e0ed, folded e0ef, complement 1f10.
    expect(
      frame({
        packet: ipv4({
          source: '198.51.100.7',
          destination: '192.0.2.1',
          payload: tcp({ flags: 'S' }),
        }),
        padTo: 0,
      }).toString('hex'),
    ).toBe(
      hex(`0200 0000 0001 0200 0000 0002 0800
           4500 0028 1234 0000 4006 7c60 c633 6407 c000 0201
           9c40 0050 0102 0304 0000 0000 5002 0400 1f10 0000`).toString('hex'),
    );
  });

  test('a UDP datagram over IPv6 behind a destination options header', () => {
    // 2001+0db8+0002+2001+0db8+0001+0011+000a + 9c40+0035+000a+6161 = 15970, folded 5971, complement a68e.
    expect(
      frame({
        tags: [{ tpid: 0x88a8, tci: 5 }],
        packet: ipv6({
          source: '2001:db8::2',
          destination: '2001:db8::1',
          extensions: [{ kind: 'destination' }],
          payload: udp({ data: 2 }),
        }),
        padTo: 0,
      }).toString('hex'),
    ).toBe(
      hex(`0200 0000 0001 0200 0000 0002 88a8 0005 86dd
           6000 0000 0012 3c40 2001 0db8 0000 0000 0000 0000 0000 0002 2001 0db8 0000 0000 0000 0000 0000 0001
           1100 0104 0000 0000
           9c40 0035 000a a68e 6161`).toString('hex'),
    );
  });
});

describe('packets are right unless told otherwise', () => {
  const ends = { source: '198.51.100.7', destination: '192.0.2.1' };
  const ends6 = { source: '2001:db8::7', destination: 'fe80::1' };
  const pseudo = (from: { source: string; destination: string }, protocol: number, bytes: number) =>
    pseudoHeaderSum(addressBytes(from.source), addressBytes(from.destination), protocol, bytes);

  test.each([0, 1, 2, 3, 100, 1001])('TCP with %i bytes of data verifies in both versions', (data) => {
    const segment = tcp({ flags: 'PA', data, options: 12, acknowledgment: 0xfedcba98 });
    const four = ipv4({ ...ends, payload: segment }).bytes.subarray(20);
    const six = ipv6({ ...ends6, payload: segment }).bytes.subarray(40);
    expect(fold(pseudo(ends, 6, four.length) + sumWords(four))).toBe(0xffff);
    expect(fold(pseudo(ends6, 6, six.length) + sumWords(six))).toBe(0xffff);
  });

  test('the wrong checksum verifies neither as whole nor as left to offload', () => {
    const segment = ipv4({ ...ends, payload: tcp({ flags: 'S', checksum: 'wrong' }) }).bytes.subarray(20);
    expect(fold(pseudo(ends, 6, 20) + sumWords(segment))).not.toBe(0xffff);
    expect(segment.readUInt16BE(16)).not.toBe(fold(pseudo(ends, 6, 20)));
  });

  test('a checksum left to offload is the folded sum of the pseudo-header', () => {
    const segment = ipv4({ ...ends, payload: tcp({ flags: 'S', checksum: 'offload', data: 9 }) }).bytes.subarray(20);
    expect(segment.readUInt16BE(16)).toBe(fold(pseudo(ends, 6, 29)));
  });

  test('ICMP verifies alone, ICMPv6 with its pseudo-header', () => {
    const body = quoted(ipv4({ ...ends, payload: udp() }));
    expect(body.length).toBe(28);
    expect(fold(sumWords(ipv4({ ...ends, payload: icmp({ type: 3, body }) }).bytes.subarray(20)))).toBe(0xffff);
    const six = ipv6({ ...ends6, payload: icmpv6({ type: 135, body }) }).bytes.subarray(40);
    expect(fold(pseudo(ends6, 58, six.length) + sumWords(six))).toBe(0xffff);
  });

  test('the IPv4 header verifies with options, and does not when told to be wrong', () => {
    const header = (checksum: 'right' | 'wrong') =>
      ipv4({ ...ends, options: 40, checksum, payload: udp() }).bytes.subarray(0, 60);
    expect(fold(sumWords(header('right')))).toBe(0xffff);
    expect(fold(sumWords(header('wrong')))).not.toBe(0xffff);
  });
});

describe('fields stand where the RFCs put them', () => {
  const ends = { source: '1.2.3.4', destination: '5.6.7.8' };

  test('fragments: offset in units of 8 bytes, more-fragments and dont-fragment bits, a slice of the segment', () => {
    const { bytes } = ipv4({
      ...ends,
      moreFragments: true,
      fragmentOffset: 3,
      slice: [24, 40],
      payload: tcp({ flags: 'S', data: 60 }),
    });
    expect(bytes.readUInt16BE(6)).toBe(0x2003);
    expect(bytes.readUInt16BE(2)).toBe(36);
    expect(ipv4({ ...ends, dontFragment: true, payload: udp() }).bytes.readUInt16BE(6)).toBe(0x4000);
  });

  test('a chain of extension headers: each tells the next and its own length', () => {
    const { bytes } = ipv6({
      source: '::2',
      destination: '::1',
      extensions: [
        { kind: 'hop-by-hop', bytes: 16 },
        { kind: 'ah', bytes: 12 },
        { kind: 'fragment', offset: 5, more: true },
        { kind: 'routing', bytes: 24 },
      ],
      payload: raw(99, 3),
    });
    expect(bytes[6]).toBe(0);
    expect([...bytes.subarray(40, 42)]).toEqual([51, 1]);
    expect([...bytes.subarray(56, 58)]).toEqual([44, 1]);
    expect([...bytes.subarray(68, 72)]).toEqual([43, 0, 0, 0x29]);
    expect([...bytes.subarray(76, 78)]).toEqual([99, 2]);
    expect(bytes.readUInt16BE(4)).toBe(16 + 12 + 8 + 24 + 3);
  });

  test('padding of an options header is legal PadN options to its end', () => {
    for (const size of [8, 16, 264, 520]) {
      const { bytes } = ipv6({
        source: '::2',
        destination: '::1',
        extensions: [{ kind: 'destination', bytes: size }],
        payload: raw(59, 0),
      });
      const area = bytes.subarray(42, 40 + size);
      let at = 0;
      while (at < area.length) {
        expect(area[at]).toBe(1);
        at += 2 + area.readUInt8(at + 1);
      }
      expect(at).toBe(area.length);
    }
  });

  test('lies replace what would be computed and nothing else', () => {
    const { bytes } = ipv4({ ...ends, version: 5, headerWords: 9, totalLength: 7, protocol: 6, payload: udp() });
    expect(bytes[0]).toBe(0x59);
    expect(bytes.readUInt16BE(2)).toBe(7);
    expect(bytes[9]).toBe(6);
    expect(bytes.length).toBe(28);
  });

  test('tags come outermost first, frames are padded to 60 bytes and cut when told', () => {
    const bytes = frame({ packet: ipv4({ ...ends, payload: udp() }), tags: [{ tpid: 0x88a8, tci: 2 }, { tci: 3 }] });
    expect(bytes.subarray(12, 22).toString('hex')).toBe('88a8000281000003' + '0800');
    expect(bytes.length).toBe(60);
    expect(frame({ packet: ipv4({ ...ends, payload: udp() }), truncateTo: 17 }).length).toBe(17);
  });

  test('flag letters give the byte, an unknown letter is refused', () => {
    expect(flagByte('FSRPAUEW')).toBe(255);
    expect(flagByte('SA')).toBe(0x12);
    expect(() => flagByte('X')).toThrow('not a TCP flag: X');
  });
});

describe('addresses', () => {
  test.each([
    '::',
    '::1',
    '1::',
    '2001:db8::1',
    'fe80::1:2:3',
    '::ffff:198.51.100.7',
    '1:2:3:4:5:6:7:8',
    '64:ff9b::1.2.3.4',
    '0.0.0.0',
    '255.254.253.252',
  ])('%s has the bytes that another parser finds', (text) => {
    expect([...addressBytes(text)]).toEqual(parse(text).toByteArray());
  });

  test('IPv4 stands as a mapped address and is written dotted', () => {
    expect(toAddress('1.2.3.4')).toBe(0xffff_0102_0304n);
    expect(formatAddress(toAddress('1.2.3.4'))).toBe('1.2.3.4');
    expect(formatAddress(toAddress('2001:db8::a'))).toBe('2001:db8:0:0:0:0:0:a');
  });

  test('prefixes: masks count from the first bit, IPv4 from the 97th', () => {
    expect(prefixMask(0)).toBe(0n);
    expect(prefixMask(128)).toBe((1n << 128n) - 1n);
    expect(toPrefix('10.0.0.0/8').mask).toBe(prefixMask(104));
    expect(toPrefix('2001:db8::/32')).toMatchObject({ version: 6, length: 32 });
    expect(toPrefix('10.1.2.3').length).toBe(32);
  });

  test.each(['10.0.0.1/8', '10.0.0.0/33', '::1/64', '10.0.0.0/x', 'word', '1.2.3', '1::2::3'])(
    '%s is refused',
    (text) => {
      expect(() => toPrefix(text)).toThrow(/^(not an? (address|prefix)|bits set beyond the length)/);
    },
  );
});
