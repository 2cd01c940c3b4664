import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { cases } from '../packets/cases/index.ts';

const page = readFileSync(new URL('../../docs/limits.md', import.meta.url), 'utf8').replaceAll(/\s+/g, ' ');
const limits = cases.filter((one) => one.limit !== undefined);

test.each(limits.map((one) => [one.name, one] as const))('docs/limits.md tells of "%s" in its sentence', (_, one) => {
  expect(page).toContain(`- ${one.limit} Case: \`${one.name}\`.`);
});

test('every case that docs/limits.md names exists and is marked as a limit', () => {
  const named = [...page.matchAll(/Case: `([^`]+)`/g)].map(([, name]) => name);
  expect(named.length).toBeGreaterThan(0);
  expect(named.toSorted()).toEqual(limits.map((one) => one.name).toSorted());
});

test('only what is a limit is called one', () => {
  expect(cases.filter((one) => one.name.startsWith('limit: ')).map((one) => one.name)).toEqual(
    limits.map((one) => one.name),
  );
});
