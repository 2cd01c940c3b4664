import { formatPrefix, masked, type Prefix } from '../../api/cidr.ts';
import type { IpBlocklist } from '../../api/types.ts';
import type { PrefixSetContent } from '../source/policy-source.ts';
import type { DesiredList } from './desired-state.ts';
import { earliest, unexpired } from './expiry.ts';

/** A list as it is at one moment. */
export interface CurrentList {
  /** The same object as long as nothing of it changes, so that later stages can tell by identity. */
  readonly desired: DesiredList;
  readonly nextChangeAtMs: number | undefined;
  /** The narrowest entry that covers the prefix; undefined where none does or an exception spares it. */
  entryOver(prefix: Prefix): string | undefined;
}

interface Remembered {
  readonly current: CurrentList;
  readonly set: PrefixSetContent | undefined;
  readonly fromMs: number;
}

/**
 * A host changes often, its lists seldom, and they may hold 10,000 prefixes
 * each. What was made of an object holds until its next expiry; objects are
 * never changed in place. A clock that was set back makes it anew.
 */
const remembered = new WeakMap<IpBlocklist, Remembered>();

/** A larger list is not looked through for sources that are never blocked: the tables for that would take more memory than the list. */
const MAX_LOOKED_UP = 100_000;

/** What of a list has not expired at `nowMs`; `set` is what it has out of ConfigMaps, which does not expire. */
export function currentList(list: IpBlocklist, nowMs: number, set?: PrefixSetContent): CurrentList {
  const known = remembered.get(list);
  if (
    known &&
    known.set === set &&
    known.fromMs <= nowMs &&
    nowMs < (known.current.nextChangeAtMs ?? Number.POSITIVE_INFINITY)
  ) {
    return known.current;
  }
  const entries = unexpired(list.spec.entries, nowMs);
  const except = unexpired(list.spec.except, nowMs);
  const cidrs = (prefixes: readonly { readonly cidr: string }[]) => prefixes.map(({ cidr }) => cidr);
  const desired: DesiredList = {
    name: list.metadata.name,
    enforce: list.spec.mode === 'Enforce',
    allTraffic: list.spec.traffic === 'All',
    entries: united(cidrs(entries.prefixes), set?.prefixes ?? []),
    except: cidrs(except.prefixes),
  };
  let lookUps: { entries: CoverLookUp; except: CoverLookUp } | undefined;
  const current: CurrentList = {
    desired,
    nextChangeAtMs: earliest([entries.nextChangeAtMs, except.nextChangeAtMs]),
    entryOver(prefix) {
      if (desired.entries.length > MAX_LOOKED_UP) return undefined;
      lookUps ??= { entries: coverLookUp(desired.entries), except: coverLookUp(desired.except) };
      return lookUps.except(prefix) === undefined ? lookUps.entries(prefix) : undefined;
    },
  };
  remembered.set(list, { current, set, fromMs: nowMs });
  return current;
}

/** Both are distinct in themselves. */
function united(inline: readonly string[], others: readonly string[]): readonly string[] {
  if (inline.length === 0) return others;
  const known = new Set(inline);
  return [...inline, ...others.filter((cidr) => !known.has(cidr))];
}

type CoverLookUp = (prefix: Prefix) => string | undefined;

/** One hash set, asked once for each length that occurs. */
function coverLookUp(cidrs: readonly string[]): CoverLookUp {
  const known = new Set(cidrs);
  const lengths = { 4: new Set<number>(), 6: new Set<number>() };
  for (const cidr of cidrs) lengths[cidr.includes(':') ? 6 : 4].add(Number(cidr.slice(cidr.indexOf('/') + 1)));
  const narrowFirst = {
    4: [...lengths[4]].sort((a, b) => b - a),
    6: [...lengths[6]].sort((a, b) => b - a),
  };
  return (prefix) => {
    for (const length of narrowFirst[prefix.family]) {
      if (length > prefix.length) continue;
      const cidr = formatPrefix(masked({ ...prefix, length }));
      if (known.has(cidr)) return cidr;
    }
    return undefined;
  };
}
