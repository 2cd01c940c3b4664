import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { chartFolder } from '../../../scripts/generate-chart-docs.ts';
import type { Manifest } from '../../chart/render.ts';

/** An expression, by the name of the alert or of dashboard and panel. */
export type NamedExpression = readonly [name: string, expr: string];

export const alertsFile = join(chartFolder, 'files/alerts.yaml');

export const alerts: readonly NamedExpression[] = parse(readFileSync(alertsFile, 'utf8')).groups.flatMap(
  ({ rules }: Manifest) => rules.map(({ alert, expr }: Manifest) => [alert, expr]),
);

const boards: readonly Manifest[] = globSync('files/dashboards/*.json', { cwd: chartFolder }).map((path) =>
  JSON.parse(readFileSync(join(chartFolder, path), 'utf8')),
);

/** As they stand in the files: with Grafana's variables. */
export const panels: readonly NamedExpression[] = boards.flatMap((board) =>
  board.panels.flatMap(({ title, targets = [] }: Manifest) =>
    targets.map(({ expr }: Manifest) => [`${board.title}: ${title}`, expr]),
  ),
);

/** What variables are filled from: label_values(...) of a metric. */
export const variables: readonly (readonly [name: string, selector: string, label: string])[] = boards.flatMap(
  ({ title, templating }) =>
    templating.list
      .filter(({ type }: Manifest) => type === 'query')
      .map(({ name, query }: Manifest) => {
        const [, selector, label] = /^label_values\((.*), (\w+)\)$/.exec(query.query)!;
        return [`${title}: $${name}`, selector!, label!];
      }),
);

/** As Grafana fills in what was chosen, and the time between two points. */
export function filledIn(expr: string, rateInterval: string, chosen: Readonly<Record<string, string>>): string {
  return expr
    .replaceAll('$__rate_interval', rateInterval)
    .replaceAll(/\$(\w+)/g, (text, name: string) => chosen[name] ?? text);
}

/** The series that an expression looks at, without functions, ranges and thresholds. */
export function selectorsOf(expr: string): readonly string[] {
  const found = [...expr.matchAll(/\b(up|(?:portcullis|process|nodejs)_\w+)\b(\{[^}]*\})?/g)];
  return [...new Set(found.map(([, name, matchers]) => `${name}${matchers ?? ''}`))];
}
