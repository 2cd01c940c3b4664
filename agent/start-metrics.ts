import { KeyPairFolder } from '../cli/key-pair.ts';
import { type Health, startMetricsServer } from '../cli/metrics-server.ts';
import type { ScrapeAccess } from '../cli/scrape-access.ts';
import { type Served, serveOrRetry } from './serving.ts';
import type { Log } from './telemetry/log.ts';
import type { AgentMetrics } from './telemetry/metrics.ts';

export interface MetricsParts {
  readonly address: { readonly host: string; readonly port: number };
  readonly tlsFolder: string | undefined;
  readonly metrics: AgentMetrics;
  readonly scrapeAccess: ScrapeAccess | undefined;
  /** Whether what keeps it from serving is tried again, and does not end the agent. */
  readonly mayRetry: boolean;
  readonly health: () => Health;
  readonly signal: AbortSignal;
  readonly logger: Log['logger'];
  readonly onError: (error: unknown) => void;
}

/** Serves metrics and health until `signal` aborts. @throws what keeps it from that, unless it may be tried again */
export async function startMetrics(parts: MetricsParts): Promise<Served> {
  const { tlsFolder, metrics, logger, signal, onError } = parts;
  const serve = async () => {
    const server = await startMetricsServer({
      address: parts.address,
      keyPairs: tlsFolder === undefined ? undefined : new KeyPairFolder(tlsFolder),
      access: parts.scrapeAccess,
      metrics: metrics.server,
      render: () => metrics.render(),
      contentType: metrics.registry.contentType,
      health: parts.health,
      signal,
      onError,
    });
    logger.info({ event: 'metrics', ...server.address }, 'metrics are served');
    return server;
  };
  return parts.mayRetry ? await serveOrRetry(serve, { signal, onError }) : await serve();
}
