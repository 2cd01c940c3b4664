/**
 * Writes the table of values in the chart's README out of the comments of its values.yaml, and copies the CRDs into the chart. Run
 * by `npm run generate`; a test compares what is there with what this makes, and values.schema.json with values.yaml.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { type FreshPage, withGenerated } from './documentation-tables.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
export const chartFolder = join(root, 'charts', 'portcullis');

/** A value that users may set, as its comment tells it. */
export interface ChartValue {
  /** Such as `agent.tables.maxBlocks`. */
  readonly path: string;
  readonly default: unknown;
  readonly description: string;
}

/**
 * The values that a comment `# -- ...` stands above. What lies below one of them belongs to its default. Throws an error that
 * names the line where something is neither described nor holds what is.
 */
export function describedValues(text: string): readonly ChartValue[] {
  const parsed: unknown = parse(text);
  const found: ChartValue[] = [];
  /** Keys that the current line is below, with their indentation. */
  const parents: { readonly indent: number; readonly key: string; readonly isDescribed: boolean }[] = [];
  let comment: string[] | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    const [, words] = /^ *# ?(.*)$/.exec(line) ?? [];
    if (words !== undefined) {
      if (words.startsWith('-- ')) comment = [words.slice(3)];
      else comment?.push(words);
      continue;
    }
    const [, spaces, key, rest] = /^( *)([A-Za-z][\w.-]*):(.*)$/.exec(line) ?? [];
    if (key === undefined) {
      comment = undefined;
      continue;
    }
    const indent = spaces!.length;
    while (parents.length > 0 && parents.at(-1)!.indent >= indent) parents.pop();
    if (parents.some(({ isDescribed }) => isDescribed)) continue;
    const isDescribed = comment !== undefined;
    const path = [...parents.map((parent) => parent.key), key];
    if (comment !== undefined)
      found.push({ path: path.join('.'), default: valueAt(parsed, path), description: comment.join(' ') });
    else if (rest!.trim() !== '') throw new Error(`values.yaml:${index + 1}: ${path.join('.')} has no description`);
    parents.push({ indent, key, isDescribed });
    comment = undefined;
  }
  return found;
}

function valueAt(parsed: unknown, path: readonly string[]): unknown {
  return path.reduce((value, key) => (value as Record<string, unknown>)[key], parsed);
}

/** One table of each top-level key that holds several values, and one of what stands alone. */
export function valuesMarkdown(values: readonly ChartValue[]): string {
  const lines = ['| value | default | meaning |', '|---|---|---|'];
  for (const { path, default: standard, description } of values) {
    const cells = [`\`${path}\``, `\`${JSON.stringify(standard)}\``, description];
    lines.push(`| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`);
  }
  return lines.join('\n');
}

interface Schema {
  readonly $ref?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: unknown;
}

/** Helm itself passes it to charts that are part of another. */
const passedByHelm = ['global'];

/** What in the schema does not fit the values, in words; empty when it knows exactly these. */
export function schemaProblems(
  values: readonly ChartValue[],
  schema: Schema & { readonly definitions?: object },
): readonly string[] {
  const problems: string[] = [];
  const described = new Set(values.map(({ path }) => path));
  const resolved = ({ $ref, ...rest }: Schema): Schema =>
    $ref === undefined ? rest : (schema.definitions as Record<string, Schema>)[basename($ref)]!;
  const known = new Set<string>();
  const walk = (node: Schema, path: readonly string[]) => {
    const at = path.join('.');
    known.add(at);
    const { properties, additionalProperties } = resolved(node);
    if (properties === undefined) {
      if (!described.has(at)) problems.push(`${at} is in the schema, and values.yaml does not describe it`);
      return;
    }
    if (additionalProperties !== false) problems.push(`${at || 'the whole'} admits keys that nobody knows`);
    if (described.has(at)) return;
    for (const [key, child] of Object.entries(properties))
      if (path.length > 0 || !passedByHelm.includes(key)) walk(child, [...path, key]);
  };
  walk(schema, []);
  for (const path of described) if (!known.has(path)) problems.push(`${path} is in values.yaml, and not in the schema`);
  return problems;
}

/** The files of the chart that are made here, as they are and as they should be. */
export function freshFiles(): readonly FreshPage[] {
  const text = readFileSync(join(chartFolder, 'values.yaml'), 'utf8');
  const path = join(chartFolder, 'README.md');
  const committed = readFileSync(path, 'utf8');
  const crds = globSync('crds/*.yaml', { cwd: root }).map((crd): FreshPage => {
    const copy = join(chartFolder, crd);
    return { path: copy, committed: textOrNothing(copy), fresh: readFileSync(join(root, crd), 'utf8') };
  });
  return [{ path, committed, fresh: withGenerated(committed, valuesMarkdown(describedValues(text))) }, ...crds];
}

function textOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { path, fresh } of freshFiles()) writeFileSync(path, fresh);
}
