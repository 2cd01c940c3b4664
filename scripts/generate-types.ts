/**
 * Writes api/types/ out of crds/: a TypeScript file for each kind, and the schemas themselves as data; and the tables of
 * docs/policies.md and docs/errors.md. Run by `npm run generate`; a test compares what stands there with what this makes.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile } from 'json-schema-to-typescript';
import { parse } from 'yaml';
import { DURATION_PATTERN } from '../api/duration.ts';
import { errorTableMarkdown } from '../api/errors.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const BANNER = '// Generated from crds/ by scripts/generate-types.ts: do not edit.\n\n';

/** The kinds that users write, in files or in a cluster; agents and the operator write the others. */
export const userKinds: readonly string[] = ['IpBlocklist', 'PortScanPolicy', 'SourceException'];

export interface Schema {
  type?: string;
  title?: string;
  description?: string;
  default?: unknown;
  required?: string[];
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  items?: Schema;
  [keyword: string]: unknown;
}

interface Crd {
  spec: {
    group: string;
    names: { kind: string; singular: string };
    versions: { name: string; schema: { openAPIV3Schema: Schema } }[];
  };
}

export interface Kind {
  readonly kind: string;
  readonly apiVersion: string;
  readonly schema: Schema;
}

/** The kinds that crds/ defines, in the order of their file names. */
export function readKinds(): Kind[] {
  const folder = join(root, 'crds');
  return readdirSync(folder)
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .map((name) => {
      const { spec } = parse(readFileSync(join(folder, name), 'utf8')) as Crd;
      const version = spec.versions[0]!;
      return {
        kind: spec.names.kind,
        apiVersion: `${spec.group}/${version.name}`,
        schema: version.schema.openAPIV3Schema,
      };
    });
}

/** The schema as its values look once defaults are applied: what has a default is always there. */
function afterDefaults(schema: Schema): Schema {
  const result: Schema = {};
  for (const [keyword, value] of Object.entries(schema)) {
    if (!keyword.startsWith('x-kubernetes-') && keyword !== 'default') result[keyword] = value;
  }
  if (schema.items) result.items = afterDefaults(schema.items);
  if (typeof schema.additionalProperties === 'object')
    result.additionalProperties = afterDefaults(schema.additionalProperties);
  if (schema.properties) {
    const entries = Object.entries(schema.properties);
    result.properties = Object.fromEntries(entries.map(([name, property]) => [name, afterDefaults(property)]));
    const defaulted = entries.filter(([, property]) => property.default !== undefined).map(([name]) => name);
    result.required = [...new Set([...(schema.required ?? []), ...defaulted])];
  }
  return result;
}

/** The schema without what only people read. */
function withoutProse(schema: Schema): Schema {
  return JSON.parse(
    JSON.stringify(schema, function (this: Record<string, unknown>, key, value) {
      // A property of that name is an object, a description is text.
      return (key === 'description' || key === 'title') && typeof value === 'string' ? undefined : value;
    }),
  );
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;').trim();
}

/** What a field takes, for the table of fields. */
function takes(schema: Schema): string {
  if (schema.enum) return (schema.enum as string[]).map((value) => `\`${value}\``).join(', ');
  if (schema.type === 'array') return `list, at most ${Number(schema.maxItems).toLocaleString('en')}`;
  if (schema.type === 'object') {
    return schema.maxProperties === undefined ? 'mapping' : `mapping, at most ${schema.maxProperties}`;
  }
  if (schema.type === 'integer') return `${schema.minimum} to ${schema.maximum}`;
  if (schema.type === 'boolean') return '`true`, `false`';
  if (schema.format === 'date-time') return 'RFC 3339 time';
  if (schema.pattern === DURATION_PATTERN) return 'duration';
  return `text, at most ${schema.maxLength}`;
}

function fieldRows(schema: Schema, path: string): string[] {
  const required = schema.required ?? [];
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const inner = field.items ?? field;
    const at = `${path}${name}${field.items ? '[]' : ''}`;
    const given = field.default === undefined ? (required.includes(name) ? '**required**' : '') : undefined;
    const standard = given ?? `\`${JSON.stringify(field.default).replaceAll('"', '')}\``;
    const row = `| \`${at}\` | ${takes(field)} | ${standard} | ${cell(field.description ?? '')} |`;
    return [row, ...fieldRows(inner, `${at}.`)];
  });
}

/** The guide with the table of each kind's fields put between its markers. */
export function policyGuide(text: string, kinds: readonly Kind[]): string {
  return kinds.reduce((guide, { kind, schema }) => {
    const [begin, end] = [`<!-- fields of ${kind}: generated from crds/ -->`, `<!-- end of ${kind} -->`];
    const [from, to] = [guide.indexOf(begin), guide.indexOf(end)];
    if (from === -1 || to < from) throw new Error(`docs/policies.md lacks the markers of ${kind}`);
    const head = ['| field of `spec` | takes | default | meaning |', '|---|---|---|---|'];
    const table = [...head, ...fieldRows(schema.properties!.spec!, '')].join('\n');
    return `${guide.slice(0, from + begin.length)}\n${table}\n${guide.slice(to)}`;
  }, text);
}

function typesOf(schema: Schema, name: string): Promise<string> {
  return compile(afterDefaults(schema) as never, name, {
    additionalProperties: false,
    ignoreMinAndMaxItems: true,
    bannerComment: '',
    format: false,
  });
}

function kebab(kind: string): string {
  return kind.replace(/(?<=[a-z0-9])[A-Z]/g, '-$&').toLowerCase();
}

function format(path: string, text: string): string {
  return execFileSync(join(root, 'node_modules/.bin/biome'), ['check', '--write', `--stdin-file-path=${path}`], {
    cwd: root,
    input: text,
    encoding: 'utf8',
  });
}

/** Every generated file by its path in the repository. */
export async function generateTypes(): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const kinds = readKinds();
  for (const { kind, schema } of kinds) {
    const { spec, status } = schema.properties!;
    const types = [spec && (await typesOf(spec, `${kind}Spec`)), status && (await typesOf(status, `${kind}Status`))];
    const path = `api/types/${kebab(kind)}.ts`;
    files.set(path, format(path, BANNER + types.filter(Boolean).join('\n')));
  }
  const path = 'api/types/schemas.ts';
  const written = kinds.filter(({ kind }) => userKinds.includes(kind));
  const table = Object.fromEntries(
    written.map(({ kind, apiVersion, schema }) => [kind, { apiVersion, schema: withoutProse(schema) }]),
  );
  const text = `${BANNER}/** The schema of each kind, as its CRD has it. */\nexport const schemas = ${JSON.stringify(table)} as const;\n`;
  files.set(path, format(path, text));
  files.set('docs/errors.md', errorTableMarkdown());
  files.set('docs/policies.md', policyGuide(readFileSync(join(root, 'docs/policies.md'), 'utf8'), written));
  return files;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, text] of await generateTypes()) writeFileSync(join(root, path), text);
}
