import { formatPrefix, type Prefix, parsePrefixOrAddress } from '../../api/cidr.ts';
import { PortcullisError } from '../../api/errors.ts';
import { BpfMap, mapFlag, mapType } from '../libbpf/map.ts';
import { decodeTrieKey, encodeTrieKey } from './codec.ts';

export interface TrieEntry {
  readonly prefix: Prefix;
  readonly value: Buffer;
}

/** A prefix that resolve() or a schema has already checked. */
export const trustedPrefix = (cidr: string): Prefix => {
  const prefix = parsePrefixOrAddress(cidr);
  if (!prefix) throw new PortcullisError('Internal', `${JSON.stringify(cidr)} is not a prefix`, { value: cidr });
  return prefix;
};

/** Makes a trie hold exactly these entries, in place: first what is new or other, then what goes. Returns what did not fit. */
export const replaceEntries = (map: BpfMap, entries: readonly TrieEntry[]): TrieEntry[] => {
  const wanted = new Map(entries.map((entry) => [encodeTrieKey(entry.prefix).toString('hex'), entry]));
  const gone = new Map<string, Buffer>();
  const unchanged = new Set<string>();
  for (const key of map.keys()) {
    const name = key.toString('hex');
    const entry = wanted.get(name);
    if (!entry) gone.set(name, key);
    else if (map.lookup(key)?.equals(entry.value)) unchanged.add(name);
  }
  // Where there is no room for both, what goes makes room first.
  const room = map.shape.maxEntries - unchanged.size - gone.size;
  const news = [...wanted].filter(([name]) => !unchanged.has(name));
  if (news.length > room) for (const key of gone.values()) map.delete(key);
  const refused: TrieEntry[] = [];
  let free = map.shape.maxEntries - unchanged.size;
  for (const [name, entry] of news) {
    if (free-- <= 0) refused.push(entry);
    else map.update(Buffer.from(name, 'hex'), entry.value);
  }
  for (const key of gone.values()) map.delete(key);
  return refused;
};

/** A new trie that holds exactly these entries; for slots of lists4 and their like, swapped in whole. */
export const buildTrie = async (name: string, family: 4 | 6, entries: readonly TrieEntry[]): Promise<BpfMap> => {
  const keyBytes = family === 4 ? 8 : 20;
  const map = BpfMap.create(name, {
    type: mapType.lpmTrie,
    keyBytes,
    valueBytes: 8,
    maxEntries: Math.max(entries.length, 1),
    flags: mapFlag.noPrealloc,
  });
  const keys = Buffer.concat(entries.map(({ prefix }) => encodeTrieKey(prefix)));
  const values = Buffer.concat(entries.map(({ value }) => value));
  await map.updateBatch(keys, values, entries.length);
  return map;
};

export const trieEntries = (map: BpfMap): { prefix: Prefix; value: Buffer }[] =>
  map.keys().flatMap((key) => {
    const value = map.lookup(key);
    return value ? [{ prefix: decodeTrieKey(key), value }] : [];
  });

export const describePrefix = formatPrefix;
