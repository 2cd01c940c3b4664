import { type Finding, findingOf } from '../finding.ts';
import { u32 } from '../libbpf/map.ts';
import type { DesiredState } from '../resolve/desired-state.ts';
import { flattenClasses } from '../resolve/lists.ts';
import { encodeAddress } from './codec.ts';
import type { ConcernFilter } from './concern.ts';
import { concern, sourceClass } from './layout.ts';
import type { NodeTables } from './tables.ts';
import { replaceEntries, type TrieEntry, trustedPrefix } from './tries.ts';

/** Whose scans are looked for. */
export const applyOwnAddresses = (tables: NodeTables, desired: DesiredState): Finding[] => {
  const map = tables.map('own');
  const wanted = new Map(
    desired.ownAddresses.map((address) => {
      const { family, value } = trustedPrefix(address);
      const key = encodeAddress({ family, value });
      return [key.toString('hex'), key];
    }),
  );
  const standing = new Set([...map.entries()].map(({ key }) => key.toString('hex')));
  const room = map.shape.maxEntries - standing.size;
  let added = 0;
  let refused = 0;
  for (const [name, key] of wanted) {
    if (standing.has(name)) continue;
    if (added++ < room) map.update(key, u32(1));
    else refused++;
  }
  for (const name of standing) if (!wanted.has(name)) map.delete(Buffer.from(name, 'hex'));
  return refused === 0
    ? []
    : [
        findingOf(
          'TableFull',
          `${refused} of the node's own addresses found no room: what goes to them is not detected`,
          { field: '--max-own-addresses' },
        ),
      ];
};

/** The never-block set and connected prefixes, in place: what is new first. */
export const applyClasses = (tables: NodeTables, filter: ConcernFilter, desired: DesiredState): Finding[] => {
  const entries: TrieEntry[] = flattenClasses(desired).map(({ cidr, neverBlock, onLink }) => {
    const value = Buffer.alloc(8);
    value.writeUInt32LE((neverBlock ? sourceClass.CLASS_NEVER_BLOCK : 0) | (onLink ? sourceClass.CLASS_ON_LINK : 0));
    return { prefix: trustedPrefix(cidr), value };
  });
  // resolve() gives the most important first; flattening sorts, so importance is looked up again.
  const rank = new Map(desired.neverBlock.map(({ cidr }, i) => [cidr, i]));
  const order = new Map(flattenClasses(desired).map(({ cidr }, i) => [entries[i]!, rank.get(cidr) ?? rank.size]));
  const refused: TrieEntry[] = [];
  for (const family of [4, 6] as const) {
    const ofFamily = entries
      .filter(({ prefix }) => prefix.family === family)
      .sort((a, b) => order.get(a)! - order.get(b)!);
    refused.push(...replaceEntries(tables.map(`class${family}`), ofFamily));
  }
  for (const { prefix } of entries) filter.add(prefix, concern.CONCERN_CLASS);
  return refused.length === 0
    ? []
    : [
        findingOf('TableFull', `${refused.length} prefixes of the never-block set found no room`, {
          field: '--max-never-block',
        }),
      ];
};
