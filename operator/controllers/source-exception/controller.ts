import { Counter } from 'prom-client';
import { parseTime } from '../../../api/time.ts';
import { isConflict } from '../../../kube/errors.ts';
import type { KubeObject } from '../../../kube/objects.ts';
import { apiVersionOf, type Resource, resources } from '../../../kube/resources.ts';
import { type RunResult, WorkQueue } from '../../../kube/work-queue.ts';
import type { Controller, ControllerContext } from '../../controller.ts';
import { maxRetryDelayMs } from '../retry-delay.ts';
import { type Expiring, exceptionExpiry, isOfPlugin, listExpiry, planExpired } from './reconcile.ts';

/** How often the time is asked for while there is something that expires. */
const intervalMs = 600_000;
const all = 'all';

/** Deletes SourceExceptions and IpBlocklists that the kubectl plugin made and that are over since long. */
export class ExpiredController implements Controller {
  readonly name = 'source-exception';
  readonly #context: ControllerContext;
  readonly #queue: WorkQueue;
  readonly #deleted: Counter;

  constructor(context: ControllerContext) {
    const { clock, random, registry, queueMetrics } = context;
    this.#context = context;
    this.#queue = new WorkQueue({ clock, random, maxDelayMs: maxRetryDelayMs, metrics: queueMetrics(this.name) });
    this.#deleted = new Counter({
      name: 'portcullis_operator_expired_deleted_total',
      help: 'Expired objects of the kubectl plugin that were deleted.',
      labelNames: ['kind'],
      registers: [registry],
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    const { logger } = this.#context;
    this.#queue.add(all);
    const onError = (_: string, error: unknown, retry: { readonly inMs: number }) => {
      logger.warn({ err: error, retryInMs: Math.round(retry.inMs) }, 'expired objects not deleted');
    };
    await this.#queue.run({ workers: 1, handle: () => this.#look(signal), onError }, signal);
  }

  async #look(signal: AbortSignal): Promise<RunResult> {
    const { shared, settings } = this.#context;
    const exceptions = [...shared.exceptions.items.values()].filter(isOfPlugin).map(exceptionExpiry);
    const lists = [...shared.lists.items.values()].filter(isOfPlugin).map(listExpiry);
    const again = { againAfterMs: Math.min(intervalMs, settings.expiredKeepMs) };
    if ([...exceptions, ...lists].every(({ expiresAtMs }) => expiresAtMs === undefined)) return again;
    const nowMs = await this.#serverTimeMs(signal);
    for (const expired of planExpired(exceptions, nowMs, settings.expiredKeepMs)) {
      await this.#delete(resources.sourceExceptions, expired, signal);
    }
    for (const expired of planExpired(lists, nowMs, settings.expiredKeepMs)) {
      await this.#delete(resources.ipBlocklists, expired, signal);
    }
    return again;
  }

  /**
   * The API server's own time, out of an object that it is asked to make and not to keep: a clock of this machine that is
   * wrong by a day must not end an exception that still stands.
   */
  async #serverTimeMs(signal: AbortSignal): Promise<number> {
    const resource = resources.clusterFacts;
    const object = {
      apiVersion: apiVersionOf(resource),
      kind: resource.kind,
      metadata: { name: `clock-${Math.floor(this.#context.random() * 2 ** 32)}` },
      spec: { holds: 'Cluster', count: 0, prefixes: [] },
    };
    const { metadata } = await this.#context.client.create<KubeObject>(resource, object, { dryRun: true, signal });
    const nowMs = parseTime(metadata.creationTimestamp ?? '');
    if (nowMs === undefined) throw new Error('the API server gave an object without creationTimestamp');
    return nowMs;
  }

  async #delete(resource: Resource, { metadata }: Expiring, signal: AbortSignal): Promise<void> {
    const { client, logger } = this.#context;
    const { name, uid, resourceVersion } = metadata;
    try {
      // Somebody may be making it last longer at this moment.
      await client.delete(resource, name, {
        signal,
        ...(uid === undefined ? {} : { uid }),
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
      });
    } catch (error) {
      if (!isConflict(error)) throw error;
      return;
    }
    this.#deleted.inc({ kind: resource.kind });
    logger.info({ object: `${resource.kind}/${name}` }, 'an expired object of the kubectl plugin was deleted');
  }
}
