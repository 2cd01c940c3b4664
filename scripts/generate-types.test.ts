import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { generateTypes } from './generate-types.ts';

describe('what is generated from crds/', () => {
  it('is what is committed', async () => {
    for (const [path, text] of await generateTypes()) {
      const committed = readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
      expect(committed === text, `${path} is stale: run npm run generate`).toBe(true);
    }
  });
});
