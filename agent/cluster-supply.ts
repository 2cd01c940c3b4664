import { PortcullisError } from '../api/errors.ts';
import type { KubeClient } from '../kube/client.ts';
import { systemClock } from '../kube/clock.ts';
import { openKubeClient } from '../kube/http-client.ts';
import type { ReflectorLog } from '../kube/reflector.ts';
import { KubeMetrics } from '../kube/reflector-metrics.ts';
import { resources } from '../kube/resources.ts';
import { ScrapeReview } from '../kube/scrape-review.ts';
import type { Finding } from './finding.ts';
import type { PolicySupply, SupplyParts } from './policy-supply.ts';
import { registerReportMetrics } from './report/report-metrics.ts';
import { Reporter } from './report/reporter.ts';
import { KubernetesSource } from './source/kubernetes.ts';
import { orNothing } from './state/or-nothing.ts';
import type { Log } from './telemetry/log.ts';
import { version } from './version.ts';

/** A second; watches are not counted. Ten policies that change at once are read in one go. */
const REQUESTS_PER_SECOND = 5;
const REQUESTS_BURST = 10;
/** The heap is bounded, and who may write one object can write many of 1.5 MB: the reflector takes fewer at a time then. */
const MAX_RESPONSE_BYTES = 8 * 1024 * 1024;
const FIELD_MANAGER = 'portcullis-agent';

/** Policies out of an API server, and the report of this node into it. @throws PortcullisError BadSetting for a kubeconfig that cannot be used */
export async function openCluster({ settings, state, log, registry }: SupplyParts): Promise<PolicySupply> {
  const nodeName = settings.nodeName ?? '';
  const metrics = new KubeMetrics(registry);
  const client = await openClient(settings.kubeconfig, metrics);
  const saved = await orNothing(state?.loadCluster(nodeName), log);
  const source = new KubernetesSource({
    client,
    nodeName,
    ...(saved && { saved }),
    savedChunk: async (name) => await orNothing(state?.loadChunk(name), log),
    jitterMs: settings.readJitterMs,
    metrics,
    log: (entry) => logReflector(log, entry),
  });
  let reportFinding: Finding | undefined;
  const reporter = new Reporter({
    clock: systemClock,
    random: Math.random,
    intervalMs: settings.reportIntervalMs,
    nodeCount: source.nodeCount,
    write: async (report, signal) => {
      const options = { fieldManager: FIELD_MANAGER, force: true, metadataOnly: true, signal };
      await client.apply(resources.nodeReports, report, options);
    },
    onFinding: (finding) => {
      reportFinding = finding;
    },
    onError: (error) => log.logger.debug({ event: 'report-failed', err: error }, `report: ${messageOf(error)}`),
  });
  registerReportMetrics(registry, reporter);
  const review = new ScrapeReview({
    client,
    peers: () => source.nodeCount,
    onError: (err) =>
      log.logger.warn({ event: 'scrape-review', err }, 'no scrape is let in: the API server cannot be asked'),
  });
  return {
    hasLastGood: saved !== undefined && saved.leftOut === undefined,
    waitsFor: `the API server ${client.server}`,
    async run(signal, onSnapshot) {
      const loops = [
        source.run(signal, (snapshot) => {
          reporter.setNodeCount(source.nodeCount);
          onSnapshot(snapshot);
        }),
        reporter.run(signal),
      ];
      try {
        await Promise.all(loops);
      } finally {
        await client.close();
      }
    },
    async save() {
      const now = source.saved();
      if (now !== undefined) await state?.saveCluster(now, (name) => source.chunkText(name));
    },
    findings: () => [...source.findings(), ...(reportFinding ? [reportFinding] : [])],
    offerReport: (build) => reporter.offer(() => build({ name: nodeName })),
    scrapeAccess: settings.metricsAuthorization === 'TokenReview' ? review.access : undefined,
  };
}

async function openClient(kubeconfig: string | undefined, metrics: KubeMetrics): Promise<KubeClient> {
  try {
    return await openKubeClient({
      ...(kubeconfig !== undefined && { kubeconfig }),
      userAgent: `portcullis-agent/${version}`,
      qps: REQUESTS_PER_SECOND,
      burst: REQUESTS_BURST,
      maxResponseBytes: MAX_RESPONSE_BYTES,
      metrics,
    });
  } catch (cause) {
    throw new PortcullisError('BadSetting', `--kubeconfig: ${messageOf(cause)}`, {
      field: '--kubeconfig',
      ...(kubeconfig !== undefined && { value: kubeconfig }),
      remedy: 'Give a kubeconfig that kubectl can use, or run in a pod with a service account.',
      cause,
    });
  }
}

function logReflector({ logger }: Log, { level, message, reason, error, retryInMs }: ReflectorLog): void {
  const wait = retryInMs === undefined ? {} : { retryInMs: Math.round(retryInMs) };
  logger[level](
    { event: 'api-server', ...(reason && { reason }), ...wait, ...(level === 'error' && { err: error }) },
    message,
  );
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
