import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import type { KubeClient } from '../../kube/client.ts';
import { systemClock } from '../../kube/clock.ts';
import { openKubeClient } from '../../kube/http-client.ts';
import { KubeMetrics } from '../../kube/reflector-metrics.ts';
import { WorkQueueMetrics } from '../../kube/work-queue-metrics.ts';
import type { Controller, ControllerContext, Logger } from '../../operator/controller.ts';
import { createReflectors } from '../../operator/reflectors.ts';
import { parseCommandLine } from '../../operator/settings.ts';
import { waitFor } from '../support/wait-for.ts';
import type { Cluster } from './control-plane/cluster.ts';

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Some controllers of the operator, as they run in a replica that leads. */
export interface OperatorParts<C> extends AsyncDisposable {
  readonly controllers: C;
  readonly client: KubeClient;
  readonly context: ControllerContext;
  readonly log: readonly LogLine[];
  readonly registry: Registry;
  /** Ends all of it, as a replica does that is told to. */
  stop(): Promise<void>;
}

export interface OperatorPartsOptions<C> {
  /** As on the command line of the operator, behind `run`. */
  readonly flags?: readonly string[];
  readonly controllers: (context: ControllerContext) => C;
}

/** With the rights and the limits of the real operator: a token of its service account. */
export async function startOperatorParts<C extends readonly Controller[]>(
  cluster: Cluster,
  { flags = [], controllers }: OperatorPartsOptions<C>,
): Promise<OperatorParts<C>> {
  const namespace = 'portcullis-system';
  const token = await cluster.tokenFor({ namespace, serviceAccount: 'portcullis-operator' });
  const folder = mkdtempSync(join(cluster.folder, 'operator-'));
  const { kubeconfig } = cluster.kubeconfigForToken(folder, token);
  const client = await openKubeClient({ kubeconfig, userAgent: 'portcullis-operator', qps: 20, burst: 40 });
  const command = parseCommandLine(['run', ...flags], {});
  if (command.name !== 'run') throw new Error(`${flags.join(' ')}: no settings`);
  const log: LogLine[] = [];
  const line = (level: string) => (fields: object, message: string) =>
    void log.push({ level, message, fields: fields as Readonly<Record<string, unknown>> });
  const logger: Logger = { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
  const registry = new Registry();
  const queues = new WorkQueueMetrics(registry);
  const clock = systemClock;
  const random = Math.random;
  const shared = createReflectors({
    client,
    namespace,
    clock,
    random,
    metrics: new KubeMetrics(registry),
    log: (name, { level, message, error }) => line(level)({ collection: name, error }, message),
  });
  const context: ControllerContext = {
    client,
    shared,
    settings: command.settings,
    namespace,
    clock,
    random,
    logger,
    registry,
    queueMetrics: (queue) => queues.of(queue),
    happened: () => {},
  };
  const made = controllers(context);
  const end = new AbortController();
  const watches = shared.all.map((reflector) => reflector.run(end.signal));
  let runs: Promise<void>[] = [];
  const stop = async () => {
    end.abort();
    await Promise.all([...watches, ...runs]);
    await client.close();
  };
  try {
    await waitFor(() => shared.needed.every(({ hasSynced }) => hasSynced), 30_000, { what: 'all collections listed' });
  } catch (error) {
    await stop();
    throw new Error(`not listed: ${JSON.stringify(log.slice(-5))}`, { cause: error });
  }
  runs = made.map((controller) => controller.run(end.signal));
  return { controllers: made, client, context, log, registry, stop, [Symbol.asyncDispose]: stop };
}

/** What the controllers complain of; a server that has just started may refuse a watch or two. */
export const complaints = (log: readonly LogLine[]): readonly LogLine[] =>
  log.filter(({ level, fields }) => (level === 'warn' || level === 'error') && fields.collection === undefined);
