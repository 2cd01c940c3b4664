/**
 * Writes the tables of docs/settings.md and docs/metrics.md, between their markers, out of the settings and the metrics
 * themselves. Run by `npm run generate`; a test compares what stands there with what this makes.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { environmentName, type Setting, settingTable } from '../agent/settings-table.ts';
import { AgentMetrics } from '../agent/telemetry/metrics.ts';
import { metricsMeaning } from '../agent/telemetry/metrics-meaning.ts';

/** One table of each group of settings. */
export function settingsMarkdown(): string {
  const lines: string[] = [];
  let group = '';
  for (const setting of Object.values<Setting<unknown>>(settingTable)) {
    if (setting.group !== group) {
      lines.push(...(group === '' ? [] : ['']), `### ${setting.group}`, '');
      lines.push('| flag | variable | value | default | meaning |', '|---|---|---|---|---|');
    }
    group = setting.group;
    const { flag, form, description } = setting;
    const standard = setting.default ? `\`${setting.default}\`` : 'none';
    const repeat = setting.repeatable === true ? ' May be repeated.' : '';
    const cells = [`\`--${flag}\``, `\`${environmentName(flag)}\``, form.allowed, standard, description + repeat];
    lines.push(`| ${cells.map(escapeCell).join(' | ')} |`);
  }
  return lines.join('\n');
}

interface Described {
  readonly name: string;
  readonly type: string;
  readonly labelNames: readonly string[];
}

/** The agent's metrics with type and labels, as its registry has them. */
export function registeredMetrics(): readonly Described[] {
  const read = () => {
    throw new Error('nothing is scraped here');
  };
  const { registry } = new AgentMetrics({ version: '', layoutVersion: 0, read });
  const typeOf = (metric: object) => metric.constructor.name.toLowerCase();
  // prom-client types its metrics as plain descriptions and hides the labels.
  const metrics = registry.getMetricsAsArray() as unknown as (object & Described)[];
  return metrics.map((metric) => ({ name: metric.name, type: typeOf(metric), labelNames: metric.labelNames }));
}

export function metricsMarkdown(): string {
  const lines = ['| metric | type | labels | meaning |', '|---|---|---|---|'];
  for (const { name, type, labelNames } of registeredMetrics()) {
    const labels = labelNames.map((label) => `\`${label}\``).join(', ');
    const meaning = metricsMeaning[name];
    if (meaning === undefined) throw new Error(`${name} has no meaning in metrics-meaning.ts`);
    lines.push(`| \`${name}\` | ${type} | ${labels} | ${escapeCell(meaning)} |`);
  }
  return lines.join('\n');
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|');
}

/** `page` with `content` in place of what stands between the markers. */
export function withGenerated(page: string, content: string): string {
  const marked = /(<!-- generated: [^\n]*-->\n)[\s\S]*?(\n<!-- end of generated -->)/;
  if (!marked.test(page)) throw new Error('the page has no markers for the generated part');
  return page.replace(marked, (_, begin: string, end: string) => `${begin}\n${content}\n${end}`);
}

/** The pages as they should be. */
export function freshPages(): readonly { readonly path: string; readonly committed: string; readonly fresh: string }[] {
  const contents = { 'docs/settings.md': settingsMarkdown(), 'docs/metrics.md': metricsMarkdown() };
  return Object.entries(contents).map(([name, content]) => {
    const path = fileURLToPath(new URL(`../${name}`, import.meta.url));
    const committed = readFileSync(path, 'utf8');
    return { path, committed, fresh: withGenerated(committed, content) };
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { path, fresh } of freshPages()) writeFileSync(path, fresh);
}
