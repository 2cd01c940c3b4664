/** The memory that docs/sizing.md tells, against the chart's own sums. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { podOf, render, runHelm, templateArgs } from './render.ts';

const text = readFileSync(join(import.meta.dirname, '../../docs/sizing.md'), 'utf8');
const [, table] = /<!-- sizes: [^\n]*-->\n([\s\S]*?)<!-- end of sizes -->/.exec(text)!;
const [titles, , ...rows] = table!
  .trim()
  .split('\n')
  .map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
const keys = titles!.slice(1, -2).map((title) => title.replaceAll('`', ''));

it.each(rows)('%s', async (...cells) => {
  const sizes = cells.slice(1, -2).map(Number);
  const [tablesMib, limitMib] = cells.slice(-2).map((cell) => Number(/^(\d+) MiB$/.exec(cell)![1]));
  const tables = Object.fromEntries(keys.map((key, index) => [key, sizes[index]!]));
  const { container } = podOf((await render({ agent: { tables } })).get('DaemonSet', 'portcullis-agent'));
  expect(container.resources.limits.memory).toBe(`${limitMib}Mi`);

  // A limit that is too small is refused with the sum of the tables and 128 MiB for the process.
  const tooSmall = { agent: { tables, resources: { limits: { memory: '1Mi' } } } };
  const { stderr } = await runHelm(templateArgs(), tooSmall);
  expect(Number(/which take (\d+)Mi/.exec(stderr)![1]) - 128).toBe(tablesMib);
});

it('has the defaults among them', async () => {
  const { container } = podOf((await render()).get('DaemonSet', 'portcullis-agent'));
  expect(rows.map((cells) => `${cells.at(-1)!.split(' ')[0]}Mi`)).toContain(container.resources.limits.memory);
});
