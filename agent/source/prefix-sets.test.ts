import { describe, expect, test } from 'vitest';
import { contentDigest, PrefixSets, setDigest } from './prefix-sets.ts';

const texts = {
  one: '192.0.2.0/24\n198.51.100.7/32\n',
  two: '203.0.113.0/24\n2001:db8::/32',
  three: '10.0.0.0/8\n',
};
const nameOf = (text: string) => `01234567-${contentDigest(text)}`;
const [one, two, three] = [nameOf(texts.one), nameOf(texts.two), nameOf(texts.three)];
const reference = (...chunks: string[]) => ({ digest: setDigest(chunks), chunks });
const prefixesOf = (sets: PrefixSets, list = 'feed') => sets.contents.get(list)?.prefixes;

/** With the chunks one and two in force. */
function complete(): PrefixSets {
  const sets = new PrefixSets();
  sets.want('feed', reference(one, two));
  sets.take('feed', one, texts.one);
  sets.take('feed', two, texts.two);
  return sets;
}

describe('a set', () => {
  test('comes into force when it is complete, in order, and not before', () => {
    const sets = new PrefixSets();
    sets.want('feed', reference(one, two));
    expect(sets.missing('feed')).toEqual([one, two]);
    sets.take('feed', two, texts.two);
    expect(prefixesOf(sets)).toBeUndefined();
    expect(sets.missing('feed')).toEqual([one]);
    sets.take('feed', one, texts.one);
    expect(prefixesOf(sets)).toEqual(['192.0.2.0/24', '198.51.100.7/32', '203.0.113.0/24', '2001:db8::/32']);
    expect(sets.contents.get('feed')?.digest).toBe(reference(one, two).digest);
    expect(sets.findings()).toEqual([]);
  });

  test('stays in force until the next one is complete, of which only what is new is fetched', () => {
    const sets = complete();
    sets.want('feed', reference(two, three));
    expect(sets.missing('feed')).toEqual([three]);
    expect(prefixesOf(sets)).toHaveLength(4);
    sets.take('feed', three, texts.three);
    expect(prefixesOf(sets)).toEqual(['203.0.113.0/24', '2001:db8::/32', '10.0.0.0/8']);
    expect(sets.textOf(one)).toBeUndefined();
    expect(sets.textOf(two)).toBe(texts.two);
  });

  test('that only loses a chunk changes without anything being fetched', () => {
    const sets = complete();
    sets.want('feed', reference(two));
    expect(prefixesOf(sets)).toEqual(['203.0.113.0/24', '2001:db8::/32']);
  });

  test('is the same object as long as it is the same set', () => {
    const sets = complete();
    const { contents } = sets;
    sets.want('feed', reference(one, two));
    expect(sets.contents).toBe(contents);
  });

  test.each([
    ['no set any more', undefined],
    ['an empty set', { digest: setDigest([]), chunks: [] }],
  ])('goes at once when its list has %s', (_, none) => {
    const sets = complete();
    sets.want('feed', none);
    expect([...sets.contents]).toEqual([]);
    expect(sets.textOf(one)).toBeUndefined();
  });

  test('goes with its list', () => {
    const sets = complete();
    sets.keepOnly(new Set(['other']));
    expect([...sets.contents]).toEqual([]);
  });
});

describe('refused, and the last complete set stays, when', () => {
  test.each([
    ['a chunk holds something else than its name says', texts.one],
    ['a chunk is empty', ''],
  ])('%s', (_, text) => {
    const sets = complete();
    sets.want('feed', reference(three));
    expect(sets.take('feed', three, text)).toBe(false);
    expect(prefixesOf(sets)).toHaveLength(4);
    expect(sets.missing('feed')).toEqual([three]);
    expect(sets.findings()).toMatchObject([{ code: 'PrefixSetIncomplete', object: 'IpBlocklist/feed' }]);
    sets.take('feed', three, texts.three);
    expect(sets.findings()).toEqual([]);
  });

  test.each(['not a prefix', '192.0.2.1/24', '2001:DB8::/32', '::ffff:192.0.2.0/120'])('a chunk holds %s', (line) => {
    const text = `192.0.2.0/24\n${line}\n`;
    const sets = complete();
    sets.want('feed', reference(nameOf(text)));
    expect(sets.take('feed', nameOf(text), text)).toBe(false);
    expect(prefixesOf(sets)).toHaveLength(4);
  });

  test('the digest is not that of the chunks', () => {
    const sets = complete();
    sets.want('feed', { digest: reference(one).digest, chunks: [three] });
    expect(prefixesOf(sets)).toHaveLength(4);
    expect(sets.findings()).toMatchObject([{ code: 'PrefixSetIncomplete' }]);
  });

  test('a chunk cannot be read', () => {
    const sets = complete();
    sets.want('feed', reference(one, three));
    sets.miss('feed', 'not found');
    expect(prefixesOf(sets)).toHaveLength(4);
    expect(sets.findings()).toMatchObject([{ message: expect.stringContaining('not found') }]);
  });
});

test('lists share chunks, and one goes when nobody needs it', () => {
  const sets = complete();
  sets.want('other', reference(one));
  expect(prefixesOf(sets, 'other')).toHaveLength(2);
  sets.want('feed', undefined);
  expect(sets.textOf(one)).toBe(texts.one);
  expect(sets.textOf(two)).toBeUndefined();
});
