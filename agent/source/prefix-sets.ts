/** Prefixes of lists that come from ConfigMaps: whole sets of PrefixChunks, checked against their names. No I/O. */
import { createHash } from 'node:crypto';
import { isCanonicalPrefix } from '../../api/cidr.ts';
import { type Finding, findingOf } from '../finding.ts';
import type { PrefixSetContent } from './policy-source.ts';

/** `status.prefixSet` of an IpBlocklist. */
export interface PrefixSetReference {
  readonly digest: string;
  /** Names of PrefixChunks, in order. */
  readonly chunks: readonly string[];
}

interface Chunk {
  readonly text: string;
  readonly prefixes: readonly string[];
}

interface ListSet {
  /** What is in force. */
  current?: { readonly reference: PrefixSetReference; readonly content: PrefixSetContent };
  /** What shall be in force; absent: nothing. */
  wanted?: PrefixSetReference;
  /** Why it is not in force yet. */
  failure?: string;
}

/** As the operator makes it: a chunk's name ends with the first 40 hex digits of the SHA-256 of its prefixes. */
export function contentDigest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 40);
}

/** SHA-256 of the names of the chunks, joined by newlines. */
export function setDigest(chunks: readonly string[]): string {
  return createHash('sha256').update(chunks.join('\n')).digest('hex');
}

/** The prefixes of a chunk, or what is wrong with it. */
export function readChunk(name: string, text: string): readonly string[] | { readonly fault: string } {
  if (!name.endsWith(`-${contentDigest(text)}`)) return { fault: `${name} does not hold what its name says` };
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  const bad = lines.find((line) => !isCanonicalPrefix(line));
  return bad === undefined ? lines : { fault: `${name} holds ${JSON.stringify(bad.slice(0, 50))}, which is no prefix` };
}

/** The sets of all lists. A set changes as a whole or not at all; chunks that no set needs are forgotten. */
export class PrefixSets {
  readonly #sets = new Map<string, ListSet>();
  readonly #chunks = new Map<string, Chunk>();
  #contents: ReadonlyMap<string, PrefixSetContent> = new Map();

  /** By name of the list: its prefixes. The same Map as long as nothing changes. */
  get contents(): ReadonlyMap<string, PrefixSetContent> {
    return this.#contents;
  }

  /** By name of the list: what is in force. */
  references(): ReadonlyMap<string, PrefixSetReference> {
    return new Map([...this.#sets].flatMap(([list, { current }]) => (current ? [[list, current.reference]] : [])));
  }

  /** A chunk that is held, to be kept on disk; undefined when it is not. */
  textOf(chunk: string): string | undefined {
    return this.#chunks.get(chunk)?.text;
  }

  /** Says which set a list shall have; undefined: none, which holds at once. */
  want(list: string, reference: PrefixSetReference | undefined): void {
    if (reference === undefined || reference.chunks.length === 0) {
      if (this.#sets.delete(list)) this.#publish();
      return;
    }
    const set = this.#sets.get(list) ?? {};
    if (setDigest(reference.chunks) !== reference.digest) {
      this.#sets.set(list, { ...set, failure: `the digest ${reference.digest} is not that of its chunks` });
      return;
    }
    const { failure: _, ...rest } = set;
    this.#sets.set(list, { ...rest, wanted: reference });
    this.#complete(list);
  }

  /** Names of the chunks that a list still lacks. */
  missing(list: string): string[] {
    const { wanted } = this.#sets.get(list) ?? {};
    return [...new Set(wanted?.chunks ?? [])].filter((name) => !this.#chunks.has(name));
  }

  /** Takes a chunk of a list; false when it is not what its name says. */
  take(list: string, name: string, text: string): boolean {
    const prefixes = readChunk(name, text);
    if ('fault' in prefixes) {
      this.miss(list, prefixes.fault);
      return false;
    }
    this.#chunks.set(name, { text, prefixes });
    this.#complete(list);
    return true;
  }

  /** A chunk could not be read; the last complete set stays. */
  miss(list: string, reason: string): void {
    const set = this.#sets.get(list);
    if (set) this.#sets.set(list, { ...set, failure: reason });
  }

  /** Forgets the sets of all other lists. */
  keepOnly(lists: ReadonlySet<string>): void {
    const gone = [...this.#sets.keys()].filter((list) => !lists.has(list));
    for (const list of gone) this.#sets.delete(list);
    if (gone.length > 0) this.#publish();
  }

  findings(): Finding[] {
    return [...this.#sets].flatMap(([list, { failure }]) => {
      if (failure === undefined) return [];
      const object = `IpBlocklist/${list}`;
      const message = `the prefixes of ${object} out of ConfigMaps are not all there: ${failure}`;
      return [findingOf('PrefixSetIncomplete', message, { object, field: 'spec.configMapRefs' })];
    });
  }

  #complete(list: string): void {
    const set = this.#sets.get(list);
    if (set?.wanted === undefined || this.missing(list).length > 0) return;
    const reference = set.wanted;
    if (set.current?.reference.digest !== reference.digest) {
      const prefixes = reference.chunks.flatMap((name) => this.#chunks.get(name)!.prefixes);
      const content = { digest: reference.digest, prefixes };
      this.#sets.set(list, { wanted: reference, current: { reference, content } });
      this.#publish();
    }
  }

  #publish(): void {
    const contents = new Map<string, PrefixSetContent>();
    const used = new Set<string>();
    for (const [list, { current, wanted }] of this.#sets) {
      if (current) contents.set(list, current.content);
      for (const name of [...(current?.reference.chunks ?? []), ...(wanted?.chunks ?? [])]) used.add(name);
    }
    for (const name of this.#chunks.keys()) if (!used.has(name)) this.#chunks.delete(name);
    this.#contents = contents;
  }
}
