/**
 * Writes the NodeReport: at once what is news, from a bucket what goes on, and what did not change every few minutes.
 *
 *   const reporter = new Reporter({
 *     clock: systemClock,
 *     random: Math.random,
 *     write: async (report, signal) => {
 *       await client.apply(resources.nodeReports, report, { fieldManager: 'portcullis-agent', force: true, signal });
 *     },
 *     onFinding: (finding) => { reportFinding = finding; },
 *     onError: (error) => log(error),
 *   });
 *   registerReportMetrics(registry, reporter);      // report-metrics.ts
 *   const running = reporter.run(signal);          // beside the other loops; never rejects
 *   reporter.offer(() => buildNodeReport({ ... })); // after each apply, and every few seconds for the blocks
 *   reporter.setNodeCount(facts.nodeCount);        // whenever ClusterFacts tell
 *
 * Offer nothing before the first apply. What `build` returns is never changed afterwards.
 */
import { type Clock, sleep } from '../../kube/clock.ts';
import { RateBucket } from '../../kube/rate-bucket.ts';
import { type Finding, findingOf } from '../finding.ts';
import type { NodeReportObject } from './node-report.ts';
import { isNews, isOrdered, sameReport } from './report-news.ts';

export interface ReporterOptions {
  /** One server-side apply; rejects when it was refused or not answered. A KubeError's status and retryAfterMs are heeded. */
  readonly write: (report: NodeReportObject, signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  /** 0 to below 1. */
  readonly random: () => number;
  /** Nodes of the cluster, about; 1 until setNodeCount tells. */
  readonly nodeCount?: number;
  /** News that may be written at once after quiet. */
  readonly burst?: number;
  /** One write of news in so long when it goes on, up to 1,000 nodes; longer in proportion beyond. */
  readonly intervalMs?: number;
  /**
   * As burst and intervalMs, for what people ordered: policies, exceptions, break-glass. An attacker cannot make such news, but
   * exceptions that end one each second do.
   */
  readonly orderedBurst?: number;
  readonly orderedIntervalMs?: number;
  /** After so long without a write the report is written again, so that it is known to be fresh; jittered by a fifth. */
  readonly renewMs?: number;
  /** What happens together is told together. */
  readonly coalesceMs?: number;
  /** What a person should know while reports cannot be written; undefined when they can again. */
  readonly onFinding?: (finding: Finding | undefined) => void;
  /** Every write that failed, and every build that threw. */
  readonly onError?: (error: unknown) => void;
}

export interface ReportCounts {
  readonly ok: number;
  /** The server answered, and refused. */
  readonly refused: number;
  /** There was no answer. */
  readonly unanswered: number;
  /** Changes that were not written by themselves, since they were no news or their time had not come. */
  readonly suppressed: number;
  /** On the clock that was passed in; undefined before the first. */
  readonly lastSuccessAtMs: number | undefined;
}

/**
 * Up to so many nodes each writes once an interval. From there on all of them together stay at 1,000 / 30 s = 33 writes a
 * second under continuous news, however many they are, and at 200 more while people order without end; unchanged reports of
 * 5,000 nodes are 17 a second.
 */
const nodesAtFullRate = 1000;
/** What concerns all nodes at the same moment, such as a new policy, makes at most 250 writes a second. */
const spreadMsPerNode = 4;
/** And comes after the reads that the same change makes of all nodes. */
const maxHeadStartMs = 2000;
const renewJitter = 0.2;
const firstRetryMs = 1000;
const maxRetryMs = 30_000;
/** A server that is restarted is no finding. */
const failuresUntilFinding = 3;

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const numberIn = (error: unknown, field: 'status' | 'retryAfterMs'): number | undefined => {
  const value = typeof error === 'object' && error !== null ? (error as Record<string, unknown>)[field] : undefined;
  return typeof value === 'number' ? value : undefined;
};

export class Reporter {
  readonly #options: ReporterOptions;
  readonly #clock: Clock;
  readonly #burst: number;
  readonly #intervalMs: number;
  readonly #renewMs: number;
  readonly #coalesceMs: number;
  #nodeCount: number;
  #bucket: RateBucket;
  readonly #orderedBurst: number;
  readonly #orderedIntervalMs: number;
  #ordered: RateBucket;

  #build: (() => NodeReportObject) | undefined;
  #told: NodeReportObject | undefined;
  /** When to look whether something must be written; Infinity when nothing was offered since. */
  #lookAtMs = Number.POSITIVE_INFINITY;
  #renewAtMs = Number.POSITIVE_INFINITY;
  /** What is to be looked at is news that waits for its turn. */
  #waitsForTurn = false;
  #retryAtMs = 0;
  #failures = 0;
  #toldFinding: string | undefined;
  #wake = () => {};
  readonly #counts = { ok: 0, refused: 0, unanswered: 0, suppressed: 0 };
  #lastSuccessAtMs: number | undefined;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#burst = options.burst ?? 3;
    this.#intervalMs = options.intervalMs ?? 30_000;
    this.#renewMs = options.renewMs ?? 300_000;
    this.#coalesceMs = options.coalesceMs ?? 200;
    this.#nodeCount = Math.max(1, options.nodeCount ?? 1);
    this.#orderedBurst = options.orderedBurst ?? 3;
    this.#orderedIntervalMs = options.orderedIntervalMs ?? 5000;
    this.#bucket = this.#newBucket(this.#burst, this.#intervalMs);
    this.#ordered = this.#newBucket(this.#orderedBurst, this.#orderedIntervalMs);
  }

  get counts(): ReportCounts {
    return { ...this.#counts, lastSuccessAtMs: this.#lastSuccessAtMs };
  }

  /** How long ago a report was written; undefined before the first. */
  get lastSuccessAgeMs(): number | undefined {
    return this.#lastSuccessAtMs === undefined ? undefined : this.#clock.nowMs() - this.#lastSuccessAtMs;
  }

  /** `build` gives the report as it is when it is called; a newer offer takes its place. Cheap enough for every second. */
  offer(build: () => NodeReportObject): void {
    this.#build = build;
    // While news waits for its turn, something may come that need not.
    if (this.#lookAtMs !== Number.POSITIVE_INFINITY && !this.#waitsForTurn) return;
    this.#waitsForTurn = false;
    const mostMs = this.#nodeCount * spreadMsPerNode;
    const waitMs = Math.min(mostMs / 2, maxHeadStartMs) + this.#options.random() * mostMs;
    this.#lookAtMs = Math.min(this.#lookAtMs, this.#clock.nowMs() + this.#coalesceMs + waitMs);
    this.#wake();
  }

  /** Of a cluster that grew or shrank. Saves up no burst: the tokens that are there stay as they are. */
  setNodeCount(nodeCount: number): void {
    if (!(nodeCount >= 1) || nodeCount === this.#nodeCount) return;
    this.#nodeCount = nodeCount;
    this.#bucket = this.#renewedBucket(this.#bucket, this.#burst, this.#intervalMs);
    this.#ordered = this.#renewedBucket(this.#ordered, this.#orderedBurst, this.#orderedIntervalMs);
  }

  #renewedBucket(before: RateBucket, burst: number, intervalMs: number): RateBucket {
    let tokens = 0;
    while (before.take()) tokens++;
    const bucket = this.#newBucket(burst, intervalMs);
    for (let taken = tokens; taken < burst; taken++) bucket.take();
    return bucket;
  }

  /** Until `signal` aborts; never rejects. A write that is under way is given up then. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const dueAtMs = this.#build === undefined ? Number.POSITIVE_INFINITY : Math.min(this.#lookAtMs, this.#renewAtMs);
      const restMs = Math.max(dueAtMs, this.#retryAtMs) - this.#clock.nowMs();
      if (restMs > 0) await this.#rest(restMs, signal);
      else await this.#look(signal);
    }
  }

  async #rest(restMs: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    await sleep(this.#clock, restMs, AbortSignal.any([signal, woken.signal]));
    this.#wake = () => {};
  }

  async #look(signal: AbortSignal): Promise<void> {
    const nowMs = this.#clock.nowMs();
    this.#lookAtMs = Number.POSITIVE_INFINITY;
    this.#waitsForTurn = false;
    const report = this.#builtReport();
    if (report === undefined) {
      // The next offer may be a better one.
      if (nowMs >= this.#renewAtMs) this.#renewAtMs = nowMs + this.#jittered(this.#renewMs);
      return;
    }
    // A renewal needs no token: it comes at most once in 4 minutes. If it fails, what follows does.
    const isRenewal = nowMs >= this.#renewAtMs;
    const isFree = isRenewal && this.#failures === 0;
    if (!isRenewal && this.#told !== undefined && !isNews(this.#told, report)) {
      if (!sameReport(this.#told, report)) this.#counts.suppressed++;
      return;
    }
    const bucket = this.#told !== undefined && isOrdered(this.#told, report) ? this.#ordered : this.#bucket;
    const turnAtMs = isFree ? nowMs : Math.min(bucket.nextAtMs(), this.#bucket.nextAtMs());
    // Asked anew: building took time, and the bucket told the time after it.
    if (turnAtMs > this.#clock.nowMs()) {
      this.#counts.suppressed++;
      // A renewal that failed waits for its turn as well.
      if (isRenewal) this.#retryAtMs = turnAtMs;
      this.#lookAtMs = turnAtMs;
      this.#waitsForTurn = true;
      return;
    }
    const isReady = bucket.nextAtMs() <= this.#clock.nowMs();
    await this.#write(report, isFree ? undefined : isReady ? bucket : this.#bucket, signal);
  }

  #builtReport(): NodeReportObject | undefined {
    try {
      return this.#build?.();
    } catch (error) {
      this.#complain(error);
      return undefined;
    }
  }

  async #write(report: NodeReportObject, bucket: RateBucket | undefined, signal: AbortSignal): Promise<void> {
    try {
      await unlessAborted(this.#options.write(report, signal), signal);
    } catch (error) {
      if (!signal.aborted) this.#onFailure(error, bucket);
      return;
    }
    bucket?.take();
    this.#counts.ok++;
    this.#failures = 0;
    this.#retryAtMs = 0;
    this.#told = report;
    this.#lastSuccessAtMs = this.#clock.nowMs();
    this.#renewAtMs = this.#lastSuccessAtMs + this.#jittered(this.#renewMs);
    this.#tellFinding(undefined);
  }

  #onFailure(error: unknown, bucket: RateBucket | undefined): void {
    const status = numberIn(error, 'status');
    if (status === 0) this.#counts.unanswered++;
    else {
      // What reached nobody spends nothing, so that reports resume as soon as the server is back.
      this.#counts.refused++;
      bucket?.take();
    }
    this.#failures++;
    const backoffMs = Math.min(firstRetryMs * 2 ** Math.min(this.#failures - 1, 10), maxRetryMs);
    const waitMs = Math.max(backoffMs * (0.5 + this.#options.random() / 2), numberIn(error, 'retryAfterMs') ?? 0);
    this.#retryAtMs = this.#clock.nowMs() + waitMs;
    this.#lookAtMs = this.#retryAtMs;
    this.#complain(error);
    const isLasting = status !== undefined && [400, 403, 404, 422].includes(status);
    if (isLasting || this.#failures >= failuresUntilFinding) this.#tellFinding(error);
  }

  /** Once for each kind of failure, however often it is tried. */
  #tellFinding(error: unknown): void {
    const kind = error === undefined ? undefined : String(numberIn(error, 'status') ?? 'other');
    if (kind === this.#toldFinding) return;
    this.#toldFinding = kind;
    const finding = error === undefined ? undefined : findingOfFailure(error);
    try {
      this.#options.onFinding?.(finding);
    } catch (thrown) {
      this.#complain(thrown);
    }
  }

  #complain(error: unknown): void {
    try {
      this.#options.onError?.(error);
    } catch {
      // Whoever is told must not end the loop.
    }
  }

  #jittered(ms: number): number {
    return ms * (1 - renewJitter + 2 * renewJitter * this.#options.random());
  }

  #newBucket(burst: number, fullRateMs: number): RateBucket {
    const intervalMs = fullRateMs * Math.max(1, this.#nodeCount / nodesAtFullRate);
    return new RateBucket({ burst, intervalMs, nowMs: () => this.#clock.nowMs() });
  }
}

const remedies: Readonly<Record<number, string>> = {
  401: 'Give the agent a valid token; a projected one is renewed by the kubelet.',
  403: "Apply the agent's ClusterRole and ValidatingAdmissionPolicy out of deploy/, and give the agent a token that is bound to its own pod.",
  404: 'Apply the CustomResourceDefinitions in crds/.',
  422: 'Apply the CustomResourceDefinitions of the version of the agent.',
};

function findingOfFailure(error: unknown): Finding {
  const remedy = remedies[numberIn(error, 'status') ?? 0];
  return findingOf('ReportNotWritten', `the report of this node cannot be written: ${messageOf(error)}`, {
    ...(remedy !== undefined && { remedy }),
  });
}

/** Settles when `work` does, or rejects when the signal aborts, also when `work` does not heed it. */
function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
