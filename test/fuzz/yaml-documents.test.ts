/**
 * Random and hostile policy files: nothing crashes, each document is refused with a reason or accepted within the bounds of the
 * API, and none hides its neighbour. FUZZ_DOCUMENTS sets how many (10,000), FUZZ_SEED which.
 */
import { describe, expect, it } from 'vitest';
import { loadPolicyFile } from '../../agent/source/yaml-documents.ts';
import { ErrorTable } from '../../api/errors.ts';
import { fuzzDocument } from './documents.ts';
import { checkBounds } from './independent-check.ts';

const count = Number(process.env.FUZZ_DOCUMENTS ?? 10_000);
const seed = Number(process.env.FUZZ_SEED ?? 1);
const BATCH = 500;

const neighbour = Buffer.from(
  '\n---\napiVersion: portcullis.dev/v1alpha1\nkind: IpBlocklist\nmetadata: {name: neighbour}\nspec: {}\n',
);
/** What is wrong with a whole text or document has no field to name. */
const WITHOUT_FIELD = [
  'YamlSyntax',
  'YamlUnsupported',
  'YamlAmbiguousScalar',
  'YamlDuplicateKey',
  'FileTooLarge',
  'WrongType',
  'TooMany',
];
/** What is wrong with the whole file hides the neighbour with good reason. */
const WHOLE_FILE = /not valid UTF-8|documents$|MiB$/;

function checkDocument(n: number): 'accepted' | 'refused' | 'empty' {
  const { content, expectation, recipe } = fuzzDocument(seed, n);
  const where = `document ${n} of seed ${seed} (${recipe})`;
  try {
    const { objects, findings } = loadPolicyFile('fuzz.yaml', content);
    for (const { object } of objects) checkBounds(object);
    if (expectation === 'valid') expect(findings).toEqual([]);
    if (expectation === 'valid') expect(objects).toHaveLength(1);
    const lines = content.toString().split('\n').length;
    for (const { code, field, line, message, remedy } of findings) {
      expect(Object.keys(ErrorTable)).toContain(code);
      expect(line).toBeGreaterThanOrEqual(1);
      expect(line).toBeLessThanOrEqual(lines);
      expect(`${message}${field ?? ''}`).not.toMatch(/[\p{Cc}\p{Cs}]/u);
      expect(message.length).toBeGreaterThan(0);
      expect(message.length).toBeLessThan(1000);
      expect((field ?? '').length).toBeLessThan(10_000);
      expect(remedy).toMatch(/[.?]$/);
      if (field === undefined) expect(WITHOUT_FIELD).toContain(code);
    }
    const beside = loadPolicyFile('fuzz.yaml', Buffer.concat([content, neighbour]));
    if (!beside.findings.some(({ message }) => WHOLE_FILE.test(message))) {
      expect(beside.objects.map(({ name }) => name)).toContain('neighbour');
    }
    return objects.length > 0 ? 'accepted' : findings.length > 0 ? 'refused' : 'empty';
  } catch (cause) {
    throw new Error(
      `${where}: ${cause instanceof Error ? cause.message : String(cause)}\n${content.toString().slice(0, 2000)}`,
      {
        cause,
      },
    );
  }
}

describe(`${count} random and hostile policy files`, () => {
  const results = { accepted: 0, refused: 0, empty: 0 };

  it.each(Array.from({ length: Math.ceil(count / BATCH) }, (_, i) => i * BATCH))('from the %dth on', (first) => {
    for (let n = first; n < Math.min(first + BATCH, count); n++) results[checkDocument(n)]++;
  });

  it('were of every kind', () => {
    expect(results.accepted).toBeGreaterThan(count * 0.2);
    expect(results.refused).toBeGreaterThan(count * 0.3);
    expect(results.accepted + results.refused + results.empty).toBe(count);
  });

  it('left no trace on what every object inherits', () => {
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});
