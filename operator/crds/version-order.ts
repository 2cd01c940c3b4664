/**
 * Whether `version` is newer than `other`, by the order of Semantic Versioning: 0.2.0-rc.1 comes before 0.2.0, what follows a plus
 * does not count. What is no version is never newer: it must not keep anybody from being brought up to date.
 */
export function isNewer(version: string, other: string): boolean {
  const [a, b] = [parts(version), parts(other)];
  if (a === undefined || b === undefined) return false;
  for (let at = 0; at < 3; at++) if (a.numbers[at] !== b.numbers[at]) return a.numbers[at]! > b.numbers[at]!;
  if (a.pre.length === 0 || b.pre.length === 0) return a.pre.length === 0 && b.pre.length > 0;
  for (let at = 0; at < Math.max(a.pre.length, b.pre.length); at++) {
    const order = comparePre(a.pre[at], b.pre[at]);
    if (order !== 0) return order > 0;
  }
  return false;
}

function parts(version: string): { readonly numbers: readonly number[]; readonly pre: readonly string[] } | undefined {
  const match = /^v?(\d+)\.(\d+)\.(\d+)(?:-([\w.-]+))?(?:\+[\w.-]+)?$/.exec(version);
  if (match === null) return undefined;
  return { numbers: match.slice(1, 4).map(Number), pre: match[4]?.split('.') ?? [] };
}

/** Fewer identifiers come first, numbers before words. */
function comparePre(a: string | undefined, b: string | undefined): number {
  if (a === undefined || b === undefined) return Number(a !== undefined) - Number(b !== undefined);
  const [isNumberA, isNumberB] = [/^\d+$/.test(a), /^\d+$/.test(b)];
  if (isNumberA && isNumberB) return Number(a) - Number(b);
  if (isNumberA !== isNumberB) return isNumberA ? -1 : 1;
  return a < b ? -1 : Number(a > b);
}
