import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { DURATION_PATTERN } from './duration.ts';
import type { ErrorCode } from './errors.ts';
import { describeValue, type FieldPath, formatPath } from './field-path.ts';
import { LABEL_KEY_PATTERN, LABEL_VALUE_PATTERN } from './label-selector.ts';
import { nearest } from './nearest.ts';
import { type Problem, problem } from './problem.ts';
import { isMapping } from './rules.ts';
import { parseTime, TIME_PATTERN } from './time.ts';
import { schemas } from './types/schemas.ts';

export type KindName = keyof typeof schemas;

/** The part of a structural schema that is read here. */
export interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly [keyword: string]: unknown;
}

/** Refuses what the schema does not name: the API server prunes it, and warns, but a file has nobody who reads warnings. */
function closed(schema: Schema): Schema {
  const properties = schema.properties && {
    properties: Object.fromEntries(Object.entries(schema.properties).map(([name, sub]) => [name, closed(sub)])),
    additionalProperties: false,
  };
  const items = schema.items && { items: closed(schema.items) };
  return { ...schema, ...properties, ...items };
}

/** The schema of `spec` of a kind. */
export function specSchema(kind: KindName): Schema {
  return schemas[kind].schema.properties.spec as Schema;
}

/** The schema of `status` of a kind, where it has one. */
export function statusSchema(kind: KindName): Schema | undefined {
  const properties: Readonly<Record<string, Schema>> = schemas[kind].schema.properties;
  return Object.hasOwn(properties, 'status') ? properties.status : undefined;
}

/** The fields of a value that its schema does not name. */
export function unknownFields(schema: Schema, value: unknown, path: FieldPath): Problem[] {
  if (Array.isArray(value)) {
    return schema.items ? value.flatMap((item, i) => unknownFields(schema.items!, item, [...path, i])) : [];
  }
  if (!isMapping(value) || typeof schema.additionalProperties === 'object') return [];
  const known = schema.properties ?? {};
  return Object.entries(value).flatMap(([name, field]) =>
    Object.hasOwn(known, name)
      ? unknownFields(known[name]!, field, [...path, name])
      : [unknownField(path, name, Object.keys(known))],
  );
}

function unknownField(path: FieldPath, field: string, known: readonly string[]): Problem {
  const near = nearest(field, known);
  const remedy = near ? `Did you mean ${near}?` : `Remove it; the fields here are ${known.join(', ')}.`;
  return problem(
    'UnknownField',
    [...path, field],
    `${describeValue(field)} is no field of ${formatPath(path)}`,
    remedy,
  );
}

const validators = new Map<KindName, ValidateFunction>();

/** Compiled when first used: it costs milliseconds that most commands need not pay. */
function validator(kind: KindName): ValidateFunction {
  let validate = validators.get(kind);
  if (validate === undefined) {
    const ajv = new Ajv({
      allErrors: true,
      useDefaults: true,
      verbose: true,
      // The schemas are held to the stricter rules of Kubernetes already, and carry its own keywords.
      strict: false,
      strictNumbers: true,
      formats: { int32: true, 'date-time': (text: string) => parseTime(text) !== undefined },
    });
    validate = ajv.compile(closed(specSchema(kind)));
    validators.set(kind, validate);
  }
  return validate;
}

function setOwn(target: Record<string, unknown>, key: string, value: unknown): void {
  // Assignment to __proto__ would set the prototype and hide the field.
  Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
}

/** A copy without the nulls of fields that the schema knows: the API server prunes these before it applies defaults. */
export function withoutNulls(schema: Schema | undefined, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => withoutNulls(schema?.items, item));
  if (!isMapping(value)) return value;
  const copy: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(value)) {
    const known = schema?.properties && Object.hasOwn(schema.properties, key) ? schema.properties[key] : undefined;
    const sub = known ?? (typeof schema?.additionalProperties === 'object' ? schema.additionalProperties : undefined);
    if (field !== null || sub === undefined) setOwn(copy, key, withoutNulls(sub, field));
  }
  return copy;
}

const PATTERNS: Readonly<Record<string, readonly [ErrorCode, what: string, remedy?: string]>> = {
  [DURATION_PATTERN]: ['BadDuration', 'no duration'],
  [TIME_PATTERN]: ['BadTime', 'no RFC 3339 time'],
  [LABEL_KEY_PATTERN]: ['BadSelector', 'no label key', 'Write a key such as app or example.com/role.'],
  [LABEL_VALUE_PATTERN]: ['BadSelector', 'no label value', 'Use at most 63 letters, digits, "-", "_" and ".".'],
};

function patternProblem(path: FieldPath, given: string, pattern: string): Problem {
  const known = PATTERNS[pattern];
  if (known) return problem(known[0], path, `${given} is ${known[1]}`, known[2]);
  const field = formatPath(path);
  if (field.startsWith('spec.interfaces.names')) {
    const remedy =
      'Write an exact name of at most 15 characters; names with * or ? belong into spec.interfaces.patterns.';
    return problem('BadPattern', path, `${given} is no name of an interface`, remedy);
  }
  if (field.startsWith('spec.interfaces.')) {
    return problem('BadPattern', path, `${given} is no pattern of names`, 'Write a pattern such as eth* or ens?f0.');
  }
  if (field.startsWith('spec.configMapRefs')) {
    return problem(
      'BadPattern',
      path,
      `${given} is no name of a ConfigMap, or of a key in one`,
      'Write it as kubectl does.',
    );
  }
  return problem('BadPattern', path, `${given} holds control characters`, 'Write it on one line of plain text.');
}

function bound(path: FieldPath, code: ErrorCode, given: string, error: ErrorObject): Problem {
  const { comparison, limit } = error.params as { comparison?: string; limit: number };
  const least = error.keyword.startsWith('min');
  const unit = /Length$/.test(error.keyword) ? ' characters' : /Items$|Properties$/.test(error.keyword) ? ' items' : '';
  const message = comparison
    ? `${given} must be ${comparison} ${limit}`
    : `${given} has ${least ? 'fewer' : 'more'} than ${limit}${unit}`;
  return problem(code, path, message, `Keep it at ${least ? 'least' : 'most'} ${limit}${unit}.`);
}

const TYPE_NAMES: Readonly<Record<string, string>> = { object: 'mapping', array: 'list', integer: 'whole number' };

function typeProblem(path: FieldPath, value: unknown, type: string): Problem {
  const name = TYPE_NAMES[type] ?? type;
  const quotable = type === 'string' && (typeof value === 'number' || typeof value === 'boolean');
  const remedy = quotable ? 'Put the value in quotes.' : `Give a ${name}.`;
  return problem('WrongType', path, `${describeValue(value)} is no ${name}`, remedy);
}

/** The pointer's parts, with an index as a number where it points into a list. */
function pathOf(root: unknown, pointer: string): FieldPath {
  const path: (string | number)[] = ['spec'];
  let value = root;
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    path.push(Array.isArray(value) ? Number(key) : key);
    value = (value as Record<string, unknown> | undefined)?.[key];
  }
  return path;
}

function toProblem(root: unknown, error: ErrorObject): Problem {
  const path = pathOf(root, error.instancePath);
  const params = error.params as Record<string, string>;
  const given = describeValue(error.data);
  switch (error.keyword) {
    case 'additionalProperties': {
      const known = Object.keys((error.parentSchema as Schema).properties ?? {});
      return unknownField(path, params.additionalProperty as string, known);
    }
    case 'required': {
      const field = params.missingProperty as string;
      return problem('MissingField', [...path, field], `${field} is missing`, `Add ${formatPath([...path, field])}.`);
    }
    case 'type':
      return typeProblem(path, error.data, params.type as string);
    case 'enum': {
      const allowed = (error.schema as unknown[]).join(', ');
      return problem('NotAllowedValue', path, `${given} is none of ${allowed}`, `Use one of ${allowed}.`);
    }
    case 'minimum':
    case 'maximum':
      return bound(path, 'OutOfRange', given, error);
    case 'minLength':
    case 'maxLength':
      return bound(path, 'TooLong', given, error);
    case 'minItems':
    case 'maxItems':
    case 'minProperties':
    case 'maxProperties':
      return bound(path, 'TooMany', given, error);
    case 'pattern':
      return patternProblem(path, given, params.pattern as string);
    case 'format':
      return problem('BadTime', path, `${given} is no date and time that exists`);
    default:
      return problem('BadPattern', path, `${given} ${error.message ?? 'is refused'}`);
  }
}

/** Checks `spec` against the kind's schema and applies its defaults in place. */
export function checkSchema(kind: KindName, spec: unknown): Problem[] {
  const validate = validator(kind);
  if (validate(spec)) return [];
  const problems = (validate.errors ?? []).map((error) => toProblem(spec, error));
  validate.errors = null;
  return problems;
}
