/**
 * Writes the tables of docs/settings.md and docs/metrics.md, between their markers, out of the settings and the metrics
 * themselves. Run by `npm run generate`; a test compares what stands there with what this makes.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Registry } from 'prom-client';
import { registerReportMetrics } from '../agent/report/report-metrics.ts';
import { settingTable } from '../agent/settings-table.ts';
import { AgentMetrics } from '../agent/telemetry/metrics.ts';
import { metricsMeaning } from '../agent/telemetry/metrics-meaning.ts';
import { KubeMetrics } from '../kube/reflector-metrics.ts';
import {
  type DescribedMetric,
  describedMetrics,
  type FreshPage,
  metricsMarkdown,
  settingsMarkdown,
  withGenerated,
} from './documentation-tables.ts';

/** The agent's metrics with type and labels, as its registry has them. */
export function registeredMetrics(): readonly DescribedMetric[] {
  const read = () => {
    throw new Error('nothing is scraped here');
  };
  return describedMetrics(new AgentMetrics({ version: '', layoutVersion: 0, read }).registry);
}

/** Those that an agent has in a cluster besides. */
export function clusterMetrics(): readonly DescribedMetric[] {
  const registry = new Registry();
  const counts = { ok: 0, refused: 0, unanswered: 0, suppressed: 0, lastSuccessAtMs: undefined };
  registerReportMetrics(registry, { counts, lastSuccessAgeMs: undefined });
  new KubeMetrics(registry);
  return describedMetrics(registry);
}

function meaningOf({ name }: DescribedMetric): string {
  const meaning = metricsMeaning[name];
  if (meaning === undefined) throw new Error(`${name} has no meaning in metrics-meaning.ts`);
  return meaning;
}

/** The pages as they should be. */
export function freshPages(): readonly FreshPage[] {
  const pageOf = (name: string, make: (page: string) => string): FreshPage => {
    const path = fileURLToPath(new URL(`../${name}`, import.meta.url));
    const committed = readFileSync(path, 'utf8');
    return { path, committed, fresh: make(committed) };
  };
  return [
    pageOf('docs/settings.md', (page) => withGenerated(page, settingsMarkdown(settingTable))),
    pageOf('docs/metrics.md', (page) => {
      const withOwn = withGenerated(page, metricsMarkdown(registeredMetrics(), meaningOf));
      return withGenerated(withOwn, metricsMarkdown(clusterMetrics(), meaningOf), 'cluster');
    }),
  ];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { path, fresh } of freshPages()) writeFileSync(path, fresh);
}
