import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { freshPage, registeredMetrics } from './generate-operator-docs.ts';

const root = join(import.meta.dirname, '..');

test('docs/operator.md is what npm run generate writes', () => {
  const { committed, fresh } = freshPage();
  expect(committed).toBe(fresh);
});

test('every metric that a source of the operator, of kube/ or of cli/ names is documented, word by word', () => {
  const sources = ['operator/**/*.ts', 'kube/**/*.ts', 'cli/*.ts'].flatMap((pattern) =>
    globSync(pattern, { cwd: root }),
  );
  const named = sources
    .filter((source) => !source.endsWith('.test.ts'))
    .flatMap((source) => {
      const text = readFileSync(join(root, source), 'utf8');
      return [...text.matchAll(/name: '(portcullis_\w+)',\s*help:\s*'([^']+)'/g)].map(([, name, help]) => [name, help]);
    });
  expect(named.length).toBeGreaterThan(20);
  const documented = registeredMetrics().map(({ name, help }) => [name, help]);
  expect(Object.fromEntries(named)).toEqual(Object.fromEntries(documented));
});

test('a counter has a name that ends in _total, and nothing else has', () => {
  for (const { name, type } of registeredMetrics())
    expect([name, type === 'counter']).toEqual([name, name.endsWith('_total')]);
});

test('no label could hold the address of a source', () => {
  const labels = new Set(registeredMetrics().flatMap(({ labelNames }) => labelNames));
  expect([...labels].sort()).toEqual([
    'change',
    'code',
    'controller',
    'holds',
    'kind',
    'lease',
    'outcome',
    'queue',
    'reason',
    'resource',
    'result',
    'verb',
    'version',
  ]);
});
