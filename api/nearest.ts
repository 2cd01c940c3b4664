/** Edits (insert, delete, replace) that turn one word into the other. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** The word of `known` that was probably meant: at most a third of its letters wrong; undefined when none is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  // No known word is near that length, and the distance costs its square.
  if (word.length > 64) return undefined;
  const lower = word.toLowerCase();
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const edits = distance(lower, candidate.toLowerCase());
    if (edits < bestDistance && edits <= Math.max(1, Math.floor(candidate.length / 3))) {
      best = candidate;
      bestDistance = edits;
    }
  }
  return best;
}
