/** Values that the documentation shows are values that the chart takes. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { chartFolder } from '../../scripts/generate-chart-docs.ts';
import { render } from './render.ts';

const root = join(import.meta.dirname, '../..');
const keys = new Set(Object.keys(parse(readFileSync(join(chartFolder, 'values.yaml'), 'utf8'))));
const shown = ['README.md', ...globSync(['docs/*.md', 'charts/**/*.md'], { cwd: root })].flatMap((page) =>
  [...readFileSync(join(root, page), 'utf8').matchAll(/^```yaml\n([\s\S]*?)^```$/gm)]
    .map(([, text]) => [page, text!] as const)
    .filter(([, text]) => !/^(apiVersion|kind):/m.test(text))
    .map(([, text]) => [page, parse(text) as Readonly<Record<string, unknown>>] as const)
    .filter(([, values]) => Object.keys(values).some((key) => keys.has(key))),
);
/** As on the command line of helm: `--set a.b=c`. */
const set = ['README.md', ...globSync(['docs/*.md', 'charts/**/*.md'], { cwd: root })].flatMap((page) =>
  [...readFileSync(join(root, page), 'utf8').matchAll(/--set ([a-z][\w.]*)=([\w./-]+)/gi)].map(
    ([, path, value]) => [page, path!, value!] as const,
  ),
);

it.each(shown)('%s: %j', async (_, values) => {
  expect((await render(values)).objects.length).toBeGreaterThan(20);
});

it.each(set)('%s: %s=%s', async (_, path, value) => {
  const values = path.split('.').reduceRight((inner: unknown, key) => ({ [key]: inner }), parse(value));
  expect((await render(values as object)).objects.length).toBeGreaterThan(20);
});

it('are found', () => {
  expect(shown.length).toBeGreaterThan(2);
  expect(set.length).toBeGreaterThan(1);
});
