import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { KeyPairFolder } from '../cli/key-pair.ts';
import { startMetricsServer } from '../cli/metrics-server.ts';
import type { KubeClient } from '../kube/client.ts';
import { type Clock, systemClock } from '../kube/clock.ts';
import { EventRecorder } from '../kube/events.ts';
import { openKubeClient } from '../kube/http-client.ts';
import { LeaderElector } from '../kube/leader.ts';
import type { ReflectorLog } from '../kube/reflector.ts';
import { ScrapeReview } from '../kube/scrape-review.ts';
import type { ControllerContext, Logger } from './controller.ts';
import { lead } from './lead.ts';
import { leaderClient } from './leader-client.ts';
import { Loops } from './loops.ts';
import { type OperatorMetrics, operatorMetrics } from './metrics.ts';
import { createReflectors, type SharedReflectors } from './reflectors.ts';
import type { OperatorSettings } from './settings-table.ts';

export interface OperatorOptions {
  readonly settings: OperatorSettings;
  readonly version: string;
  readonly logger: Logger;
  /** Told at once when the lead is lost, before anything was stopped. */
  readonly onLost?: () => void;
  readonly clock?: Clock;
  readonly random?: () => number;
}

/** `lost`: another replica leads, or may; the process is to end with an error, and to be started again. */
export type OperatorEnd = 'stopped' | 'lost';

/** A replica of the operator: keeps copies of what it watches, and works with them while it leads. */
export class Operator {
  readonly #settings: OperatorSettings;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #onLost: (() => void) | undefined;
  readonly #registry: Registry;
  readonly #client: KubeClient;
  /** Renewals must not wait behind other requests, nor be limited with them. */
  readonly #leaseClient: KubeClient;
  readonly #metrics: OperatorMetrics;

  /** Rejects with an error that names the file when the configuration cannot be read. */
  static async open(options: OperatorOptions): Promise<Operator> {
    const { settings, version } = options;
    const registry = new Registry();
    collectDefaultMetrics({ register: registry });
    const metrics = operatorMetrics(registry, version, settings.leaseName);
    const common = {
      ...(settings.kubeconfig === undefined ? {} : { kubeconfig: settings.kubeconfig }),
      userAgent: `portcullis-operator/${version}`,
      metrics: metrics.kube,
    };
    const client = await openKubeClient({
      ...common,
      qps: settings.requestsPerSecond,
      burst: settings.requestsBurst,
    });
    try {
      const leaseClient = await openKubeClient({ ...common, requestTimeoutMs: settings.leaseRenewDeadlineMs });
      return new Operator(options, { registry, metrics, client, leaseClient });
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  private constructor(
    { settings, logger, onLost, clock = systemClock, random = Math.random }: OperatorOptions,
    parts: { registry: Registry; metrics: OperatorMetrics; client: KubeClient; leaseClient: KubeClient },
  ) {
    this.#settings = settings;
    this.#logger = logger;
    this.#clock = clock;
    this.#random = random;
    this.#onLost = onLost;
    this.#registry = parts.registry;
    this.#metrics = parts.metrics;
    this.#client = parts.client;
    this.#leaseClient = parts.leaseClient;
  }

  /** Works until `signal` aborts or the lead is lost; by then the Lease is given away and every connection is closed. */
  async run(signal: AbortSignal): Promise<OperatorEnd> {
    const { metricsAddress, namespace } = this.#settings;
    const stop = new AbortController();
    const onAbort = () => stop.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const shared = createReflectors({
      client: this.#client,
      namespace,
      clock: this.#clock,
      random: this.#random,
      metrics: this.#metrics.kube,
      log: (name, entry) => this.#logReflector(name, entry),
    });
    const loops = new Loops(this.#clock, shared.all, shared.needed);
    // Copies and Events outlive the work of the leader, which needs them until it has ended.
    const late = new AbortController();
    const running: Promise<unknown>[] = [];
    try {
      if (metricsAddress !== null) running.push((await this.#serve(metricsAddress, loops, late.signal)).closed);
      const events = this.#eventRecorder();
      running.push(loops.track('events', events.run(late.signal)));
      for (const reflector of shared.all) running.push(loops.track(reflector.name, reflector.run(late.signal)));
      await Promise.race([Promise.all(shared.needed.map(({ synced }) => synced)), aborted(stop.signal)]);
      if (stop.signal.aborted) return 'stopped';
      this.#logger.info({ event: 'synced' }, 'all that is needed has been read: this replica can lead');
      return await loops.track('election', this.#elect(shared, events, loops, stop.signal));
    } finally {
      signal.removeEventListener('abort', onAbort);
      loops.stopping();
      late.abort();
      await Promise.allSettled(running);
      await Promise.allSettled([this.#client.close(), this.#leaseClient.close()]);
    }
  }

  async #elect(
    shared: SharedReflectors,
    events: EventRecorder,
    loops: Loops,
    signal: AbortSignal,
  ): Promise<OperatorEnd> {
    const settings = this.#settings;
    const logger = this.#logger;
    const identity = `${hostname()}_${randomBytes(6).toString('hex')}`;
    signal.addEventListener('abort', () => loops.stopping(), { once: true });
    const elector = new LeaderElector({
      client: this.#leaseClient,
      namespace: settings.namespace,
      name: settings.leaseName,
      identity,
      timings: {
        leaseDurationMs: settings.leaseDurationMs,
        renewDeadlineMs: settings.leaseRenewDeadlineMs,
        retryPeriodMs: settings.leaseRetryPeriodMs,
        requestTimeoutMs: settings.leaseRenewDeadlineMs / 2,
      },
      clock: this.#clock,
      random: this.#random,
      leading: async (leading) => {
        const context: ControllerContext = {
          client: leaderClient(this.#client, () => elector.isLeader),
          shared,
          settings,
          namespace: settings.namespace,
          clock: this.#clock,
          random: this.#random,
          logger,
          registry: this.#registry,
          queueMetrics: (queue) => this.#metrics.queues.of(queue),
          happened: (happening) => events.record(happening),
        };
        leading.addEventListener('abort', () => loops.stopping(), { once: true });
        await lead(context, (name, loop) => loops.track(name, loop), leading);
      },
      onError: (error) => logger.warn({ event: 'lease', err: error }, 'the Lease could not be read or written'),
      onHolder: (holder) =>
        logger.info({ event: 'leader', holder }, holder === '' ? 'nobody leads' : 'another replica leads'),
      onChange: (change) => {
        this.#metrics.leaderChanged(change);
        if (change === 'lost') this.#onLost?.();
        const fields = { event: 'leader', change, identity };
        if (change === 'lost') logger.error(fields, 'the lead is lost: this process ends, so that nobody works twice');
        else logger.info(fields, change === 'gained' ? 'this replica leads' : 'the lead is given away');
      },
    });
    return await elector.run(signal);
  }

  #eventRecorder(): EventRecorder {
    return new EventRecorder({
      client: this.#client,
      component: 'portcullis.dev/operator',
      instance: hostname(),
      clock: this.#clock,
      random: this.#random,
      onError: (error) => this.#logger.warn({ event: 'events', err: error }, 'an Event could not be written'),
      metrics: this.#metrics.events,
    });
  }

  async #serve(address: { readonly host: string; readonly port: number }, loops: Loops, signal: AbortSignal) {
    const { metricsTlsFolder, metricsAuthorization } = this.#settings;
    const review = new ScrapeReview({
      client: this.#client,
      onError: (err) =>
        this.#logger.warn({ event: 'scrape-review', err }, 'no scrape is let in: the API server cannot be asked'),
    });
    const server = await startMetricsServer({
      address,
      keyPairs: metricsTlsFolder === undefined ? undefined : new KeyPairFolder(metricsTlsFolder),
      access: metricsAuthorization === 'TokenReview' ? review.access : undefined,
      metrics: this.#metrics.server,
      render: () => this.#registry.metrics(),
      contentType: this.#registry.contentType,
      health: () => ({ live: loops.notLive(), ready: loops.notReady() }),
      signal,
      onError: (error) => this.#logger.warn({ event: 'metrics', err: error }, 'the metrics could not be read'),
    });
    this.#logger.info({ event: 'listening', ...server.address }, 'metrics and health are served');
    return server;
  }

  #logReflector(name: string, { level, message, ...fields }: ReflectorLog): void {
    const { error, ...rest } = fields;
    // What a server says is in the message; a stack is of use where this program is at fault.
    const stack = error === undefined || level !== 'error' ? {} : { err: error };
    this.#logger[level]({ event: 'watch', resource: name, ...rest, ...stack }, message);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
