import { detachWishUid } from '../../api/detach-wish.ts';
import { matchesLabels } from '../../api/label-selector.ts';
import type { ClusterFacts, IpBlocklist, PortScanPolicy } from '../../api/types.ts';
import type { KubeClient } from '../../kube/client.ts';
import { type Clock, systemClock } from '../../kube/clock.ts';
import { isNotFound } from '../../kube/errors.ts';
import type { KubeMeta, KubeObject } from '../../kube/objects.ts';
import { Reflector, type ReflectorLog, type ReflectorObserver, type ReflectorTimings } from '../../kube/reflector.ts';
import { type Resource, resources } from '../../kube/resources.ts';
import { WorkQueue } from '../../kube/work-queue.ts';
import { type Finding, findingOf } from '../finding.ts';
import { ClusterObjects } from './cluster-objects.ts';
import { breakGlassAnnotation, combineCluster } from './cluster-snapshot.ts';
import { isFacts, type NodeFacts, prefixSetReference, type SavedCluster } from './cluster-state.ts';
import { DetachWish } from './detach-wish.ts';
import { bareObject, type Facts, nodeObject, wholeObject } from './kept-objects.ts';
import type { PolicySnapshot, PolicySource } from './policy-source.ts';
import { PrefixSets } from './prefix-sets.ts';
import { ReadPace } from './read-pace.ts';

export interface KubernetesSourceOptions {
  readonly client: KubeClient;
  /** `metadata.name` of the Node that the agent runs on. */
  readonly nodeName: string;
  /** What an earlier run knew, and the text of a chunk that it kept. */
  readonly saved?: SavedCluster;
  readonly savedChunk?: (name: string) => Promise<string | undefined>;
  /** A change is read after a random time up to this, so that the agents of a large cluster do not all ask at once. */
  readonly jitterMs?: number;
  /** With `saved`: how long the first snapshot waits for the server's own word. */
  readonly graceMs?: number;
  readonly log?: (entry: ReflectorLog) => void;
  readonly metrics?: ReflectorObserver;
  readonly timings?: Partial<ReflectorTimings>;
  readonly random?: () => number;
  readonly clock?: Clock;
}

const JITTER_MS = 500;
/** From there on the jitter grows with the cluster, so that a change is read by at most 2,000 agents a second. */
const NODES_AT_FULL_RATE = 1_000;
/** More than any cluster has. Whoever writes facts must not keep a change of policy from the agents for days. */
const MAX_NODES = 65_536;
/** Long enough for a server that is there, and short for a node that is unguarded after its boot. */
const GRACE_MS = 2_000;
/** Several changes of one moment become one snapshot. */
const COALESCE_MS = 20;
/** An object that is newer than its metadata, or a chunk that is named and not seen: the watch should tell of it long before. */
const AGAIN_MS = 10_000;
const WORKERS = 4;
const MAX_RETRY_MS = 30_000;
/** Shorter trouble is a server that is being restarted. */
const AWAY_MS = 30_000;
/** Lists of objects as large as 1.5 MiB. */
const PAGE_OF_LARGE = 50;

type ReadKey = `policy/${string}` | `list/${string}`;

interface Watches {
  readonly policies: Reflector<KubeObject>;
  readonly lists: Reflector<KubeObject>;
  readonly chunks: Reflector<KubeObject>;
  readonly exceptions: Reflector<KubeObject>;
  readonly facts: Reflector<Facts>;
  readonly node: Reflector<KubeObject>;
}

/**
 * Policies out of a Kubernetes API server. Policies and lists are watched by their metadata alone, since their status changes
 * often and is large; an object is read when its spec changed. Nothing that the server cannot be asked about is given up.
 */
export class KubernetesSource implements PolicySource {
  readonly #options: KubernetesSourceOptions;
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #policies: ClusterObjects<'PortScanPolicy'>;
  readonly #lists: ClusterObjects<'IpBlocklist'>;
  readonly #exceptions: ClusterObjects<'SourceException'>;
  readonly #sets = new PrefixSets();
  readonly #detachWish: DetachWish;
  readonly #queue: WorkQueue<ReadKey>;
  readonly #pace = new ReadPace();
  /** To be read for the first time, or since they changed: until that was tried, there is no first snapshot. */
  readonly #unread = new Set<ReadKey>();
  /** By name of the list: the chunks that were there when its status was read. */
  readonly #chunksAtRead = new Map<string, string>();
  readonly #watches: Watches;
  #facts: readonly ClusterFacts[] = [];
  #node: NodeFacts;
  #nodeText = '';
  #isNodeMissing = false;
  #hasGraceEnded = false;
  #hasChanged = true;
  #isRunning = false;
  /** A snapshot was given that can be relied on. */
  #isWhole = false;
  #cancelLook: (() => void) | undefined;
  #awaySinceMs: number | undefined;
  #onSnapshot: (snapshot: PolicySnapshot) => void = () => {};

  constructor(options: KubernetesSourceOptions) {
    this.#options = options;
    this.#client = options.client;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    const { saved } = options;
    // Before the Node is known everything may be for it.
    const isForHere = ({ spec }: PortScanPolicy | IpBlocklist) =>
      this.#nodeText === '' || matchesLabels(spec.nodeSelector, this.#node.labels);
    this.#policies = new ClusterObjects('PortScanPolicy', saved?.policies, isForHere);
    this.#lists = new ClusterObjects('IpBlocklist', saved?.lists, isForHere);
    this.#exceptions = new ClusterObjects('SourceException', saved?.exceptions);
    this.#detachWish = new DetachWish({
      ownUid: () => this.#client.serviceAccountUid(),
      clock: this.#clock,
      onChange: () => {
        this.#hasChanged = true;
        this.#lookSoon();
      },
    });
    this.#setFacts(saved?.facts ?? []);
    this.#node = saved?.node ?? { labels: {} };
    this.#queue = new WorkQueue({
      clock: this.#clock,
      random: this.#random,
      baseDelayMs: 500,
      maxDelayMs: MAX_RETRY_MS,
    });
    this.#watches = this.#makeWatches();
  }

  /** Nodes of the cluster, as far as they are known; 1 before. */
  get nodeCount(): number {
    return Math.min(MAX_NODES, Math.max(1, ...this.#facts.map(({ spec }) => spec.nodeCount ?? 1)));
  }

  /** Trouble with the API server that has lasted for a while. */
  findings(): Finding[] {
    const troubled = Object.values(this.#watches).find(({ state }) => state.reason !== undefined);
    if (troubled === undefined) {
      this.#awaySinceMs = undefined;
      return [];
    }
    this.#awaySinceMs ??= this.#clock.nowMs();
    if (this.#clock.nowMs() - this.#awaySinceMs < AWAY_MS) return [];
    return [findingOf('ApiServerAway', `${this.#client.server}: ${troubled.state.message ?? troubled.state.reason}`)];
  }

  /** What a restart needs; undefined while too little is known. */
  saved(): SavedCluster | undefined {
    if (!this.#isWhole) return undefined;
    return {
      nodeName: this.#options.nodeName,
      policies: this.#policies.good(),
      lists: this.#lists.good(),
      exceptions: this.#exceptions.good(),
      facts: this.#facts,
      node: this.#node,
      prefixSets: Object.fromEntries(this.#sets.references()),
    };
  }

  /** A chunk that is in force, for the disk. */
  chunkText(name: string): string | undefined {
    return this.#sets.textOf(name);
  }

  async run(signal: AbortSignal, onSnapshot: (snapshot: PolicySnapshot) => void): Promise<void> {
    this.#onSnapshot = onSnapshot;
    await this.#restoreChunks();
    this.#isRunning = true;
    // What was kept may ask for break-glass, which waits for nobody.
    this.#lookSoon();
    const cancelGrace = this.#clock.startTimer(this.#options.graceMs ?? GRACE_MS, () => {
      this.#hasGraceEnded = true;
      this.#lookSoon();
    });
    try {
      await Promise.all([
        ...Object.values(this.#watches).map((watch) => watch.run(signal)),
        this.#detachWish.run(signal),
        this.#queue.run(
          {
            workers: WORKERS,
            handle: (key, stop) => this.#read(key, stop),
            onError: (key, error, { inMs }) =>
              this.#options.log?.({
                level: 'warn',
                message: `${key} cannot be read: ${messageOf(error)}`,
                error,
                retryInMs: inMs,
              }),
          },
          signal,
        ),
      ]);
    } finally {
      this.#isRunning = false;
      cancelGrace();
      this.#cancelLook?.();
      this.#cancelLook = undefined;
    }
  }

  #makeWatches(): Watches {
    const { metrics, log, timings, random, clock, client, nodeName } = this.#options;
    const common = {
      client,
      ...(metrics && { metrics }),
      ...(log && { log }),
      ...(timings && { timings }),
      ...(random && { random }),
      ...(clock && { clock }),
      onSynced: () => this.#lookSoon(),
    };
    const changed = () => {
      this.#hasChanged = true;
      this.#lookSoon();
    };
    const look = () => this.#lookSoon();
    const bare = (resource: Resource) =>
      new Reflector<KubeObject>({
        ...common,
        resource,
        name: resource.plural,
        metadataOnly: true,
        transform: bareObject,
        onChange: look,
      });
    const whole = (resource: Resource) =>
      new Reflector<Facts>({
        ...common,
        resource,
        name: resource.plural,
        pageSize: PAGE_OF_LARGE,
        transform: wholeObject,
        onChange: changed,
      });
    return {
      policies: bare(resources.portScanPolicies),
      lists: bare(resources.ipBlocklists),
      chunks: bare(resources.prefixChunks),
      exceptions: whole(resources.sourceExceptions),
      facts: whole(resources.clusterFacts),
      node: new Reflector<KubeObject>({
        ...common,
        resource: resources.nodes,
        name: resources.nodes.plural,
        fieldSelector: `metadata.name=${nodeName}`,
        transform: nodeObject,
        onChange: look,
      }),
    };
  }

  #lookSoon(): void {
    if (!this.#isRunning || this.#cancelLook !== undefined) return;
    this.#cancelLook = this.#clock.startTimer(COALESCE_MS, () => {
      this.#cancelLook = undefined;
      this.#look();
    });
  }

  /** Compares what the watches hold with what is in force: what to read follows from the two alone. */
  #look(): void {
    const { policies, lists, chunks, exceptions, facts, node } = this.#watches;
    if (node.hasSynced) this.#seeNode(node.items.get(this.#options.nodeName));
    if (policies.hasSynced) this.#compare('policy', this.#policies, policies.items);
    if (lists.hasSynced) {
      this.#compare('list', this.#lists, lists.items);
      this.#sets.keepOnly(new Set([...lists.items.keys()].filter((name) => !this.#lists.isElsewhere(name))));
    }
    if (lists.hasSynced && chunks.hasSynced) {
      for (const [list, names] of chunksByList(chunks.items.values(), lists.items)) {
        const isNews = (this.#chunksAtRead.get(list) ?? '') !== names;
        if (isNews && !this.#lists.isElsewhere(list)) this.#readLater(`list/${list}`);
      }
    }
    if (exceptions.hasSynced) {
      this.#exceptions.see(metadataOf(exceptions.items));
      for (const { name } of this.#exceptions.wanted()) this.#exceptions.take(exceptions.items.get(name)!);
    }
    if (facts.hasSynced) this.#seeFacts(sortedFacts(facts.items.values()));
    this.#offer();
  }

  #seeFacts(found: readonly ClusterFacts[]): void {
    const isWish = (each: ClusterFacts) => detachWishUid(each) !== undefined;
    // No facts at all: the operator is gone, and what it last knew is better than nothing. A wish that is gone is taken back.
    const known = found.every(isWish) ? this.#facts : found;
    this.#setFacts([...known.filter((each) => !isWish(each)), ...found.filter(isWish)]);
  }

  #setFacts(facts: readonly ClusterFacts[]): void {
    this.#facts = facts;
    this.#detachWish.set(facts.map(detachWishUid).find((uid) => uid !== undefined));
  }

  #compare(
    prefix: 'policy' | 'list',
    objects: ClusterObjects<'PortScanPolicy'> | ClusterObjects<'IpBlocklist'>,
    items: ReadonlyMap<string, KubeObject>,
  ): void {
    if (objects.see(metadataOf(items))) this.#hasChanged = true;
    for (const { name, isAgain } of objects.wanted()) {
      if (isAgain) this.#queue.addAfter(`${prefix}/${name}`, AGAIN_MS);
      else this.#readLater(`${prefix}/${name}`);
    }
  }

  #readLater(key: ReadKey): void {
    this.#unread.add(key);
    const jitterMs = (this.#options.jitterMs ?? JITTER_MS) * Math.max(1, this.nodeCount / NODES_AT_FULL_RATE);
    this.#queue.addAfter(key, this.#random() * jitterMs + this.#pace.waitMs(key, this.#clock.nowMs()));
  }

  #seeNode(node: KubeObject | undefined): void {
    const isMissing = node === undefined;
    if (isMissing !== this.#isNodeMissing) this.#hasChanged = true;
    this.#isNodeMissing = isMissing;
    // Labels and annotation of a Node that was deleted hold until it is made again, so that nothing is detached meanwhile.
    const breakGlass = node?.metadata.annotations?.[breakGlassAnnotation];
    const facts: NodeFacts = isMissing
      ? { labels: this.#node.labels, ...(this.#node.breakGlass !== undefined && { breakGlass: this.#node.breakGlass }) }
      : {
          labels: node.metadata.labels ?? {},
          ...(node.metadata.uid !== undefined && { uid: node.metadata.uid }),
          ...(breakGlass !== undefined && { breakGlass }),
        };
    const text = JSON.stringify(facts);
    if (text === this.#nodeText) return;
    this.#nodeText = text;
    this.#node = facts;
    this.#hasChanged = true;
  }

  async #read(key: ReadKey, signal: AbortSignal): Promise<{ againAfterMs: number } | undefined> {
    const isList = key.startsWith('list/');
    const name = key.slice(key.indexOf('/') + 1);
    const objects = isList ? this.#lists : this.#policies;
    const watch = isList ? this.#watches.lists : this.#watches.policies;
    try {
      if (!watch.items.has(name)) return undefined;
      // The chunks of a list come one by one, each with a read, and as slowly as the operator writes them.
      if (!isList || !this.#chunksAtRead.get(name)) this.#pace.read(key, this.#clock.nowMs(), this.nodeCount);
      return isList ? await this.#readList(name, signal) : await this.#readPolicy(name, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      objects.miss(name, messageOf(error));
      // Deleted a moment ago, as the watch will tell; should it not, this asks again.
      if (isNotFound(error)) return { againAfterMs: AGAIN_MS };
      throw error;
    } finally {
      this.#unread.delete(key);
      this.#hasChanged = true;
      this.#lookSoon();
    }
  }

  async #readPolicy(name: string, signal: AbortSignal): Promise<undefined> {
    this.#policies.take(await this.#client.get(resources.portScanPolicies, name, { signal }));
  }

  async #readList(name: string, signal: AbortSignal): Promise<{ againAfterMs: number } | undefined> {
    const { chunks, lists } = this.#watches;
    this.#chunksAtRead.set(name, chunksByList(chunks.items.values(), lists.items).get(name) ?? '');
    const raw = await this.#client.get<KubeObject & { status?: { prefixSet?: unknown } }>(
      resources.ipBlocklists,
      name,
      { signal },
    );
    this.#lists.take(raw);
    if (this.#lists.isElsewhere(name)) return undefined;
    this.#sets.want(name, prefixSetReference(raw.status?.prefixSet));
    let isLate = false;
    for (const chunk of this.#sets.missing(name)) {
      if (chunks.hasSynced && !chunks.items.has(chunk)) {
        // The operator names it first and writes it then; the watch tells when.
        this.#sets.miss(name, `PrefixChunk ${chunk} is not there yet`);
        isLate = true;
        continue;
      }
      try {
        const { spec } = await this.#client.get<KubeObject & { spec?: { prefixes?: unknown } }>(
          resources.prefixChunks,
          chunk,
          { signal },
        );
        const { prefixes } = spec ?? {};
        this.#sets.take(name, chunk, typeof prefixes === 'string' ? prefixes : '');
      } catch (error) {
        if (signal.aborted) throw error;
        this.#sets.miss(name, `PrefixChunk ${chunk}: ${messageOf(error)}`);
        if (!isNotFound(error)) throw error;
        isLate = true;
      }
    }
    return isLate ? { againAfterMs: AGAIN_MS } : undefined;
  }

  async #restoreChunks(): Promise<void> {
    const { saved, savedChunk } = this.#options;
    for (const [list, reference] of Object.entries(saved?.prefixSets ?? {})) {
      this.#sets.want(list, reference);
      for (const chunk of this.#sets.missing(list)) {
        const text = await savedChunk?.(chunk);
        if (text !== undefined) this.#sets.take(list, chunk, text);
      }
    }
  }

  #offer(): void {
    if (!this.#hasChanged) return;
    const isComplete =
      Object.values(this.#watches).every(({ hasSynced }) => hasSynced) &&
      this.#unread.size === 0 &&
      this.#detachWish.isKnown;
    if (isComplete || (this.#options.saved !== undefined && this.#hasGraceEnded)) this.#isWhole = true;
    const snapshot = combineCluster({
      policies: this.#policies,
      lists: this.#lists,
      exceptions: this.#exceptions,
      facts: this.#facts,
      isUninstalled: this.#detachWish.isHeeded,
      sets: this.#sets,
      node: this.#node,
      nodeName: this.#options.nodeName,
      isNodeMissing: this.#isNodeMissing,
    });
    // Who asks for everything to be detached need not wait until all is known of what is not to be attached.
    if (!this.#isWhole && !snapshot.cluster?.breakGlass && !snapshot.cluster?.uninstalled) return;
    this.#hasChanged = false;
    this.#onSnapshot(snapshot);
  }
}

/** By name of the list: the names of its chunks, in order, as one text. Every list has one. */
function chunksByList(chunks: Iterable<KubeObject>, lists: ReadonlyMap<string, KubeObject>): Map<string, string> {
  const names = new Map<string, string[]>([...lists.keys()].map((list) => [list, []]));
  for (const { metadata } of chunks) {
    for (const { kind, name, uid } of metadata.ownerReferences ?? []) {
      if (kind === 'IpBlocklist' && lists.get(name)?.metadata.uid === uid) names.get(name)?.push(metadata.name);
    }
  }
  return new Map([...names].map(([list, own]) => [list, own.sort().join(' ')]));
}

function metadataOf(items: ReadonlyMap<string, KubeObject>): Map<string, KubeMeta> {
  return new Map([...items].map(([name, { metadata }]) => [name, metadata]));
}

function sortedFacts(items: Iterable<Facts>): ClusterFacts[] {
  return [...items]
    .flatMap(({ metadata, spec }) => {
      const facts = {
        apiVersion: 'portcullis.dev/v1alpha1',
        kind: 'ClusterFacts',
        metadata: { name: metadata.name },
        spec,
      };
      return isFacts(facts) ? [facts] : [];
    })
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
