import type { ConfigMapRef, PrefixSet, RefusedLine } from '../../../api/types/ip-blocklist.ts';
import type { PrefixSetResult } from '../ip-blocklist/prefix-set.ts';
import { type Chunk, chunksOf, maxChunkBytes, maxChunks, setDigest } from './chunks.ts';
import { PrefixTable, type SortedPrefixes } from './prefix-table.ts';
import { readLines } from './read-lines.ts';
import { newPrefixWords, readPrefix } from './read-prefix.ts';

/** As the API server gives it. */
export interface ConfigMapContent {
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
}

/** Why a whole key is not used. */
export type KeyFault = 'NotFound' | 'Forbidden' | 'NotText' | 'NoPrefixes';

export interface PrefixSetInput {
  readonly uid: string;
  readonly configMapRefs: readonly ConfigMapRef[];
  readonly allowWide: boolean;
  /** Canonical prefixes of the list's own entries. */
  readonly entries: readonly string[];
  /** What the status of the list names now. */
  readonly previous: PrefixSet | undefined;
}

export interface PrefixSetRead {
  readonly result: PrefixSetResult;
  /** What goes into the chunks that the result names; absent where the previous set stays, and where there is none. */
  readonly content?: { readonly prefixes: SortedPrefixes; readonly chunks: readonly Chunk[] };
}

/** What the schema admits. */
const maxRefusedLines = 20;

/** Sentences for people, about a key of a ConfigMap. */
const faultTexts: Readonly<Record<KeyFault, string>> = {
  NotFound: 'is not there',
  Forbidden: 'may not be read: the operator lacks the right to get ConfigMaps',
  NotText: 'holds binary data and no text',
  NoPrefixes: 'has lines, and none of them is a prefix',
};

/**
 * Reads the keys that a list refers to, one ConfigMap at a time, and cuts what they hold into chunks. A key that cannot be
 * read leaves the whole set as it was: nobody could tell which of its prefixes came from that key. `read` gives a ConfigMap
 * or why there is none, `pause` lets others run in between.
 */
export async function readPrefixSet(
  { uid, configMapRefs, allowWide, entries, previous }: PrefixSetInput,
  read: (name: string) => Promise<ConfigMapContent | 'NotFound' | 'Forbidden'>,
  pause: () => Promise<void>,
): Promise<PrefixSetRead> {
  const table = new PrefixTable();
  const refusedLines: RefusedLine[] = [];
  const problems: string[] = [];
  let given = 0;
  let refused = 0;
  let isForbidden = false;
  const refuseKey = (ref: ConfigMapRef, reason: KeyFault) => {
    problems.push(`ConfigMap ${ref.name}, key ${ref.key}: ${faultTexts[reason]}`);
    if (refusedLines.length < maxRefusedLines) refusedLines.push({ ...ref, line: 0, reason });
  };
  for (const [name, keys] of keysByName(configMapRefs)) {
    const found = await read(name);
    isForbidden ||= found === 'Forbidden';
    for (const key of keys) {
      const ref = { name, key };
      const text = typeof found === 'string' ? { fault: found } : textOf(found, key);
      if (typeof text !== 'string') {
        refuseKey(ref, text.fault);
        refused++;
        continue;
      }
      const lines = readLines(text, table, { allowWide, maxRefusedLines: maxRefusedLines - refusedLines.length });
      given += lines.given;
      // An error page where a list should be is no wish to block nobody.
      if (lines.given > 0 && lines.refused === lines.given) refuseKey(ref, 'NoPrefixes');
      refused += lines.refused;
      for (const line of lines.refusedLines) {
        if (refusedLines.length < maxRefusedLines) refusedLines.push({ ...ref, ...line });
      }
      await pause();
    }
  }
  const counts = { given, refused, refusedLines };
  const keep = (reason: string, message: string): PrefixSetRead => ({
    result: {
      ...counts,
      effective: previous?.prefixes ?? 0,
      ...(previous === undefined ? {} : { prefixSet: previous }),
      contains: () => false,
      problem: { reason, message: `${message}; ${standing(previous)}` },
    },
  });
  if (problems.length > 0) {
    return keep(isForbidden ? 'ConfigMapForbidden' : 'ConfigMapUnreadable', summary(problems));
  }
  const prefixes = table.sorted();
  await pause();
  const chunks = await inTurns(chunksOf(prefixes, uid, previous?.chunks ?? []), pause);
  if (chunks === undefined) {
    return keep('TooManyPrefixes', `the prefixes need more than ${maxChunks} chunks of ${maxChunkBytes / 1024} KiB`);
  }
  const both = entries.filter((cidr) => holds(prefixes, cidr));
  const inBoth = new Set(both);
  const result = { ...counts, effective: prefixes.count, contains: (cidr: string) => inBoth.has(cidr) };
  if (chunks.length === 0) return { result };
  const names = chunks.map(({ name }) => name);
  const prefixSet = { digest: setDigest(names), prefixes: prefixes.count, chunks: names };
  return { result: { ...result, prefixSet }, content: { prefixes, chunks } };
}

/** Each ConfigMap once, also when several of its keys are referred to; a key that is named twice counts once. */
function keysByName(refs: readonly ConfigMapRef[]): Map<string, Set<string>> {
  const keys = new Map<string, Set<string>>();
  for (const { name, key } of refs) {
    const of = keys.get(name);
    if (of === undefined) keys.set(name, new Set([key]));
    else of.add(key);
  }
  return keys;
}

function textOf({ data, binaryData }: ConfigMapContent, key: string): string | { readonly fault: KeyFault } {
  if (data && Object.hasOwn(data, key)) return data[key]!;
  return { fault: binaryData && Object.hasOwn(binaryData, key) ? 'NotText' : 'NotFound' };
}

const scratch = newPrefixWords();

function holds(prefixes: SortedPrefixes, cidr: string): boolean {
  return readPrefix(cidr, 0, cidr.length, true, scratch) === undefined && prefixes.has(scratch);
}

function standing(previous: PrefixSet | undefined): string {
  return previous === undefined
    ? 'no prefixes of ConfigMaps are in force'
    : `the ${previous.prefixes} prefixes that were read before stay in force`;
}

function summary([first, ...more]: readonly string[]): string {
  return more.length === 0 ? first! : `${first}, and ${more.length} more`;
}

async function inTurns<T>(steps: Generator<undefined, T>, pause: () => Promise<void>): Promise<T> {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    await pause();
  }
}
