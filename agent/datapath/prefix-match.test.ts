import { expect, test } from 'vitest';
import { parsePrefixOrAddress } from '../../api/cidr.ts';
import { formatSource } from './codec.ts';
import { PrefixMatch } from './prefix-match.ts';

const prefix = (text: string) => parsePrefixOrAddress(text)!;
const matchOf = (...texts: readonly string[]) => {
  const match = new PrefixMatch<string>();
  for (const text of texts) match.add(prefix(text), text, (before, now) => `${before} and ${now}`);
  return match;
};
const around = (match: PrefixMatch<string>, text: string) => [...match.around(prefix(text))].map(({ said }) => said);

test('all prefixes around one are found, itself included, and no narrower one', () => {
  const match = matchOf('198.51.100.7/32', '198.51.100.0/24', '0.0.0.0/0', '198.51.100.0/25', '198.51.101.0/24');
  expect(around(match, '198.51.100.7').sort()).toEqual(
    ['198.51.100.7/32', '198.51.100.0/24', '0.0.0.0/0', '198.51.100.0/25'].sort(),
  );
  expect(around(match, '198.51.100.0/24').sort()).toEqual(['198.51.100.0/24', '0.0.0.0/0'].sort());
  expect(around(matchOf('198.51.100.7/32'), '198.51.100.8')).toEqual([]);
});

test('families are apart: the first addresses of both are the same number', () => {
  expect(around(matchOf('0.0.0.0/0'), '::1')).toEqual([]);
  expect(around(matchOf('::/0'), '0.0.0.1')).toEqual([]);
  expect(around(matchOf('2001:db8::/32'), '2001:db8:1::/48')).toEqual(['2001:db8::/32']);
  const match = matchOf('2001:db8::/64');
  expect([match.has(4), match.has(6)]).toEqual([false, true]);
});

test('equal prefixes are merged, and what is found is named whole', () => {
  const match = matchOf('198.51.100.0/24', '198.51.100.0/24');
  const [found] = match.around(prefix('198.51.100.200'));
  expect(found!.said).toBe('198.51.100.0/24 and 198.51.100.0/24');
  expect(formatSource(found!.prefix)).toBe('198.51.100.0/24');
});
