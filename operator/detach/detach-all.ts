import { detachWishName } from '../../api/detach-wish.ts';
import type { KubeClient } from '../../kube/client.ts';
import { type Clock, sleep } from '../../kube/clock.ts';
import { isNotFound } from '../../kube/errors.ts';
import type { KubeObject } from '../../kube/objects.ts';
import { Reflector } from '../../kube/reflector.ts';
import { resources } from '../../kube/resources.ts';
import { withRetry } from '../../kube/retry.ts';
import { accountUid, agentAccount } from '../controllers/cluster-facts/detach-wish.ts';
import { type StoredNode, storeNode } from '../stored/node.ts';
import { type DetachProgress, describeProgress, detachProgress, sumsOf } from './progress.ts';
import {
  clockManager,
  managerWroteMs,
  reportSeen,
  type WatchedReport,
  watchedReport,
  wishFor,
  wishManager,
} from './seen.ts';

export interface DetachAllOptions {
  readonly client: KubeClient;
  /** Where the installation is. */
  readonly namespace: string;
  readonly timeoutMs: number;
  readonly staleAfterMs: number;
  readonly clock: Clock;
  /** Anything that the API server has not seen before. */
  readonly nonce: string;
  /** Gets a line for people at a time. */
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Looks cost nothing but a walk over what the watches hold. */
const lookEveryMs = 1000;
/** In which an agent that is heard at all tells of a wish: those of 5,000 nodes spread their reports over 35 s. */
const patienceMs = 45_000;
/** Half a minute, for an API server that is being restarted. */
const retries = { attempts: 10, maxMs: 5000 };
/** Full reports have 16 KiB. */
const reportPage = 100;

/** What was found in the end; `waiting` of a wish that nobody heeded in time. */
export type DetachEnd = 'detached' | 'waiting' | 'unread' | 'stopped' | 'no-account' | 'no-kinds';

/**
 * Wishes that all agents of an installation detach, and waits until all that answer have: see
 * docs/decisions/2026-11-21-uninstall-detaches.md. The wish stays, however this ends. Rejects with a KubeError when it cannot be
 * written.
 */
export async function detachAll(options: DetachAllOptions): Promise<DetachEnd> {
  const { client, namespace, clock, say, signal, timeoutMs } = options;
  const startedMs = clock.nowMs();
  const account = await withRetry(() => accountUid(client, namespace, signal), { ...retries, clock, signal });
  let wish: Wish | undefined;
  try {
    if (account !== undefined) wish = await writeWish(options, account);
  } catch (error) {
    if (isNotFound(error)) return 'no-kinds';
    throw error;
  }
  if (wish === undefined)
    say(`there is no ServiceAccount ${agentAccount} in ${namespace}: nobody is left who could be told`);
  const stop = new AbortController();
  const watching = AbortSignal.any([signal, stop.signal]);
  const nodes = watch<StoredNode>(options, 'nodes', storeNode);
  const reports = watch<WatchedReport>(options, 'nodeReports', watchedReport);
  const running = [nodes.run(watching), reports.run(watching)];
  try {
    let told = '';
    for (;;) {
      const elapsedMs = clock.nowMs() - startedMs;
      const isOver = elapsedMs >= timeoutMs;
      if (nodes.hasSynced && reports.hasSynced) {
        const progress = look(nodes, reports, wish, options, wish !== undefined && elapsedMs < patienceMs && !isOver);
        const isDone = progress.waiting.length === 0;
        if (isDone || isOver || wish === undefined) {
          for (const line of describeProgress(progress)) say(line);
          return isDone ? 'detached' : wish === undefined ? 'no-account' : 'waiting';
        }
        if (sumsOf(progress) !== told) say(`waiting: ${sumsOf(progress)}`);
        told = sumsOf(progress);
      } else if (isOver) {
        for (const { state } of [nodes, reports]) if (state.message !== undefined) say(state.message);
        return 'unread';
      }
      await sleep(clock, Math.min(lookEveryMs, timeoutMs - elapsedMs), signal);
      if (signal.aborted) return 'stopped';
    }
  } finally {
    stop.abort();
    await Promise.all(running);
  }
}

interface Wish {
  /** When it was written, by the API server's clock. */
  readonly atMs: number | undefined;
  /** What that clock is ahead of the monotonic one. */
  readonly serverAheadMs: number;
}

/** An account that had a wish before keeps that one, and what was said since then counts. */
async function writeWish({ client, clock, nonce, say, signal }: DetachAllOptions, uid: string): Promise<Wish> {
  const wish = wishFor(uid);
  const apply = (object: typeof wish, more: { fieldManager: string; dryRun?: boolean }) =>
    withRetry(() => client.apply<KubeObject>(resources.clusterFacts, object, { force: true, signal, ...more }), {
      ...retries,
      clock,
      signal,
    });
  const written = await apply(wish, { fieldManager: wishManager });
  say(`${resources.clusterFacts.kind} ${detachWishName} asks the agents of account ${uid} to detach`);
  // Writes nothing: it only has the server say what time it is now.
  const marked = { ...wish, metadata: { ...wish.metadata, annotations: { 'portcullis.dev/asked': nonce } } };
  const tried = await apply(marked, { fieldManager: clockManager, dryRun: true });
  const atMs = managerWroteMs(written.metadata, wishManager);
  const nowMs = managerWroteMs(tried.metadata, clockManager) ?? atMs ?? 0;
  return { atMs, serverAheadMs: nowMs - clock.nowMs() };
}

function watch<T extends KubeObject>(
  { client, clock }: DetachAllOptions,
  kind: 'nodes' | 'nodeReports',
  keep: (object: KubeObject) => T,
): Reflector<T> {
  const resource = resources[kind];
  const transform = (object: T): T => keep(object);
  return new Reflector<T>({ client, clock, resource, name: kind, transform, pageSize: reportPage, onChange: () => {} });
}

function look(
  nodes: Reflector<StoredNode>,
  reports: Reflector<WatchedReport>,
  wish: Wish | undefined,
  { clock, staleAfterMs }: DetachAllOptions,
  isPatient: boolean,
): DetachProgress {
  const newestMs = () => Math.max(0, ...[...reports.items.values()].map(({ writtenAtMs = 0 }) => writtenAtMs));
  const nowMs = wish === undefined ? newestMs() : clock.nowMs() + wish.serverAheadMs;
  const times = { nowMs, wishMs: wish?.atMs, staleAfterMs };
  const seen = [...reports.items.values()].flatMap(
    (report) => reportSeen(report, nodes.items.get(report.metadata.name)?.metadata.uid, times) ?? [],
  );
  const known = [...nodes.items.values()].map(({ metadata: { name }, isReady }) => ({ name, isReady }));
  return detachProgress(known, seen, { isPatient });
}
