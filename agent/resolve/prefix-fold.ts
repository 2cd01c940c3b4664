import { addressBits, type Prefix, parsePrefix } from '../../api/cidr.ts';
import { PortcullisError } from '../../api/errors.ts';

export interface PrefixItem<Item> {
  readonly prefix: Prefix;
  readonly item: Item;
}

export interface FoldedPrefix<State> {
  readonly prefix: Prefix;
  /** What holds in this prefix and outside of the narrower ones inside it. */
  readonly state: State;
  /** The same of the narrowest prefix around it, or the root's. */
  readonly outer: State;
}

/**
 * Walks prefixes as a trie would, wider before narrower, and folds the items of
 * each prefix into the state of the one around it. One result for each distinct
 * prefix, in order of address. O(n log n): one sort, then one pass with a stack.
 */
export function foldPrefixes<Item, State>(
  items: readonly PrefixItem<Item>[],
  root: State,
  fold: (state: State, item: Item) => State,
): FoldedPrefix<State>[] {
  const sorted = [...items].sort((a, b) => comparePrefixes(a.prefix, b.prefix));
  const results: FoldedPrefix<State>[] = [];
  const around: { prefix: Prefix; last: bigint; state: State }[] = [];
  for (let i = 0; i < sorted.length; ) {
    const { prefix } = sorted[i]!;
    let top = around.at(-1);
    while (top && (top.prefix.family !== prefix.family || top.last < prefix.value)) {
      around.pop();
      top = around.at(-1);
    }
    const outer = top ? top.state : root;
    let state = outer;
    for (; i < sorted.length && comparePrefixes(sorted[i]!.prefix, prefix) === 0; i++) {
      state = fold(state, sorted[i]!.item);
    }
    results.push({ prefix, state, outer });
    around.push({ prefix, last: lastAddress(prefix), state });
  }
  return results;
}

/** By family, address, length: the order in which a trie is walked. */
export function comparePrefixes(a: Prefix, b: Prefix): number {
  if (a.family !== b.family) return a.family - b.family;
  if (a.value !== b.value) return a.value < b.value ? -1 : 1;
  return a.length - b.length;
}

/** The prefix of a text that was validated before; anything else is a mistake of ours. */
export function prefixOf(cidr: string): Prefix {
  const prefix = parsePrefix(cidr);
  if (prefix === undefined) throw new PortcullisError('Internal', `${JSON.stringify(cidr)} is no prefix`);
  return prefix;
}

function lastAddress({ family, value, length }: Prefix): bigint {
  return value | ((1n << BigInt(addressBits(family) - length)) - 1n);
}
