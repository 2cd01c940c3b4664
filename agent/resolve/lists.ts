/**
 * Turns sets of overlapping prefixes into tables in which the longest match
 * alone gives the answer that all covering entries together give.
 */
import { formatPrefix } from '../../api/cidr.ts';
import { compareText } from './compare-text.ts';
import type { DesiredAllow, DesiredList, NeverBlockEntry } from './desired-state.ts';
import { foldPrefixes, type PrefixItem, prefixOf } from './prefix-fold.ts';

/** What a list does to the sources that it decides about. */
export interface ListWinner {
  readonly name: string;
  readonly enforce: boolean;
  readonly allTraffic: boolean;
}

export interface FlatListEntry {
  readonly cidr: string;
  /** `spared`: a wider entry holds around this prefix, but none does inside. */
  readonly winner: ListWinner | 'spared';
}

/** Which lists, by their rank, have an entry or an exception over a prefix: one bit each. */
interface Coverage {
  readonly entries: bigint;
  readonly excepts: bigint;
}

/** Strictest first; among equals the name decides, so that the outcome does not depend on order. */
function byStrictness(a: ListWinner, b: ListWinner): number {
  return (
    Number(b.enforce) - Number(a.enforce) || Number(b.allTraffic) - Number(a.allTraffic) || compareText(a.name, b.name)
  );
}

/**
 * One table out of several lists. A list holds where one of its entries covers
 * and none of its exceptions does; of the lists that hold, the strictest wins.
 * A prefix stands in the table only where the outcome differs from the one around it.
 */
export function flattenLists(lists: readonly DesiredList[]): FlatListEntry[] {
  const ranked = [...lists].sort(byStrictness);
  const items = ranked.flatMap((list, rank): PrefixItem<Coverage>[] => {
    const bit = 1n << BigInt(rank);
    const entry = { entries: bit, excepts: 0n };
    const except = { entries: 0n, excepts: bit };
    return [
      ...list.entries.map((cidr) => ({ prefix: prefixOf(cidr), item: entry })),
      ...list.except.map((cidr) => ({ prefix: prefixOf(cidr), item: except })),
    ];
  });
  const winners = ranked.map(({ name, enforce, allTraffic }): ListWinner => ({ name, enforce, allTraffic }));
  const uncovered: Coverage = { entries: 0n, excepts: 0n };
  const folded = foldPrefixes(items, uncovered, (state, item) => ({
    entries: state.entries | item.entries,
    excepts: state.excepts | item.excepts,
  }));
  return folded.flatMap(({ prefix, state, outer }) => {
    const rank = strictestRank(state);
    if (rank === strictestRank(outer)) return [];
    return [{ cidr: formatPrefix(prefix), winner: winners[rank] ?? 'spared' }];
  });
}

/** The lowest bit of the lists that hold; -1 when none does. */
function strictestRank({ entries, excepts }: Coverage): number {
  let holding = entries & ~excepts;
  if (holding === 0n) return -1;
  let rank = 0;
  while ((holding & 0xffff_ffffn) === 0n) {
    holding >>= 32n;
    rank += 32;
  }
  const word = Number(holding & 0xffff_ffffn);
  return rank + 31 - Math.clz32(word & -word);
}

/** One table of allow entries: of all that cover a prefix the latest expiry holds, and none at all is later than any. */
export function flattenAllow(allow: readonly DesiredAllow[]): DesiredAllow[] {
  const items = allow.map(({ cidr, expiresAtMs }) => ({
    prefix: prefixOf(cidr),
    item: expiresAtMs ?? Number.POSITIVE_INFINITY,
  }));
  return foldPrefixes(items, Number.NEGATIVE_INFINITY, Math.max).flatMap(({ prefix, state, outer }) => {
    if (state === outer) return [];
    const cidr = formatPrefix(prefix);
    return [state === Number.POSITIVE_INFINITY ? { cidr } : { cidr, expiresAtMs: state }];
  });
}

export interface SourceClass {
  readonly cidr: string;
  readonly neverBlock: boolean;
  readonly onLink: boolean;
}

/** One table of what is known about sources before any policy: a narrower prefix has the properties of the wider ones too. */
export function flattenClasses(known: {
  readonly neverBlock: readonly NeverBlockEntry[];
  readonly onLink: readonly string[];
}): SourceClass[] {
  const NEVER_BLOCK = 1;
  const ON_LINK = 2;
  const items = [
    ...known.neverBlock.map(({ cidr }) => ({ prefix: prefixOf(cidr), item: NEVER_BLOCK })),
    ...known.onLink.map((cidr) => ({ prefix: prefixOf(cidr), item: ON_LINK })),
  ];
  return foldPrefixes(items, 0, (state, item) => state | item).flatMap(({ prefix, state, outer }) => {
    if (state === outer) return [];
    return [{ cidr: formatPrefix(prefix), neverBlock: (state & NEVER_BLOCK) !== 0, onLink: (state & ON_LINK) !== 0 }];
  });
}
