import { formatPrefix, type Prefix, parsePrefix } from '../../../api/cidr.ts';
import { detachWishName } from '../../../api/detach-wish.ts';
import type { ClusterFacts } from '../../../api/types.ts';
import { applyObject } from '../../../kube/apply.ts';
import type { KubeObject } from '../../../kube/objects.ts';
import { resources } from '../../../kube/resources.ts';
import { sameJson } from '../../../kube/same-json.ts';
import { type RunResult, WorkQueue } from '../../../kube/work-queue.ts';
import type { Controller, ControllerContext } from '../../controller.ts';
import type { StoredNode } from '../../stored/node.ts';
import { fieldManager } from '../field-manager.ts';
import { maxRetryDelayMs } from '../retry-delay.ts';
import { clearDetachWish } from './detach-wish.ts';
import type { MinLengths } from './fold-prefixes.ts';
import { ClusterFactsMetrics } from './metrics.ts';
import {
  type FactsRead,
  maxAddressesPerNode,
  maxEndpoints,
  maxRangesPerObject,
  type RefusedFact,
  readEndpoints,
  readNodeAddresses,
  readPodRanges,
  readServiceRanges,
} from './read-facts.ts';
import {
  clusterName,
  type FactsSlices,
  type FactsState,
  givesRanges,
  type Holds,
  roundedNodeCount,
  sliceNames,
  sliceOf,
  surplusSlices,
  usablePrefixes,
  wantedSlices,
} from './reconcile.ts';
import { SliceSet } from './slice-set.ts';

/** A Node gets its ranges some seconds after it is made; nobody is to be alarmed for that long. */
const rangesGraceMs = 60_000;
const maxExamples = 5;
/** Nobody waits for an old wish to go: no agent heeds it. */
const wishAgainMs = 60_000;
/** Values whose refusal is remembered, so that each is logged once; beyond it they are logged once more. */
const maxLogged = 1000;

/** Of all but the ranges of pods, which have settings: an administrator writes the ranges of services. */
const minLengths: MinLengths = { 4: 8, 6: 32 };

/** What stands in one object, and as much again that was there a while ago: each may be replaced once in that time. */
const maxPerObject: Readonly<Record<Holds, number>> = {
  Nodes: 2 * maxAddressesPerNode,
  PodRanges: 2 * maxRangesPerObject,
  ServiceRanges: 2 * maxRangesPerObject,
  ApiServer: 2 * maxEndpoints,
  Configured: Number.POSITIVE_INFINITY,
};

const all = 'all';

/** Publishes what the never-block set of every agent needs to know of the cluster, in slices that seldom change. */
export class ClusterFactsController implements Controller {
  readonly name = 'cluster-facts';
  readonly #context: ControllerContext;
  readonly #metrics: ClusterFactsMetrics;
  readonly #queue: WorkQueue;
  readonly #podRangeLengths: MinLengths;
  readonly #sets: ReadonlyMap<Holds, SliceSet>;
  readonly #listeners = new Set<() => void>();
  readonly #logged = new Set<string>();
  #state: FactsState | undefined;
  #flushedAtMs = Number.NEGATIVE_INFINITY;
  /** Since when some node tells no ranges. */
  #incompleteSinceMs: number | undefined;

  constructor(context: ControllerContext) {
    const { clock, random, registry, queueMetrics, settings } = context;
    this.#context = context;
    this.#metrics = new ClusterFactsMetrics(registry);
    this.#queue = new WorkQueue({ clock, random, maxDelayMs: maxRetryDelayMs, metrics: queueMetrics(this.name) });
    this.#podRangeLengths = { 4: settings.minPodRangeLengthIpv4, 6: settings.minPodRangeLengthIpv6 };
    const keepMs = settings.factsKeepMs;
    const sorts = Object.keys(sliceNames) as Holds[];
    this.#sets = new Map(
      sorts.map((holds) => {
        // What the administrator takes back has not disappeared by accident.
        const options = { minLengths: this.#minLengthsOf(holds), keepMs: holds === 'Configured' ? 0 : keepMs };
        return [holds, new SliceSet({ ...options, maxPerObject: maxPerObject[holds] })];
      }),
    );
  }

  #minLengthsOf(holds: Holds): MinLengths {
    return holds === 'PodRanges' ? this.#podRangeLengths : minLengths;
  }

  /** What is known; undefined until the nodes were looked at since this replica leads. */
  factsState(): FactsState | undefined {
    return this.#state;
  }

  /** Tells when factsState() has changed, until what it returns is called. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { shared, clock, settings, logger } = this.#context;
    const changed = () => {
      const dueMs = this.#flushedAtMs + settings.factsIntervalMs;
      this.#queue.addAfter(all, Math.max(dueMs - clock.nowMs(), 0));
    };
    const { nodes, serviceCidrs, endpointSlices, clusterFacts } = shared;
    const unsubscribe = [
      nodes.subscribe(({ object, previous }) => {
        // A kubelet writes its Node every few minutes, and 5,000 of them several each second.
        if (previous === undefined || !sameJson(sayingOf(previous), sayingOf(object))) changed();
      }),
      ...[serviceCidrs, endpointSlices, clusterFacts].map((watched) => watched.subscribe(changed)),
    ];
    this.#adopt();
    this.#queue.add(all);
    try {
      const onError = (_: string, error: unknown, retry: { readonly inMs: number }) => {
        logger.warn({ err: error, retryInMs: Math.round(retry.inMs) }, 'cluster facts not written');
      };
      await this.#queue.run({ workers: 1, handle: () => this.#flush(signal), onError }, signal);
    } finally {
      for (const end of unsubscribe) end();
    }
  }

  /** What was published before stays for a while, also what is gone: it may have gone a second ago. */
  #adopt(): void {
    const { shared, clock } = this.#context;
    for (const facts of shared.clusterFacts.items.values()) {
      const slice = sliceOf(facts.metadata.name);
      if (slice === undefined || slice.holds === 'Configured') continue;
      const prefixes = usablePrefixes(facts, this.#minLengthsOf(slice.holds));
      this.#sets.get(slice.holds)!.adopt(slice.slice, prefixes, clock.nowMs());
    }
  }

  async #flush(signal: AbortSignal): Promise<RunResult> {
    const { clock, shared, settings } = this.#context;
    const nowMs = clock.nowMs();
    this.#flushedAtMs = nowMs;
    const { known, refused, state } = this.#look(nowMs);
    const before = shared.clusterFacts.items.get(clusterName)?.spec;
    const sorts = new Map(
      [...this.#sets].filter(([holds]) => known.has(holds)).map(([holds, set]) => [holds, set.slices()]),
    );
    const wanted = wantedSlices(sorts, {
      nodeCount: roundedNodeCount(shared.nodes.items.size, before?.nodeCount),
      complete: state.podRangesKnown || givesRanges(settings.neverBlock),
    });
    this.#metrics.show(wanted, refused, state.nodesWithoutPodRanges);
    this.#logRefused(refused);
    this.#tell(state);
    await this.#write(wanted, known, signal);
    await this.#clearWish(signal);
    return this.#again(known, state, nowMs);
  }

  async #clearWish(signal: AbortSignal): Promise<void> {
    const { client, namespace, shared, logger } = this.#context;
    const wish = shared.clusterFacts.items.get(detachWishName);
    if (wish === undefined) return;
    try {
      if (!(await clearDetachWish({ client, namespace, wish, signal }))) return;
      this.#metrics.wrote();
      logger.info({ wish: wish.spec.serviceAccountUid }, 'the wish to detach of an earlier installation is deleted');
    } catch (error) {
      if (signal.aborted) throw error;
      // Facts are to be written all the same.
      logger.warn({ err: error }, 'for whom the wish to detach is cannot be told: it stays');
    }
  }

  /** Takes in what the collections hold. */
  #look(nowMs: number): { known: ReadonlySet<Holds>; refused: readonly RefusedFact[]; state: FactsState } {
    const { shared, settings } = this.#context;
    const nodes = [...shared.nodes.items.values()];
    const ranges = readPodRanges(nodes, this.#podRangeLengths);
    const configured = settings.neverBlock
      .map((text) => parsePrefix(text))
      .filter((prefix): prefix is Prefix => !!prefix);
    const reads = new Map<Holds, FactsRead>([
      ['Nodes', readNodeAddresses(nodes)],
      ['PodRanges', ranges],
      ['ApiServer', readEndpoints(shared.endpointSlices.items.values())],
      ['Configured', { sightings: [{ object: 'settings', prefixes: byText(configured) }], refused: [] }],
    ]);
    const serviceRangesKnown = shared.serviceCidrs.hasSynced;
    if (serviceRangesKnown) {
      reads.set('ServiceRanges', readServiceRanges(shared.serviceCidrs.items.values(), minLengths));
    }
    const refused = [...reads].flatMap(([holds, read]) => [
      ...read.refused,
      ...this.#sets.get(holds)!.update(read.sightings, nowMs),
    ]);
    const without = ranges.sightings.filter(({ prefixes }) => prefixes.size === 0);
    const state = {
      podRangesKnown: this.#isComplete(without.length, nowMs),
      nodesWithoutPodRanges: without.length,
      examples: without.slice(0, maxExamples).map(({ object }) => object.slice(object.indexOf('/') + 1)),
      serviceRangesKnown,
    };
    return { known: new Set(reads.keys()), refused, state };
  }

  #isComplete(nodesWithout: number, nowMs: number): boolean {
    if (nodesWithout === 0) {
      this.#incompleteSinceMs = undefined;
      return true;
    }
    this.#incompleteSinceMs ??= nowMs;
    const wasComplete =
      this.#state?.podRangesKnown ?? this.#context.shared.clusterFacts.items.get(clusterName)?.spec?.complete === true;
    return wasComplete && nowMs - this.#incompleteSinceMs < rangesGraceMs;
  }

  #logRefused(refused: readonly RefusedFact[]): void {
    for (const { object, value, reason } of refused) {
      const text = `${object} ${reason} ${value}`;
      if (this.#logged.has(text)) continue;
      if (this.#logged.size >= maxLogged) this.#logged.clear();
      this.#logged.add(text);
      this.#context.logger.warn({ object, value, reason }, 'an address or range of the cluster is not believed');
    }
  }

  #tell(state: FactsState): void {
    const isSame = JSON.stringify(state) === JSON.stringify(this.#state);
    this.#state = state;
    if (isSame) return;
    const { logger } = this.#context;
    const { podRangesKnown, serviceRangesKnown, nodesWithoutPodRanges, examples } = state;
    const fields = { serviceRangesKnown, nodesWithoutPodRanges, examples };
    if (podRangesKnown) logger.info(fields, 'the ranges of pods are known');
    else logger.warn(fields, 'the ranges of pods are not known: give them by --never-block');
    for (const listener of this.#listeners) listener();
  }

  async #write(wanted: FactsSlices, known: ReadonlySet<Holds>, signal: AbortSignal): Promise<void> {
    const { client, shared, logger } = this.#context;
    const stored = shared.clusterFacts.items;
    const surplus = surplusSlices<ClusterFacts & KubeObject>(stored.values(), wanted, known);
    let writes = 0;
    for (const [name, spec] of wanted) {
      const current = stored.get(name);
      const options = { current, fieldManager, signal };
      if (await applyObject(client, resources.clusterFacts, { metadata: { name }, spec }, options)) writes++;
    }
    for (const { metadata } of surplus) {
      const { name, uid } = metadata;
      await client.delete(resources.clusterFacts, name, { signal, ...(uid === undefined ? {} : { uid }) });
      writes++;
    }
    for (let i = 0; i < writes; i++) this.#metrics.wrote();
    if (writes > 0) logger.info({ slices: wanted.size, writes }, 'cluster facts written');
  }

  /** When something changes by itself. */
  #again(known: ReadonlySet<Holds>, state: FactsState, nowMs: number): RunResult {
    const times = [...known].map((holds) => this.#sets.get(holds)!.nextExpiryMs);
    if (state.podRangesKnown && this.#incompleteSinceMs !== undefined)
      times.push(this.#incompleteSinceMs + rangesGraceMs);
    if (this.#context.shared.clusterFacts.items.has(detachWishName)) times.push(nowMs + wishAgainMs);
    const next = Math.min(...times.filter((time) => time !== undefined));
    if (next === Number.POSITIVE_INFINITY) return undefined;
    return { againAfterMs: Math.max(next - nowMs, this.#context.settings.factsIntervalMs) };
  }
}

const sayingOf = ({ addresses, podCidrs }: StoredNode) => ({ addresses, podCidrs });

const byText = (prefixes: readonly Prefix[]): ReadonlyMap<string, Prefix> =>
  new Map(prefixes.map((prefix) => [formatPrefix(prefix), prefix]));
