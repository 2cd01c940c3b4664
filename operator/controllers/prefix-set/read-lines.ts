import type { PrefixTable } from './prefix-table.ts';
import { newPrefixWords, type PrefixFault, readPrefix } from './read-prefix.ts';

export interface RefusedText {
  /** From 1 on. */
  readonly line: number;
  readonly reason: PrefixFault;
}

export interface LinesRead {
  /** Lines that are neither blank nor a comment. */
  readonly given: number;
  readonly refused: number;
  /** The first of them, as many as were asked for. */
  readonly refusedLines: readonly RefusedText[];
}

const lineFeed = 10;
const hash = 35;
const byteOrderMark = 0xfeff;
const entry = newPrefixWords();

/**
 * Adds the prefixes of a text to `table`: one a line, what follows a # is a comment, a bare address is a /32 or a /128. A
 * prefix with host bits is refused and not widened: the address that was meant is not what would be blocked.
 */
export function readLines(
  text: string,
  table: PrefixTable,
  { allowWide, maxRefusedLines }: { readonly allowWide: boolean; readonly maxRefusedLines: number },
): LinesRead {
  const refusedLines: RefusedText[] = [];
  let given = 0;
  let refused = 0;
  let line = 0;
  for (let start = text.charCodeAt(0) === byteOrderMark ? 1 : 0; start < text.length; ) {
    line++;
    let stop = start;
    let end = -1;
    for (; stop < text.length; stop++) {
      const code = text.charCodeAt(stop);
      if (code === lineFeed) break;
      if (code === hash && end === -1) end = stop;
    }
    if (end === -1) end = stop;
    const next = stop + 1;
    while (start < end && isBlank(text.charCodeAt(start))) start++;
    while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
    if (start < end) {
      given++;
      const reason = readPrefix(text, start, end, allowWide, entry);
      if (reason === undefined) table.add(entry);
      else {
        refused++;
        if (refusedLines.length < maxRefusedLines) refusedLines.push({ line, reason });
      }
    }
    start = next;
  }
  return { given, refused, refusedLines };
}

/** Space, tab, and the carriage return of files from Windows. */
const isBlank = (code: number): boolean => code === 32 || code === 9 || code === 13;
