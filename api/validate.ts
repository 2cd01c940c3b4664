import { describeValue, formatPath } from './field-path.ts';
import { nearest } from './nearest.ts';
import { checkMetadata } from './object-meta.ts';
import { boundProblems, type Problem, problem } from './problem.ts';
import { checkRules, isMapping, type RuleSchema } from './rules.ts';
import { checkSchema, type KindName, specSchema, statusSchema, unknownFields, withoutNulls } from './schema-check.ts';
import { schemas } from './types/schemas.ts';
import { API_VERSION, type PolicyObject } from './types.ts';

export interface Validation {
  /** The object with its defaults applied; absent when there is any problem. */
  readonly object?: PolicyObject;
  readonly problems: readonly Problem[];
}

const KINDS = Object.keys(schemas) as KindName[];
const TOP_FIELDS = ['apiVersion', 'kind', 'metadata', 'spec'];

/** `Kind/name` of what may or may not be a valid object, as far as it can be told. */
export function identify(value: unknown): string | undefined {
  if (!isMapping(value) || typeof value.kind !== 'string' || !(KINDS as string[]).includes(value.kind))
    return undefined;
  const name = isMapping(value.metadata) ? value.metadata.name : undefined;
  return typeof name === 'string' && name !== '' ? `${value.kind}/${name}` : value.kind;
}

function isListKind(kind: string): boolean {
  return kind === 'List' || KINDS.some((known) => kind === `${known}List`);
}

function kindProblem(kind: string): Problem {
  const given = describeValue(kind);
  if (isListKind(kind)) {
    const remedy = 'Write each object as a document of its own, with a line --- between them.';
    return problem('UnknownKind', ['kind'], `${given} holds other objects and is not read`, remedy);
  }
  const near = nearest(kind, KINDS);
  return problem(
    'UnknownKind',
    ['kind'],
    `${given} is no kind that this version knows`,
    near && `Did you mean ${near}?`,
  );
}

/** The kind, when apiVersion and kind name one that is known. */
function checkKind(value: Readonly<Record<string, unknown>>): { kind?: KindName; problems: Problem[] } {
  const problems: Problem[] = [];
  for (const field of ['kind', 'apiVersion']) {
    const given = value[field];
    if (given === undefined || given === null || given === '') {
      problems.push(problem('MissingField', [field], `${field} is missing`, `Add ${field}.`));
    } else if (typeof given !== 'string') {
      problems.push(problem('WrongType', [field], `${describeValue(given)} is no string`));
    }
  }
  if (problems.length > 0) return { problems };
  const kind = value.kind as string;
  const known = KINDS.find((name) => name === kind);
  if (value.apiVersion === API_VERSION) return known ? { kind: known, problems } : { problems: [kindProblem(kind)] };
  const given = describeValue(`${value.apiVersion}/${kind}`);
  if (isListKind(kind)) return { problems: [kindProblem(kind)] };
  const remedy = known ? `Use apiVersion ${API_VERSION}.` : undefined;
  return { problems: [problem('UnknownKind', ['apiVersion'], `${given} is not known to this version`, remedy)] };
}

function unknownTopFields(value: Readonly<Record<string, unknown>>, kind: KindName): Problem[] {
  return Object.keys(value)
    .filter((field) => !TOP_FIELDS.includes(field) && !(field === 'status' && statusSchema(kind)))
    .map((field) => {
      const near = nearest(field, TOP_FIELDS);
      const remedy = near ? `Did you mean ${near}?` : `Remove it; the fields here are ${TOP_FIELDS.join(', ')}.`;
      return problem('UnknownField', [field], `${describeValue(field)} is no field of the object`, remedy);
    });
}

/**
 * The API server refuses what it cannot decode before it looks for unknown fields, and those before it looks at values: its
 * first complaint shall be ours. Among the rest its order is that of a hash table.
 */
function rank({ code, path }: Problem, object: unknown): number {
  if (code === 'WrongType' && path[0] === 'metadata') return 0;
  // The server knows generateName, though no name comes of it here.
  if (code === 'UnknownField') return path[1] === 'generateName' ? 3 : 1;
  const given = path.reduce<unknown>((value, part) => (value as Record<string, unknown> | undefined)?.[part], object);
  // The fields of mappings that stand where none may are unknown ones.
  return code === 'WrongType' && holdsMapping(given) ? 2 : 3;
}

function holdsMapping(value: unknown): boolean {
  return Array.isArray(value) ? value.some(holdsMapping) : isMapping(value);
}

/** Metadata is decoded in the order of its fields' names, up to the first that does not fit. */
function inDecodingOrder(a: Problem, b: Problem): number {
  if (a.code !== 'WrongType' || a.path[0] !== 'metadata') return 0;
  return formatPath(a.path) < formatPath(b.path) ? -1 : 1;
}

/**
 * Checks one object as the API server would: schema, defaults, then the rules that the schema has in CEL. The value itself is
 * not changed. All problems are reported at once, the first for each field.
 */
export function validateObject(value: unknown): Validation {
  if (!isMapping(value)) {
    const remedy = 'Write a mapping with apiVersion, kind, metadata and spec.';
    return { problems: [problem('WrongType', [], `${describeValue(value)} is no object`, remedy)] };
  }
  const { kind, problems: kindProblems } = checkKind(value);
  if (kind === undefined) return { problems: kindProblems };

  const { meta, problems: metaProblems } = checkMetadata(value.metadata);
  const problems = [...metaProblems, ...unknownTopFields(value, kind)];
  // An object that was copied out of a cluster carries one. As the API server does, its values are not looked at.
  const status = statusSchema(kind);
  if (status) problems.push(...unknownFields(status, value.status, ['status']));
  const schema = specSchema(kind);
  const spec = withoutNulls(schema, value.spec);
  if (spec === undefined || spec === null) {
    problems.push(problem('MissingField', ['spec'], 'spec is missing', 'Add spec.'));
  } else {
    problems.push(...checkSchema(kind, spec), ...checkRules(schema as RuleSchema, spec, ['spec']));
  }
  if (problems.length > 0 || meta === undefined) {
    return {
      problems: boundProblems(problems.sort((a, b) => rank(a, value) - rank(b, value) || inDecodingOrder(a, b))),
    };
  }
  return { object: { apiVersion: API_VERSION, kind, metadata: meta, spec } as PolicyObject, problems: [] };
}
