import { setImmediate as nextTurn } from 'node:timers/promises';
import { isForbidden, isNotFound } from '../../../kube/errors.ts';
import type { KubeObject } from '../../../kube/objects.ts';
import { resources } from '../../../kube/resources.ts';
import { type RunResult, WorkQueue } from '../../../kube/work-queue.ts';
import type { Controller, ControllerContext } from '../../controller.ts';
import type { StoredList } from '../../stored/policy-object.ts';
import type { PrefixSetResult, PrefixSets } from '../ip-blocklist/prefix-set.ts';
import { maxRetryDelayMs } from '../retry-delay.ts';
import { ChunkStore } from './chunk-store.ts';
import { PrefixSetMetrics } from './metrics.ts';
import { type ConfigMapContent, type PrefixSetRead, readPrefixSet } from './read-set.ts';
import { type ChunkIdentity, ownerOf, planChunks } from './reconcile.ts';

/** Whoever renews a list writes several ConfigMaps one after the other. */
const settleMs = 1000;
/** A right that is missing is granted without any object changing that is watched. */
const rightsAgainMs = 60_000;

interface Known {
  readonly inputs: string;
  readonly generation: number;
  /** Of the set that the status named when it was read. */
  readonly previous: string | undefined;
  readonly readAtMs: number;
  readonly result: PrefixSetResult;
}

interface Held {
  readonly uid: string;
  readonly digest: string;
  readonly content: NonNullable<PrefixSetRead['content']>;
}

/**
 * Publishes the prefixes that lists take out of ConfigMaps as PrefixChunks. What a list's ConfigMaps say becomes its result,
 * the writer of the list's status names the chunks there, and only when that is seen are the missing ones made and those
 * that no status names deleted: so agents never see a set that was thought of and given up.
 */
export class PrefixSetController implements Controller, PrefixSets {
  readonly name = 'prefix-set';
  readonly #context: ControllerContext;
  readonly #metrics: PrefixSetMetrics;
  readonly #store: ChunkStore;
  readonly #queue: WorkQueue;
  /** By uid of the list. */
  readonly #known = new Map<string, Known>();
  readonly #listeners = new Set<(listName: string) => void>();
  /** The prefixes that were read last, until their chunks are written: one list's at a time, since there may be a million. */
  #held: Held | undefined;

  constructor(context: ControllerContext) {
    const { clock, random, registry, queueMetrics } = context;
    this.#context = context;
    this.#metrics = new PrefixSetMetrics(registry);
    this.#store = new ChunkStore(context, this.#metrics);
    this.#queue = new WorkQueue({ clock, random, maxDelayMs: maxRetryDelayMs, metrics: queueMetrics(this.name) });
  }

  resultOf({ uid, generation }: { readonly uid: string; readonly generation: number }): PrefixSetResult | undefined {
    const known = this.#known.get(uid);
    if (known === undefined || known.generation === generation) return known?.result;
    // An edit that leaves the references alone does not make them unknown for as long as they are read again.
    for (const list of this.#context.shared.lists.items.values()) {
      if (list.metadata.uid === uid) return this.#inputsOf(list) === known.inputs ? known.result : undefined;
    }
    return undefined;
  }

  subscribe(listener: (listName: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { shared, logger } = this.#context;
    const queue = this.#queue;
    const addOwner = (chunk: KubeObject, delayMs: number) => {
      const owner = ownerOf(chunk);
      if (owner !== undefined) queue.addAfter(owner.name, delayMs);
    };
    const unsubscribe = [
      shared.lists.subscribe(({ object }) => queue.add(object.metadata.name)),
      shared.configMaps.subscribe(({ object }) => {
        for (const name of this.#listsWith(object.metadata.name)) queue.addAfter(name, settleMs);
      }),
      shared.prefixChunks.subscribe(({ type, object }) => {
        this.#store.changed(object.metadata.name, type === 'deleted');
        // What this operator writes itself comes back here as well.
        addOwner(object, settleMs);
      }),
    ];
    for (const name of shared.lists.items.keys()) queue.add(name);
    for (const chunk of shared.prefixChunks.items.values()) addOwner(chunk, 0);
    try {
      // One list after the other, so that one alone has its prefixes in memory.
      const handle = (name: string) => this.#reconcile(name, signal);
      const onError = (name: string, error: unknown, retry: { readonly inMs: number }) => {
        logger.warn({ list: name, err: error, retryInMs: Math.round(retry.inMs) }, 'prefixes of a list not published');
      };
      await queue.run({ workers: 1, handle, onError }, signal);
    } finally {
      for (const end of unsubscribe) end();
      this.#held = undefined;
    }
  }

  #listsWith(configMap: string): string[] {
    const lists = [...this.#context.shared.lists.items.values()];
    return lists
      .filter(({ spec }) => spec?.configMapRefs.some(({ name }) => name === configMap))
      .map(({ metadata }) => metadata.name);
  }

  async #reconcile(name: string, signal: AbortSignal): Promise<RunResult> {
    const list = this.#context.shared.lists.items.get(name);
    this.#forgetOthers();
    if (list === undefined) {
      await this.#deleteSurplus(name, undefined, signal);
      return undefined;
    }
    // Refused: its last good set stays as it is.
    if (list.spec === undefined) return undefined;
    const { uid } = list.metadata;
    if (list.spec.configMapRefs.length === 0) {
      this.#known.delete(uid);
      if (list.status.prefixSet === undefined) await this.#deleteSurplus(name, list, signal);
      return undefined;
    }
    const result = await this.#read(list, signal);
    const isNamed = list.status.prefixSet?.digest === result.prefixSet?.digest;
    if (isNamed && result.problem === undefined) return await this.#publish(list, result, signal);
    return isTimed(result) ? { againAfterMs: rightsAgainMs } : undefined;
  }

  /** Results of lists that are gone. */
  #forgetOthers(): void {
    const uids = new Set([...this.#context.shared.lists.items.values()].map(({ metadata }) => metadata.uid));
    for (const uid of this.#known.keys()) if (!uids.has(uid)) this.#known.delete(uid);
  }

  /** Changes whenever the list has to be read again. */
  #inputsOf({ spec }: StoredList): string {
    if (spec === undefined) return '';
    const versions = spec.configMapRefs.map(({ name, key }) => {
      const metadata = this.#context.shared.configMaps.items.get(`${this.#context.namespace}/${name}`)?.metadata;
      return [name, key, metadata?.uid, metadata?.resourceVersion];
    });
    return JSON.stringify([spec.allowWide, versions]);
  }

  async #read(list: StoredList, signal: AbortSignal, isForced = false): Promise<PrefixSetResult> {
    const { uid, generation, name } = list.metadata;
    const inputs = this.#inputsOf(list);
    const known = this.#known.get(uid);
    if (!isForced && known !== undefined && this.#isCurrent(known, list, inputs)) return known.result;
    this.#held = undefined;
    const { configMapRefs, allowWide, entries } = list.spec!;
    const end = this.#metrics.startRead();
    const { result, content } = await readPrefixSet(
      { uid, configMapRefs, allowWide, entries: entries.map(({ cidr }) => cidr), previous: list.status.prefixSet },
      (configMap) => this.#getConfigMap(configMap, signal),
      async () => {
        await nextTurn();
        signal.throwIfAborted();
      },
    );
    end(result);
    if (content !== undefined) this.#held = { uid, digest: result.prefixSet!.digest, content };
    const previous = list.status.prefixSet?.digest;
    this.#known.set(uid, { inputs, generation, previous, readAtMs: this.#context.clock.nowMs(), result });
    if (!isSameNews(known?.result, result)) this.#log(name, result);
    for (const listener of this.#listeners) listener(name);
    return result;
  }

  #isCurrent({ inputs, generation, previous, readAtMs, result }: Known, list: StoredList, inputsNow: string): boolean {
    if (inputs !== inputsNow || generation !== list.metadata.generation) return false;
    if (result.problem === undefined) return true;
    if (previous !== list.status.prefixSet?.digest) return false;
    return !isTimed(result) || this.#context.clock.nowMs() - readAtMs < rightsAgainMs;
  }

  #log(list: string, { problem, prefixSet, refused }: PrefixSetResult): void {
    const { logger } = this.#context;
    const fields = { list, prefixes: prefixSet?.prefixes ?? 0, chunks: prefixSet?.chunks.length ?? 0, refused };
    if (problem === undefined) logger.info(fields, 'prefixes of a list read');
    else logger.warn({ ...fields, reason: problem.reason }, problem.message);
  }

  async #getConfigMap(name: string, signal: AbortSignal): Promise<ConfigMapContent | 'NotFound' | 'Forbidden'> {
    const { client, namespace } = this.#context;
    try {
      return await client.get<KubeObject & ConfigMapContent>(resources.configMaps, name, { namespace, signal });
    } catch (error) {
      if (isNotFound(error)) return 'NotFound';
      if (isForbidden(error)) return 'Forbidden';
      throw error;
    }
  }

  /** Makes what the status of the list names. */
  async #publish(list: StoredList, result: PrefixSetResult, signal: AbortSignal): Promise<RunResult> {
    const { shared, logger } = this.#context;
    const { name, uid } = list.metadata;
    const plan = planChunks(name, list.metadata, result.prefixSet, shared.prefixChunks.items.values());
    const unfit: ChunkIdentity[] = [];
    for (const chunk of plan.present) if (!(await this.#store.isFit(chunk.name, uid, signal))) unfit.push(chunk);
    if (unfit.length > 0) {
      const fields = { list: name, chunks: unfit.map((chunk) => chunk.name) };
      logger.warn(fields, 'chunks do not hold what their names say: made anew');
      await this.#store.delete(unfit, signal);
    }
    const absent = this.#store.absent(plan.missing);
    const toWrite = new Set([...absent, ...unfit.map((chunk) => chunk.name)]);
    if (toWrite.size > 0) {
      if (this.#held?.uid !== uid || this.#held.digest !== result.prefixSet?.digest) {
        const again = await this.#read(list, signal, true);
        // The ConfigMaps are others by now: the status has to name those first.
        if (again.problem !== undefined || again.prefixSet?.digest !== result.prefixSet?.digest) return undefined;
      }
      await this.#store.write(list.metadata, this.#held!.content, toWrite, signal);
    }
    this.#held = undefined;
    await this.#deleteSurplus(name, list, signal);
    const { lookAgainMs } = this.#store;
    return lookAgainMs === undefined ? undefined : { againAfterMs: lookAgainMs };
  }

  async #deleteSurplus(name: string, list: StoredList | undefined, signal: AbortSignal): Promise<void> {
    const { shared, logger } = this.#context;
    const wanted = list?.status.prefixSet;
    const { surplus } = planChunks(name, list?.metadata, wanted, shared.prefixChunks.items.values());
    if (surplus.length === 0) return;
    // The copy of the lists may lag behind; what is deleted by mistake has to be fetched anew by every agent.
    const digest = await this.#store.namedNow(name, list?.metadata.uid, signal);
    if (digest !== (wanted?.digest ?? 'none')) {
      this.#queue.addAfter(name, settleMs);
      return;
    }
    await this.#store.delete(surplus, signal);
    logger.debug({ list: name, chunks: surplus.length }, 'chunks that no status names deleted');
  }
}

/** Whether the reason may go away without any change that is watched. */
const isTimed = ({ problem }: PrefixSetResult): boolean => problem?.reason === 'ConfigMapForbidden';

const isSameNews = (a: PrefixSetResult | undefined, b: PrefixSetResult): boolean =>
  a?.prefixSet?.digest === b.prefixSet?.digest &&
  a?.problem?.message === b.problem?.message &&
  a?.refused === b.refused;
