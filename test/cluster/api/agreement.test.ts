/**
 * What `portcullis-agent check` takes, the API server takes, and the other way round: 10,000 generated objects, hostile ones among
 * them, and the samples. CLUSTER_OBJECTS sets how many, FUZZ_SEED which.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadPolicyFile } from '../../../agent/source/yaml-documents.ts';
import { type FieldPath, formatPath } from '../../../api/field-path.ts';
import { validateObject } from '../../../api/validate.ts';
import { fuzzObject } from '../../fuzz/documents.ts';
import { useControlPlane } from '../use-control-plane.ts';
import { ApiProxy, type Verdict } from './proxy.ts';

const count = Number(process.env.CLUSTER_OBJECTS ?? 10_000);
const seed = Number(process.env.FUZZ_SEED ?? 1);
const AT_ONCE = 64;
const plurals = new Map([
  ['PortScanPolicy', 'portscanpolicies'],
  ['IpBlocklist', 'ipblocklists'],
  ['SourceException', 'sourceexceptions'],
]);

const cluster = useControlPlane();
let server: ApiProxy;
beforeAll(async () => {
  server = await ApiProxy.start(cluster.kubeconfig);
});
afterAll(() => server.stop());

const ask = (object: unknown): Promise<Verdict> => {
  const { kind } = object as { kind?: unknown };
  const plural = typeof kind === 'string' ? plurals.get(kind) : undefined;
  return server.dryRun(plural ?? 'portscanpolicies', JSON.stringify(object));
};

/** As the server writes it: a key of a mapping is joined by a dot, whatever it is. */
const asServerWrites = (path: FieldPath): string =>
  path.reduce<string>(
    (text, part) => (typeof part === 'number' ? `${text}[${part}]` : text === '' ? part : `${text}.${part}`),
    '',
  );

/** Every field that the server names, be it as a cause or inside of its message. */
function namedFields({ message, fields }: Verdict): string[] {
  const unknown = [...message.matchAll(/unknown field "([^"]*)"/g)].map((match) => match[1]!);
  const undecodable = [...message.matchAll(/Go struct field ObjectMeta\.([A-Za-z]+)/g)].map(
    (match) => `metadata.${match[1]}`,
  );
  const rest = [
    [/Go value of type v1\.ObjectMeta/, 'metadata'],
    [/version\/kind|'Kind' is missing|cannot be handled as|does not match the expected kind|no kind/i, 'kind'],
    [/version\/kind|API version in the data|apiVersion|in version "(?!v1alpha1")/, 'apiVersion'],
  ] as const;
  const whole = rest.filter(([pattern]) => pattern.test(message)).map(([, field]) => field);
  return [...fields.filter((field) => field !== '<nil>'), ...unknown, ...undecodable, ...whole];
}

/** The server points at a list where a rule of CEL sees the whole of it, and into a mapping that should be none. */
const isWithin = (a: string, b: string): boolean => a === b || ['.', '['].some((mark) => a.startsWith(`${b}${mark}`));

/** JSON is YAML, but for characters that a file may hold only as an escape. */
const asciiJson = (value: unknown): string =>
  JSON.stringify(value).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

let namedLater = 0;

function disagreement(object: unknown, verdict: Verdict, recipe: string): string | undefined {
  const ours = validateObject(object);
  const says = `${recipe}: ${JSON.stringify(object).slice(0, 600)}: server ${verdict.status} ${verdict.message.slice(0, 400)}`;
  const isTaken = verdict.status < 300;
  if (![201, 400, 422].includes(verdict.status)) return `neither taken nor refused: ${says}`;
  if ((ours.object !== undefined) !== isTaken)
    return `only ${isTaken ? 'the server' : 'check'} takes it: ${says}; check: ${ours.problems[0]?.message}`;
  const asFile = loadPolicyFile('object.yaml', asciiJson(object)).objects.length === 1;
  if (asFile !== isTaken) return `as a file it is ${asFile ? 'taken' : 'refused'}: ${says}`;
  if (isTaken) return undefined;
  const [first, ...others] = ours.problems.map(({ path }) => asServerWrites(path));
  const named = namedFields(verdict);
  const isNamed = (field: string) => named.some((other) => isWithin(field, other) || isWithin(other, field));
  if (isNamed(first!)) return undefined;
  // The server passes over a list that stands where a time may, as long as anything else is wrong.
  if (others.some(isNamed)) {
    namedLater++;
    return undefined;
  }
  return `check names ${formatPath(ours.problems[0]!.path)} first, the server ${named.join(', ')}: ${says}`;
}

describe(`${count} generated objects`, () => {
  it('are taken and refused alike, and check names a field first that the server names too', async () => {
    const disagreements: string[] = [];
    const taken = { by: 0 };
    for (let from = 0; from < count; from += AT_ONCE) {
      const batch = Array.from({ length: Math.min(AT_ONCE, count - from) }, async (_, i) => {
        const { object, recipe } = fuzzObject(seed, from + i);
        const verdict = await ask(object);
        if (verdict.status < 300) taken.by++;
        const found = disagreement(object, verdict, `object ${from + i} (${recipe})`);
        if (found !== undefined) disagreements.push(found);
      });
      await Promise.all(batch);
    }
    expect(disagreements.slice(0, 5)).toEqual([]);
    expect(namedLater).toBeLessThan(count * 0.005);
    expect(taken.by).toBeGreaterThan(count * 0.2);
    expect(taken.by).toBeLessThan(count * 0.5);
  }, 300_000);
});

const samples = (folder: string) => {
  const at = new URL(`samples/${folder}/`, import.meta.url);
  return readdirSync(at).map((name) => ({ name, text: readFileSync(new URL(name, at), 'utf8') }));
};
const dryRun = (text: string) => cluster.kubectl(['create', '--dry-run=server', '-f', '-'], { input: text });

describe('the samples', () => {
  it.each(samples('good'))('$name is taken by kubectl and by check', async ({ text, name }) => {
    expect(loadPolicyFile(name, text).findings).toEqual([]);
    expect(await dryRun(text)).toMatchObject({ code: 0 });
  });

  it.each(samples('bad'))('$name is refused by kubectl and by check, for the field it says', async ({ text, name }) => {
    const field = /^# refused: (.+)$/m.exec(text)![1]!;
    const { objects, findings } = loadPolicyFile(name, text);
    expect(objects).toEqual([]);
    expect(isWithin(findings[0]!.field!, field)).toBe(true);
    const { code, stderr } = await dryRun(text);
    expect(code).not.toBe(0);
    expect(stderr).toContain(field);
  });
});

describe('the size of an object', () => {
  const list = (entries: number) =>
    JSON.stringify({
      apiVersion: 'portcullis.dev/v1alpha1',
      kind: 'IpBlocklist',
      metadata: { name: 'agreement-large' },
      spec: {
        entries: Array.from({ length: entries }, (_, i) => ({
          cidr: `198.100.${100 + (i % 150)}.${100 + Math.floor(i / 150)}/32`,
        })),
      },
    });
  afterAll(() => cluster.kubectl(['delete', 'ipblocklist', 'agreement-large', '--ignore-not-found']));

  it('lets 8,000 entries through plain kubectl apply, and not 9,000, whose copy in an annotation is too long', async () => {
    expect((await cluster.kubectl(['apply', '-f', '-'], { input: list(8000) })).stderr).not.toMatch(/error/i);
    await cluster.kubectl(['delete', 'ipblocklist', 'agreement-large']);
    const { code, stderr } = await cluster.kubectl(['apply', '-f', '-'], { input: list(9000) });
    expect(code).not.toBe(0);
    expect(stderr).toContain('metadata.annotations: Too long');
  });

  it('lets all 10,000 through kubectl apply --server-side, and not one more', async () => {
    const apply = (entries: number) => cluster.kubectl(['apply', '--server-side', '-f', '-'], { input: list(entries) });
    expect(await apply(10_000)).toMatchObject({ code: 0 });
    expect((await apply(10_001)).stderr).toContain('must have at most 10000 items');
  });
});
