/**
 * Writes the tables of docs/operator.md, between their markers, out of the operator's settings and metrics themselves. Run by
 * `npm run generate`; a test compares what stands there with what this makes.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Registry } from 'prom-client';
import { systemClock } from '../kube/clock.ts';
import type { ControllerContext } from '../operator/controller.ts';
import { createControllers } from '../operator/lead.ts';
import { operatorMetrics } from '../operator/metrics.ts';
import { parseCommandLine } from '../operator/settings.ts';
import { operatorSettingTable } from '../operator/settings-table.ts';
import {
  type DescribedMetric,
  describedMetrics,
  type FreshPage,
  metricsMarkdown,
  settingsMarkdown,
  withGenerated,
} from './documentation-tables.ts';

/** The operator's metrics: what its parts register when they are made. Nothing of them runs. */
export function registeredMetrics(): readonly DescribedMetric[] {
  const command = parseCommandLine(['run'], {});
  if (command.name !== 'run') throw new Error('the defaults of the settings do not make a run');
  const { settings } = command;
  const registry = new Registry();
  const { queues } = operatorMetrics(registry, '', settings.leaseName);
  createControllers({
    settings,
    shared: {},
    clock: systemClock,
    random: Math.random,
    registry,
    queueMetrics: (queue) => queues.of(queue),
  } as ControllerContext);
  return describedMetrics(registry);
}

/** The page as it should be. */
export function freshPage(): FreshPage {
  const path = fileURLToPath(new URL('../docs/operator.md', import.meta.url));
  const committed = readFileSync(path, 'utf8');
  const withSettings = withGenerated(committed, settingsMarkdown(operatorSettingTable), 'settings');
  return { path, committed, fresh: withGenerated(withSettings, metricsMarkdown(registeredMetrics()), 'metrics') };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { path, fresh } = freshPage();
  writeFileSync(path, fresh);
}
