import { comparePrefixes } from '../../../agent/resolve/prefix-fold.ts';
import { contains, masked, type Prefix } from '../../../api/cidr.ts';

/** By family: no prefix is made wider than this. */
export type MinLengths = Readonly<Record<4 | 6, number>>;

/**
 * The same addresses in as few prefixes as there can be, in ascending order: what lies in another is left out, and two
 * halves become one, up to `minLengths`. Nothing is added.
 */
export function foldPrefixes(prefixes: readonly Prefix[], minLengths: MinLengths): Prefix[] {
  const folded: Prefix[] = [];
  for (const prefix of [...prefixes].sort(comparePrefixes)) {
    const before = folded.at(-1);
    if (before !== undefined && contains(before, prefix)) continue;
    folded.push(prefix);
    for (;;) {
      const [left, right] = folded.slice(-2);
      const parent = right && parentOf(left!, right, minLengths);
      if (parent === undefined) break;
      folded.splice(-2, 2, parent);
    }
  }
  return folded;
}

function parentOf(left: Prefix, right: Prefix, minLengths: MinLengths): Prefix | undefined {
  if (left.length !== right.length || left.length <= minLengths[left.family]) return undefined;
  const parent = masked({ ...left, length: left.length - 1 });
  return contains(parent, right) ? parent : undefined;
}
