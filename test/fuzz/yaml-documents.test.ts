/**
 * Random and hostile policy files: nothing crashes, each document is refused with a reason or accepted within the bounds of the
 * API, and none hides its neighbour. FUZZ_DOCUMENTS sets how many (10,000), FUZZ_SEED which.
 */
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { type FileFinding, loadPolicyFile } from '../../agent/source/yaml-documents.ts';
import { readYaml, type YamlDocument } from '../../agent/source/yaml-reader.ts';
import { readSimple } from '../../agent/source/yaml-simple.ts';
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

const codes = new Set(Object.keys(ErrorTable));
const taken = { simple: 0, full: 0 };

/** Not expect(): a million of these would take longer than what they check. */
function ensure(holds: boolean, what: string, value?: unknown): asserts holds {
  if (!holds) throw new Error(`${what}: ${JSON.stringify(value)?.slice(0, 500)}`);
}

/** The simple reader and the full parser must read the same, or the simple one must give up. */
function comparePaths(content: Buffer): void {
  const text = content.toString();
  if (readSimple(text) === undefined) {
    taken.full++;
    return;
  }
  taken.simple++;
  const plain = ({ line, value, problems }: YamlDocument) => ({ line, value, problems });
  const [quick, full] = [readYaml(text), readYaml(text, { fullParserOnly: true })];
  ensure(isDeepStrictEqual(quick.map(plain), full.map(plain)), 'the two readers differ', [quick, full]);
}

function checkFindings(findings: readonly FileFinding[], lines: number): void {
  for (const finding of findings) {
    const { code, field, line, message, remedy } = finding;
    ensure(codes.has(code), 'no such code', finding);
    ensure(line >= 1 && line <= lines, 'no such line', finding);
    ensure(!/[\p{Cc}\p{Cs}]/u.test(`${message}${field ?? ''}`), 'not printable', finding);
    ensure(message.length > 0 && message.length < 1000 && (field ?? '').length < 10_000, 'bad length', finding);
    ensure(/[.?]$/.test(remedy), 'no remedy', finding);
    ensure(field !== undefined || WITHOUT_FIELD.includes(code), 'no field', finding);
  }
}

function checkDocument(n: number): 'accepted' | 'refused' | 'empty' {
  const { content, expectation, recipe } = fuzzDocument(seed, n);
  try {
    const { objects, findings } = loadPolicyFile('fuzz.yaml', content);
    for (const { object } of objects) checkBounds(object);
    if (expectation === 'valid') ensure(findings.length === 0 && objects.length === 1, 'valid, but refused', findings);
    checkFindings(findings, content.toString().split('\n').length);
    comparePaths(content);
    const beside = loadPolicyFile('fuzz.yaml', Buffer.concat([content, neighbour]));
    if (!beside.findings.some(({ message }) => WHOLE_FILE.test(message))) {
      ensure(beside.objects.at(-1)?.name === 'neighbour', 'the neighbour is hidden', beside.findings);
    }
    return objects.length > 0 ? 'accepted' : findings.length > 0 ? 'refused' : 'empty';
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const text = content.toString().slice(0, 2000);
    throw new Error(`document ${n} of seed ${seed} (${recipe}): ${reason}\n${text}`, { cause });
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

  it('took both ways of reading', () => {
    expect(taken.simple).toBeGreaterThan(count * 0.1);
    expect(taken.full).toBeGreaterThan(count * 0.1);
  });

  it('left no trace on what every object inherits', () => {
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});
