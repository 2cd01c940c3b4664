import type { Controller, ControllerContext } from './controller.ts';
import { ClusterFactsController } from './controllers/cluster-facts/controller.ts';
import { IpBlocklistController } from './controllers/ip-blocklist/controller.ts';
import { OrphanedReportsController } from './controllers/node-report/controller.ts';
import { PortScanPolicyController } from './controllers/port-scan-policy/controller.ts';
import { PrefixSetController } from './controllers/prefix-set/controller.ts';
import { ExpiredController } from './controllers/source-exception/controller.ts';
import { ReportFeed } from './reports/feed.ts';
import { StatusMetrics } from './status/status-controller.ts';

/** All loops of the leader; the feed is to be loaded before any of them runs. */
export function createControllers(context: ControllerContext): {
  readonly feed: ReportFeed;
  readonly controllers: readonly Controller[];
} {
  const feed = new ReportFeed(context);
  const facts = new ClusterFactsController(context);
  const prefixSets = new PrefixSetController(context);
  const statusMetrics = new StatusMetrics(context.registry);
  const controllers = [
    feed,
    facts,
    prefixSets,
    new PortScanPolicyController(context, feed, facts, statusMetrics),
    new IpBlocklistController(context, feed, facts, prefixSets, statusMetrics),
    new OrphanedReportsController(context),
    new ExpiredController(context),
  ];
  return { feed, controllers };
}

/**
 * What the leader does, until `signal` aborts and everything has ended. When one controller fails, the others are stopped and
 * its error is thrown.
 */
export async function lead(
  context: ControllerContext,
  track: (name: string, loop: Promise<void>) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { feed, controllers } = createControllers(context);
  await feed.load(signal);
  const stop = new AbortController();
  const onAbort = () => stop.abort(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  const run = async (controller: Controller) => {
    try {
      await controller.run(stop.signal);
      if (!stop.signal.aborted) throw new Error(`controller ${controller.name} ended by itself`);
    } catch (error) {
      if (!stop.signal.aborted) {
        context.logger.error({ controller: controller.name, err: error }, 'a controller failed');
        stop.abort(error);
        throw error;
      }
    }
  };
  try {
    const ends = await Promise.allSettled(controllers.map((controller) => track(controller.name, run(controller))));
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
