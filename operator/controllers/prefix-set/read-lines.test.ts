import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatPrefix, masked, parsePrefixOrAddress } from '../../../api/cidr.ts';
import { chunkText } from './chunks.ts';
import { PrefixTable } from './prefix-table.ts';
import { readLines } from './read-lines.ts';

const options = { allowWide: false, maxRefusedLines: 20 };

function read(text: string, more: Partial<typeof options> = {}) {
  const table = new PrefixTable();
  const lines = readLines(text, table, { ...options, ...more });
  const prefixes = table.sorted();
  const listed = prefixes.count === 0 ? [] : chunkText(prefixes, { from: 0, to: prefixes.count }).split('\n');
  return { ...lines, listed };
}

describe('a text of prefixes', () => {
  it('has one a line, comments, blank lines and bare addresses', () => {
    const text = '# known bad\n192.0.2.0/24\n\n  198.51.100.7\t# seen twice\n2001:db8::/32\n2001:db8::1\n   # end';
    expect(read(text)).toEqual({
      given: 4,
      refused: 0,
      refusedLines: [],
      listed: ['192.0.2.0/24', '198.51.100.7/32', '2001:db8::/32', '2001:db8::1/128'],
    });
  });

  it('may come from Windows, with a byte order mark and carriage returns', () => {
    expect(read('\ufeff192.0.2.1\r\n\r\n192.0.2.2\r\n').listed).toEqual(['192.0.2.1/32', '192.0.2.2/32']);
  });

  it('is sorted, IPv4 first, each prefix once, every spelling made canonical', () => {
    const text = ['2001:DB8:0:0::/64', '192.0.2.9', '2001:db8::/64', '10.0.0.0/8', '10.0.0.0/9', '192.0.2.9/32'];
    expect(read(text.join('\n')).listed).toEqual(['10.0.0.0/8', '10.0.0.0/9', '192.0.2.9/32', '2001:db8::/64']);
  });

  it('tells the line and the reason of what it refuses, and goes on', () => {
    const text = ['192.0.2.1', '192.0.2.1/24', '<html>', '# fine', '10.0.0.0/7', '2001:db8::/15', '192.0.2.2'].join(
      '\n',
    );
    const { refused, refusedLines, listed } = read(text);
    expect(refusedLines).toEqual([
      { line: 2, reason: 'HostBits' },
      { line: 3, reason: 'NotAPrefix' },
      { line: 5, reason: 'TooWide' },
      { line: 6, reason: 'HostBits' },
    ]);
    expect({ refused, listed }).toEqual({ refused: 4, listed: ['192.0.2.1/32', '192.0.2.2/32'] });
  });

  it('may have wide prefixes where the list allows them', () => {
    expect(read('0.0.0.0/0\n::/0', { allowWide: true }).listed).toEqual(['0.0.0.0/0', '::/0']);
    expect(read('0.0.0.0/0\n::/0').refusedLines.map(({ reason }) => reason)).toEqual(['TooWide', 'TooWide']);
    expect(read('10.0.0.0/8\n2001::/16').refused).toBe(0);
  });

  it('counts all refused lines and lists the first', () => {
    const { refused, refusedLines } = read('x\n'.repeat(50), { maxRefusedLines: 3 });
    expect({ refused, lines: refusedLines.map(({ line }) => line) }).toEqual({ refused: 50, lines: [1, 2, 3] });
  });

  it.each([
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '1.2.3.256',
    '1.2.3.4/33',
    '1.2.3.4/',
    '1.2.3.4/08',
    '1.2.3.4/+8',
    '1.2.3.4 5.6.7.8',
    '1..2.3',
    '1.2.3.',
    '.1.2.3',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8',
    '12345::',
    '1:',
    ':1',
    '::1%eth0',
    '::ffff:1.2.3.4',
    '::ffff:0:0/96',
    'fe80::/129',
    '１.2.3.4',
    `${'0'.repeat(60)}::`,
    '/8',
    '-1.2.3.4',
  ])('refuses %s, as the API does in entries', (line) => {
    expect(parsePrefixOrAddress(line)).toBeUndefined();
    expect(read(line).refusedLines).toEqual([{ line: 1, reason: 'NotAPrefix' }]);
  });
});

const hexField = fc.integer({ min: 0, max: 0xffff }).map((value) => value.toString(16));
const ipv6Text = fc.oneof(
  fc.ipV6(),
  fc.array(fc.constantFrom('0', '00', '1', 'ffff', 'AbC', ''), { minLength: 1, maxLength: 9 }).map((f) => f.join(':')),
  fc
    .tuple(fc.array(hexField, { maxLength: 4 }), fc.array(hexField, { maxLength: 4 }))
    .map(([a, b]) => `${a.join(':')}::${b.join(':')}`),
);
const addressText = fc.oneof(fc.ipV4(), ipv6Text, fc.string({ maxLength: 20 }));
const lineText = fc
  .tuple(addressText, fc.option(fc.oneof(fc.integer({ min: 0, max: 140 }), fc.constantFrom('08', '', '1 '))))
  .map(([address, length]) => (length === null ? address : `${address}/${length}`))
  .filter((line) => !/[#\n\r\t ]/.test(line) && line !== '' && !line.startsWith('\ufeff'));

describe('the reader of lines', () => {
  it('agrees with the API on what is a prefix, and on how it is written', () => {
    fc.assert(
      fc.property(lineText, (line) => {
        const { listed, refusedLines } = read(line, { allowWide: true });
        const prefix = parsePrefixOrAddress(line);
        if (prefix === undefined) expect(refusedLines).toEqual([{ line: 1, reason: 'NotAPrefix' }]);
        else if (masked(prefix).value !== prefix.value) expect(refusedLines).toEqual([{ line: 1, reason: 'HostBits' }]);
        else expect(listed).toEqual([formatPrefix(prefix)]);
      }),
      { numRuns: 1500 },
    );
  });

  it('sorts and finds whatever there is', () => {
    const prefix = fc.tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(128)).map(([address, length]) => {
      const parsed = parsePrefixOrAddress(address);
      return parsed && formatPrefix(masked({ ...parsed, length: Math.min(length, parsed.length) }));
    });
    fc.assert(
      fc.property(
        fc.array(
          prefix.filter((text) => text !== undefined),
          { maxLength: 60 },
        ),
        (given) => {
          const { listed } = read([...given, ...given].join('\n'), { allowWide: true });
          const order = (text: string) => {
            const { family, value, length } = parsePrefixOrAddress(text)!;
            return `${family} ${value.toString(16).padStart(32, '0')} ${String(length).padStart(3, '0')}`;
          };
          expect(listed).toEqual([...new Set(given)].sort((a, b) => (order(a) < order(b) ? -1 : 1)));
        },
      ),
    );
  });
});
