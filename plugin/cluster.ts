import type { KubeClient } from '../kube/client.ts';
import { type Clock, sleep } from '../kube/clock.ts';
import { isForbidden, isGone, isNotFound, isUnauthorized, KubeError } from '../kube/errors.ts';
import type { KubeObject, NewKubeObject } from '../kube/objects.ts';
import type { Resource } from '../kube/resources.ts';

/** Objects a page: 500 reports of 16 KiB are 8 MB, of which little is kept. */
const pageLimit = 500;
const maxRestarts = 3;

/**
 * What `keep` makes of every object of a kind; undefined leaves one out. Pages are read one after the other and forgotten, so
 * that 5,000 reports are never held together. Starts again when the pages expired meanwhile.
 */
export async function collect<T>(
  client: KubeClient,
  resource: Resource,
  keep: (object: KubeObject) => T | undefined,
  options: { readonly metadataOnly?: boolean; readonly signal?: AbortSignal } = {},
): Promise<T[]> {
  for (let restart = 0; ; restart++) {
    const kept: T[] = [];
    try {
      for (let next: string | undefined, isFirst = true; isFirst || next; isFirst = false) {
        const page = await client.list(resource, {
          limit: pageLimit,
          ...(next === undefined ? {} : { continue: next }),
          ...options,
        });
        for (const object of page.items) {
          const value = keep(object);
          if (value !== undefined) kept.push(value);
        }
        next = page.metadata.continue;
      }
      return kept;
    } catch (error) {
      if (!isGone(error) || restart === maxRestarts) throw error;
    }
  }
}

/** What could not be looked at, and why. */
export interface Missing {
  readonly what: string;
  readonly reason: string;
}

/** For what an answer is better with, and still worth giving without: a right or a kind that is not there is written down. */
export async function orMissing<T>(what: string, missing: Missing[], work: Promise<T>, otherwise: T): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isForbidden(error) && !isNotFound(error)) throw error;
    missing.push({ what, reason: isForbidden(error) ? 'you have no right to read them' : 'they are not there' });
    return otherwise;
  }
}

/** The API server's idea of the time. */
export interface ServerTime {
  /** In ms since 1970, exact to a second. */
  nowMs(): number;
}

const selfSubjectReviews: Resource = {
  group: 'authentication.k8s.io',
  version: 'v1',
  plural: 'selfsubjectreviews',
  kind: 'SelfSubjectReview',
  namespaced: false,
};

/**
 * Ages are told by the server's clock alone: that of this machine may be wrong, and so may those of the nodes. A review of who
 * one is changes nothing, is allowed to everybody who is known, and carries the time of its creation.
 */
export async function serverTime(client: KubeClient, clock: Clock): Promise<ServerTime> {
  const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview', metadata: {} };
  let stampMs: number | undefined;
  try {
    const answer = await client.create(selfSubjectReviews, review as NewKubeObject);
    stampMs = Date.parse(answer.metadata.creationTimestamp ?? '');
  } catch (error) {
    // Servers before 1.28 lack the kind; whoever is not let in, or reaches nobody, must hear of that.
    if (!(error instanceof KubeError) || error.status === 0 || isUnauthorized(error)) throw error;
  }
  const atMs = clock.nowMs();
  const startMs = stampMs === undefined || Number.isNaN(stampMs) ? clock.wallMs() : stampMs;
  return { nowMs: () => startMs + clock.nowMs() - atMs };
}

/** Asks again and again until `isDone` or the time is over; true when it was. */
export async function until(
  clock: Clock,
  options: { readonly waitMs: number; readonly everyMs: number },
  isDone: () => Promise<boolean>,
): Promise<boolean> {
  const endMs = clock.nowMs() + options.waitMs;
  for (;;) {
    if (await isDone()) return true;
    const restMs = endMs - clock.nowMs();
    if (restMs <= 0) return false;
    await sleep(clock, Math.min(options.everyMs, restMs));
  }
}

/** In order, at most `parallel` at a time. */
export async function mapBounded<A, B>(
  items: readonly A[],
  parallel: number,
  work: (item: A) => Promise<B>,
): Promise<B[]> {
  const results: B[] = [];
  let next = 0;
  const worker = async () => {
    for (let at = next++; at < items.length; at = next++) results[at] = await work(items[at]!);
  };
  await Promise.all(Array.from({ length: Math.min(parallel, items.length) }, worker));
  return results;
}
