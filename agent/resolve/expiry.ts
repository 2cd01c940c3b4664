import { parseTime } from '../../api/time.ts';

export interface ExpiringPrefix {
  readonly cidr: string;
  readonly expiresAt?: string;
}

export interface CurrentPrefix {
  readonly cidr: string;
  /** Absent: for ever. */
  readonly expiresAtMs?: number;
}

export interface CurrentPrefixes {
  readonly prefixes: readonly CurrentPrefix[];
  /** When the next of them ends; absent when none will. */
  readonly nextChangeAtMs?: number;
}

/** What has not expired at `nowMs`, each prefix once: of duplicates the latest expiry holds, and none at all is later than any. */
export function unexpired(entries: readonly ExpiringPrefix[], nowMs: number): CurrentPrefixes {
  const untilMs = new Map<string, number>();
  for (const { cidr, expiresAt } of entries) {
    const until =
      expiresAt === undefined ? Number.POSITIVE_INFINITY : (parseTime(expiresAt) ?? Number.NEGATIVE_INFINITY);
    if (until > nowMs && until > (untilMs.get(cidr) ?? nowMs)) untilMs.set(cidr, until);
  }
  let next = Number.POSITIVE_INFINITY;
  const prefixes: CurrentPrefix[] = [];
  for (const [cidr, until] of untilMs) {
    next = Math.min(next, until);
    prefixes.push(until === Number.POSITIVE_INFINITY ? { cidr } : { cidr, expiresAtMs: until });
  }
  return next === Number.POSITIVE_INFINITY ? { prefixes } : { prefixes, nextChangeAtMs: next };
}

/** The earliest of several times that may be absent. */
export function earliest(timesMs: Iterable<number | undefined>): number | undefined {
  let first: number | undefined;
  for (const time of timesMs) if (time !== undefined && (first === undefined || time < first)) first = time;
  return first;
}

/** Working for so many times as long as it took is left to others. */
const restsPerWork = 20;

/**
 * When to do again by itself what took `durationMs` and is due at `dueAtMs`: with thousands of exceptions that end one each
 * second it would take a large part of a processor. What ends in the kernel ends there in time.
 */
export function restedAt(dueAtMs: number | undefined, nowMs: number, durationMs: number): number | undefined {
  return dueAtMs === undefined ? undefined : Math.max(dueAtMs, nowMs + restsPerWork * durationMs);
}
