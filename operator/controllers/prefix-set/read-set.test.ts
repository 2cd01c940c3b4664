import { describe, expect, it } from 'vitest';
import { chunkName, chunkText, setDigest } from './chunks.ts';
import { type ConfigMapContent, type PrefixSetInput, readPrefixSet } from './read-set.ts';

const uid = '6f1b0c1e-0000-4000-8000-000000000000';
const previous = { digest: 'd', prefixes: 7, chunks: ['6f1b0c1e-aa'] };

type Found = ConfigMapContent | 'NotFound' | 'Forbidden';

async function read(maps: Readonly<Record<string, Found>>, more: Partial<PrefixSetInput> = {}) {
  const asked: string[] = [];
  const configMapRefs = Object.entries(maps).flatMap(([name, found]) =>
    Object.keys(typeof found === 'string' ? { all: '' } : { ...found.data, ...found.binaryData }).map((key) => ({
      name,
      key,
    })),
  );
  const answer = await readPrefixSet(
    { uid, configMapRefs, allowWide: false, entries: [], previous, ...more },
    async (name) => {
      asked.push(name);
      return maps[name] ?? 'NotFound';
    },
    async () => {},
  );
  return { ...answer, asked };
}

describe('the prefixes of ConfigMaps', () => {
  it('become one set, sorted, each once, named by what it holds', async () => {
    const { result, content } = await read({
      a: { data: { x: '192.0.2.0/24\n198.51.100.1', y: '10.0.0.0/8' } },
      b: { data: { z: '192.0.2.0/24' } },
    });
    const text = '10.0.0.0/8\n192.0.2.0/24\n198.51.100.1/32';
    const chunks = [chunkName(uid, text)];
    expect(result).toMatchObject({ given: 4, refused: 0, refusedLines: [], effective: 3 });
    expect(result.prefixSet).toEqual({ digest: setDigest(chunks), prefixes: 3, chunks });
    expect(chunkText(content!.prefixes, content!.chunks[0]!)).toBe(text);
  });

  it('are read one ConfigMap at a time, each once', async () => {
    const { asked } = await read({ a: { data: { x: '', y: '' } } });
    expect(asked).toEqual(['a']);
  });

  it('are none when the keys are empty: that is a wish', async () => {
    const { result, content } = await read({ a: { data: { x: '# nobody today\n' } } });
    expect(result).toMatchObject({ given: 0, effective: 0 });
    expect(result.prefixSet).toBeUndefined();
    expect(result.problem).toBeUndefined();
    expect(content).toBeUndefined();
  });

  it('tell which of the list’s own entries are there as well', async () => {
    const { result } = await read({ a: { data: { x: '192.0.2.0/24' } } }, { entries: ['192.0.2.0/24', '10.0.0.0/8'] });
    expect(['192.0.2.0/24', '10.0.0.0/8'].map((cidr) => result.contains(cidr))).toEqual([true, false]);
  });

  it('lose the lines that are refused, and say where these stand', async () => {
    const { result } = await read({ a: { data: { x: '192.0.2.1/24\n192.0.2.0/25', y: 'secret\n10.0.0.0/8' } } });
    expect(result).toMatchObject({ given: 4, refused: 2, effective: 2 });
    expect(result.refusedLines).toEqual([
      { name: 'a', key: 'x', line: 1, reason: 'HostBits' },
      { name: 'a', key: 'y', line: 1, reason: 'NotAPrefix' },
    ]);
    expect(JSON.stringify(result)).not.toContain('secret');
  });

  it('name at most 20 refused lines', async () => {
    const bad = `192.0.2.0/24\n${'x\n'.repeat(15)}`;
    const { result } = await read({ a: { data: { x: bad, y: bad } } });
    expect(result.refused).toBe(30);
    expect(result.refusedLines).toHaveLength(20);
  });
});

describe('a key that cannot be read', () => {
  it.each<[string, Found, string]>([
    ['is not there', 'NotFound', 'NotFound'],
    ['is binary', { binaryData: { all: 'AAAA' } }, 'NotText'],
    ['is something else, such as an error page', { data: { all: '<html>\nsorry\n</html>' } }, 'NoPrefixes'],
    ['may not be read', 'Forbidden', 'Forbidden'],
  ])('leaves the whole set as it was when it %s', async (_, found, reason) => {
    const { result, content } = await read({ good: { data: { x: '192.0.2.0/24' } }, bad: found });
    expect(result.prefixSet).toEqual(previous);
    expect(result.effective).toBe(7);
    expect(content).toBeUndefined();
    expect(result.refusedLines).toContainEqual({ name: 'bad', key: 'all', line: 0, reason });
    expect(result.refused).toBeGreaterThan(0);
    expect(result.problem?.reason).toBe(reason === 'Forbidden' ? 'ConfigMapForbidden' : 'ConfigMapUnreadable');
    expect(result.problem?.message).toMatch(
      /^ConfigMap bad, key all: .*; the 7 prefixes that were read before stay in force$/,
    );
  });

  it('is also one that a ConfigMap does not have', async () => {
    const { result } = await read({ a: { data: { x: '' } } }, { configMapRefs: [{ name: 'a', key: 'toString' }] });
    expect(result.refusedLines).toEqual([{ name: 'a', key: 'toString', line: 0, reason: 'NotFound' }]);
  });

  it('leaves nothing in force where nothing was', async () => {
    const { result } = await read({ bad: 'NotFound' }, { previous: undefined });
    expect(result.prefixSet).toBeUndefined();
    expect(result.problem?.message).toContain('no prefixes of ConfigMaps are in force');
  });

  it('names several of them shortly', async () => {
    const { result } = await read({ a: 'NotFound', b: 'NotFound', c: 'NotFound' });
    expect(result.problem?.message).toContain('ConfigMap a, key all: is not there, and 2 more;');
  });
});
