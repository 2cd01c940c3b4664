import { Counter, Gauge } from 'prom-client';
import { isConflict, isNotFound } from '../../../kube/errors.ts';
import type { KubeObject } from '../../../kube/objects.ts';
import { resources } from '../../../kube/resources.ts';
import { type RunResult, WorkQueue } from '../../../kube/work-queue.ts';
import type { Controller, ControllerContext } from '../../controller.ts';
import { maxRetryDelayMs } from '../retry-delay.ts';
import { type OwnedReport, planOrphans } from './reconcile.ts';

/** Looks at all reports and nodes at once, so news is collected for a while. */
const settleMs = 1000;
const all = 'all';

/** Deletes the reports of nodes that are gone; where a garbage collector runs it is mostly faster. */
export class OrphanedReportsController implements Controller {
  readonly name = 'node-report';
  readonly #context: ControllerContext;
  readonly #queue: WorkQueue;
  readonly #orphans: Gauge;
  readonly #deleted: Counter;
  #orphanSinceMs: ReadonlyMap<string, number> = new Map();

  constructor(context: ControllerContext) {
    const { clock, random, registry, queueMetrics } = context;
    this.#context = context;
    this.#queue = new WorkQueue({ clock, random, maxDelayMs: maxRetryDelayMs, metrics: queueMetrics(this.name) });
    const registers = [registry];
    this.#orphans = new Gauge({
      name: 'portcullis_operator_orphaned_reports',
      help: 'NodeReports whose Node is gone.',
      registers,
    });
    this.#deleted = new Counter({
      name: 'portcullis_operator_orphaned_reports_deleted_total',
      help: 'NodeReports that were deleted since their Node is gone.',
      registers,
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    const { shared, logger } = this.#context;
    const look = () => this.#queue.addAfter(all, settleMs);
    const unsubscribe = [
      // A report that changes gains or loses no Node, unless it has another owner.
      shared.reports.subscribe(({ object, previous }) => {
        if (previous?.ownerNodeUid !== object.ownerNodeUid || previous?.metadata.uid !== object.metadata.uid) look();
      }),
      shared.nodes.subscribe(({ type }) => {
        if (type !== 'updated') look();
      }),
    ];
    this.#queue.add(all);
    try {
      const onError = (_: string, error: unknown, retry: { readonly inMs: number }) => {
        logger.warn({ err: error, retryInMs: Math.round(retry.inMs) }, 'reports of nodes that are gone not deleted');
      };
      await this.#queue.run({ workers: 1, handle: () => this.#look(signal), onError }, signal);
    } finally {
      for (const end of unsubscribe) end();
    }
  }

  async #look(signal: AbortSignal): Promise<RunResult> {
    const { shared, clock, settings } = this.#context;
    const nodes = new Map([...shared.nodes.items.values()].map(({ metadata }) => [metadata.name, metadata.uid]));
    const reports = [...shared.reports.items.values()].map(({ metadata, ownerNodeUid }) => ({
      name: metadata.name,
      uid: metadata.uid ?? '',
      ownerNodeUid,
    }));
    const nowMs = clock.nowMs();
    const graceMs = settings.orphanGraceMs;
    const plan = planOrphans({ reports, nodes, orphanSinceMs: this.#orphanSinceMs, nowMs, graceMs });
    this.#orphanSinceMs = plan.orphanSinceMs;
    this.#orphans.set(plan.orphans);
    for (const report of plan.due) await this.#delete(report, signal);
    return plan.againAfterMs === undefined ? undefined : { againAfterMs: plan.againAfterMs };
  }

  async #delete({ name, uid, ownerNodeUid }: OwnedReport, signal: AbortSignal): Promise<void> {
    const { client, logger } = this.#context;
    // The copies may lag behind, and a report that is deleted in error is missing until its agent writes again.
    const node = await this.#nodeUid(name, signal);
    if (node !== undefined && (ownerNodeUid === undefined || ownerNodeUid === node)) return;
    try {
      await client.delete(resources.nodeReports, name, { uid, signal });
    } catch (error) {
      // Made anew since.
      if (!isConflict(error)) throw error;
      return;
    }
    this.#deleted.inc();
    logger.info({ node: name }, 'the report of a node that is gone was deleted');
  }

  async #nodeUid(name: string, signal: AbortSignal): Promise<string | undefined> {
    try {
      const { metadata } = await this.#context.client.get<KubeObject>(resources.nodes, name, {
        metadataOnly: true,
        signal,
      });
      return metadata.uid;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }
}
