/** Tables of settings and metrics for the pages of docs/, and where they stand there. */
import { environmentName, type Setting, type SettingTable } from '../cli/settings.ts';

/** One table of each group of settings. */
export function settingsMarkdown<S>(table: SettingTable<S>): string {
  const lines: string[] = [];
  let group = '';
  for (const setting of Object.values<Setting<unknown>>(table as SettingTable<Record<string, unknown>>)) {
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

/** A metric as a registry has it. */
export interface DescribedMetric {
  readonly name: string;
  readonly type: string;
  readonly labelNames: readonly string[];
  readonly help: string;
}

export function describedMetrics(registry: { getMetricsAsArray(): readonly object[] }): readonly DescribedMetric[] {
  // prom-client types its metrics as plain descriptions and hides the labels.
  const metrics = registry.getMetricsAsArray() as readonly DescribedMetric[];
  return metrics.map((metric) => ({
    name: metric.name,
    type: metric.constructor.name.toLowerCase(),
    labelNames: metric.labelNames,
    help: metric.help,
  }));
}

/** `meaningOf`: what stands in the last column. */
export function metricsMarkdown(
  metrics: readonly DescribedMetric[],
  meaningOf: (metric: DescribedMetric) => string = ({ help }) => help,
): string {
  const lines = ['| metric | type | labels | meaning |', '|---|---|---|---|'];
  for (const metric of metrics) {
    const labels = metric.labelNames.map((label) => `\`${label}\``).join(', ');
    lines.push(`| \`${metric.name}\` | ${metric.type} | ${labels} | ${escapeCell(meaningOf(metric))} |`);
  }
  return lines.join('\n');
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|');
}

/** `page` with `content` in place of what stands between the markers; `name` where a page has several of them. */
export function withGenerated(page: string, content: string, name = ''): string {
  const opening = name === '' ? 'generated' : `generated ${name}`;
  const marked = new RegExp(`(<!-- ${opening}: [^\\n]*-->\\n)[\\s\\S]*?(\\n<!-- end of generated -->)`);
  if (!marked.test(page)) throw new Error(`the page has no markers for the ${opening} part`);
  return page.replace(marked, (_, begin: string, end: string) => `${begin}\n${content}\n${end}`);
}

/** A page as it is committed and as it should be. */
export interface FreshPage {
  readonly path: string;
  readonly committed: string;
  readonly fresh: string;
}
