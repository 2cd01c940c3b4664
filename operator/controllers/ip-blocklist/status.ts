import { parseTime } from '../../../api/time.ts';
import type { EntryCounts, IpBlocklistStatus } from '../../../api/types/ip-blocklist.ts';
import type { TargetView } from '../../reports/view.ts';
import {
  accepted,
  type Concern,
  conditionsOf,
  degraded,
  nodeCounts,
  programmed,
  summaryOf,
} from '../../status/conditions.ts';
import type { StoredList } from '../../stored/policy-object.ts';
import type { PrefixSetResult } from './prefix-set.ts';

const maxRefusedLines = 20;
const maxInt32 = 2 ** 31 - 1;

/** What became of the entries of the spec, at a time. */
export interface InlineEntries {
  readonly given: number;
  readonly expired: number;
  /** Distinct prefixes that are listed, less those that are in the ConfigMaps as well. */
  readonly effective: number;
  /** When the next entry ends, by the wall clock. */
  readonly nextEndMs?: number;
}

export function inlineEntries(list: StoredList, prefixSet: PrefixSetResult | undefined, wallMs: number): InlineEntries {
  const entries = list.spec?.entries ?? [];
  const live = new Set<string>();
  let expired = 0;
  let nextEndMs: number | undefined;
  for (const { cidr, expiresAt } of entries) {
    const endMs = expiresAt === undefined ? undefined : parseTime(expiresAt);
    if (endMs !== undefined && endMs <= wallMs) {
      expired++;
      continue;
    }
    if (endMs !== undefined && (nextEndMs === undefined || endMs < nextEndMs)) nextEndMs = endMs;
    if (prefixSet?.contains(cidr) !== true) live.add(cidr);
  }
  return { given: entries.length, expired, effective: live.size, ...(nextEndMs === undefined ? {} : { nextEndMs }) };
}

export interface ListStatusInput {
  readonly list: StoredList;
  readonly view: TargetView;
  /** What the status says. */
  readonly before: IpBlocklistStatus;
  readonly inline: InlineEntries;
  /** Of a list with configMapRefs; undefined before they were read. */
  readonly prefixSet: PrefixSetResult | undefined;
  readonly concerns: readonly Concern[];
  readonly wallMs: number;
}

/** What the status of a list is to say. */
export function listStatus({
  list,
  view,
  before,
  inline,
  prefixSet,
  concerns,
  wallMs,
}: ListStatusInput): IpBlocklistStatus {
  const { generation } = list.metadata;
  const problem = prefixSet?.problem === undefined ? [] : [prefixSet.problem];
  const statements = {
    Accepted: accepted(list.refusal, 'list'),
    Programmed: programmed(view, list.refusal),
    Degraded: degraded(view, [...problem, ...concerns]),
  };
  const set = wantedPrefixSet(list, prefixSet);
  const entries = entryCounts(list, before, inline, prefixSet);
  return {
    observedGeneration: generation,
    conditions: conditionsOf(before.conditions, statements, generation, wallMs),
    nodes: nodeCounts(view),
    summary: summaryOf(view),
    ...(entries === undefined ? {} : { entries }),
    ...(set === undefined ? {} : { prefixSet: set }),
    packetsDropped: Math.min(view.sums.packetsDropped, Number.MAX_SAFE_INTEGER),
  };
}

/** Whether ConfigMaps belong to what is to be in force; a refused list keeps what it had. */
const usesConfigMaps = ({ spec }: StoredList): boolean => spec !== undefined && (spec.configMapRefs ?? []).length > 0;

/** The prefixes that agents are to have in force: as long as nothing newer is known, those that the status names. */
export function wantedPrefixSet(
  list: StoredList,
  prefixSet: PrefixSetResult | undefined,
): IpBlocklistStatus['prefixSet'] | undefined {
  if (list.spec !== undefined && !usesConfigMaps(list)) return undefined;
  return list.spec === undefined || prefixSet === undefined ? list.status.prefixSet : prefixSet.prefixSet;
}

function entryCounts(
  list: StoredList,
  before: IpBlocklistStatus,
  inline: InlineEntries,
  prefixSet: PrefixSetResult | undefined,
): EntryCounts | undefined {
  // What is in force is the last good version, of which only the earlier counts are known.
  if (list.spec === undefined) return before.entries;
  if (usesConfigMaps(list) && prefixSet === undefined) return before.entries;
  const refusedLines = prefixSet?.refusedLines.slice(0, maxRefusedLines) ?? [];
  return {
    given: int32(inline.given + (prefixSet?.given ?? 0)),
    effective: int32(inline.effective + (prefixSet?.effective ?? 0)),
    expired: inline.expired,
    refused: int32(prefixSet?.refused ?? 0),
    ...(refusedLines.length > 0 ? { refusedLines: refusedLines.map((line) => ({ ...line })) } : {}),
  };
}

const int32 = (count: number): number => Math.min(count, maxInt32);

/** What is left of a status when all is taken away that may change without being news. */
export function newsOfList({ packetsDropped: _, ...rest }: IpBlocklistStatus): unknown {
  return rest;
}
