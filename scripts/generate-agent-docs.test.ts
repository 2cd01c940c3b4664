import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { metricsMeaning } from '../agent/telemetry/metrics-meaning.ts';
import { withGenerated } from './documentation-tables.ts';
import { clusterMetrics, freshPages, registeredMetrics } from './generate-agent-docs.ts';

test.each(freshPages())('$path is what npm run generate writes', ({ committed, fresh }) => {
  expect(committed).toBe(fresh);
});

test('every metric has a meaning, and no meaning is left of a metric that is gone', () => {
  const names = [...registeredMetrics(), ...clusterMetrics()].map((metric) => metric.name);
  expect(Object.keys(metricsMeaning).sort()).toEqual(names.sort());
});

test('a counter has a name that ends in _total, and nothing else has', () => {
  for (const { name, type } of [...registeredMetrics(), ...clusterMetrics()])
    expect([name, type === 'counter']).toEqual([name, name.endsWith('_total')]);
});

test('no label could hold the address of a source', () => {
  const labels = new Set([...registeredMetrics(), ...clusterMetrics()].flatMap((metric) => metric.labelNames));
  expect([...labels].sort()).toEqual([
    'code',
    'interface',
    'kind',
    'layout',
    'mode',
    'owner',
    'policy',
    'reason',
    'resource',
    'result',
    'severity',
    'stage',
    'state',
    'table',
    'verb',
    'verdict',
    'version',
  ]);
});

test('only what stands between the markers is replaced', () => {
  const page = 'a\n<!-- generated: by x -->\nold\n<!-- end of generated -->\nb\n';
  expect(withGenerated(page, 'new $& text')).toBe(
    'a\n<!-- generated: by x -->\n\nnew $& text\n\n<!-- end of generated -->\nb\n',
  );
  const two = `<!-- generated one: by x -->\n\n1\n\n<!-- end of generated -->\n${page}`;
  expect(withGenerated(two, '2', 'one')).toBe(two.replace('\n1\n', '\n2\n'));
  expect(withGenerated(two, '2')).toContain('\n1\n');
  expect(() => withGenerated('no markers', 'x')).toThrow('markers');
});

test('docs/metrics.md explains every reason that a packet is counted under', () => {
  const layout = readFileSync(new URL('../bpf/layout.h', import.meta.url), 'utf8');
  const page = readFileSync(new URL('../docs/metrics.md', import.meta.url), 'utf8');
  const reasons = [...layout.matchAll(/^\t(PASS|DROP|WOULD_DROP|SPARED)_([A-Z_]+) = \d+,/gm)];
  expect(reasons.length).toBeGreaterThan(20);
  const kebab = (name: string) => name.toLowerCase().replaceAll('_', '-');
  for (const [, verdict, reason] of reasons) {
    const row = page
      .split('\n')
      .find((line) => line.startsWith(`| \`${kebab(verdict!)}\` |`) && line.includes(`\`${kebab(reason!)}\``));
    expect(row, `${verdict}_${reason}`).toBeDefined();
  }
});
