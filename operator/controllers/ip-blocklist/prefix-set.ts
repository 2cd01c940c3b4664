import type { PrefixSet, RefusedLine } from '../../../api/types/ip-blocklist.ts';

/** What became of the ConfigMaps that one IpBlocklist refers to. */
export interface PrefixSetResult {
  /** Lines that hold an entry, good or bad. */
  readonly given: number;
  readonly refused: number;
  /** At most 20; never what stands there. */
  readonly refusedLines: readonly RefusedLine[];
  /** Distinct prefixes. */
  readonly effective: number;
  /** Absent for an empty set: agents keep none. Otherwise what `status.prefixSet` is to say. */
  readonly prefixSet?: PrefixSet;
  /** Whether a prefix in canonical form is in the set: an entry of the spec that is, too, counts once. */
  contains(cidr: string): boolean;
  /** Why the set is not what the ConfigMaps say, such as one that is missing: the last good set holds meanwhile. */
  readonly problem?: { readonly reason: string; readonly message: string };
}

/**
 * The prefixes of ConfigMaps as the status of a list needs them; the controller of PrefixChunks provides it.
 *
 * The status of a list has one writer, operator/controllers/ip-blocklist/controller.ts. It writes `prefixSet` when this says
 * so; the controller of chunks sees that written, in `shared.lists`, and only then makes the chunks that are missing,
 * and deletes those that no status names.
 */
export interface PrefixSets {
  /**
   * Of a list that has configMapRefs. Undefined as long as the ConfigMaps were not read since this replica leads: then the
   * status keeps the set that it names.
   */
  resultOf(list: { readonly uid: string; readonly generation: number }): PrefixSetResult | undefined;
  /** Tells the name of a list whose result has changed, until what it returns is called. */
  subscribe(listener: (listName: string) => void): () => void;
}
