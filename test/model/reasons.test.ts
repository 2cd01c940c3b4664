import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { REASONS } from './reasons.ts';

test('the reasons are those of bpf/layout.h, in its order', () => {
  const header = readFileSync(new URL('../../bpf/layout.h', import.meta.url), 'utf8');
  const body = /enum reason \{([^}]*)\}/.exec(header)?.[1] ?? '';
  const numbered = [...body.matchAll(/^\s*([A-Z_]+) = (\d+)/gm)].map(([, name, number]) => [name, Number(number)]);
  expect(numbered).toEqual([...REASONS.map((name, index) => [name, index]), ['REASON_COUNT', REASONS.length]]);
});
