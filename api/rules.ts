/**
 * What the CEL rules of the CRDs say, in TypeScript. The schema stays the only place that says where a rule holds: rules are
 * looked up by their text, and a text without a counterpart here is an error, so no rule can be forgotten.
 */
import { canonicalPrefix, isCanonicalPrefix, parsePrefix } from './cidr.ts';
import { parseDuration } from './duration.ts';
import { PortcullisError } from './errors.ts';
import { describeValue, type FieldPath } from './field-path.ts';
import { isLabelKey, LABEL_KEY_PATTERN } from './label-selector.ts';
import { type Problem, problem } from './problem.ts';
import { parseTime } from './time.ts';

type Rule = (value: unknown, path: FieldPath) => Problem[];
type Mapping = Readonly<Record<string, unknown>>;

export interface RuleSchema {
  readonly properties?: Readonly<Record<string, RuleSchema>>;
  readonly additionalProperties?: RuleSchema | boolean;
  readonly items?: RuleSchema;
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string }[];
}

export function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function checkPrefix(value: unknown, path: FieldPath): Problem[] {
  if (typeof value !== 'string' || isCanonicalPrefix(value)) return [];
  const canonical = canonicalPrefix(value);
  const given = describeValue(value);
  return canonical === undefined
    ? [problem('BadPrefix', path, `${given} is no IP prefix`)]
    : [problem('BadPrefix', path, `${given} is not in canonical form`, `Write ${canonical}.`)];
}

function checkDuration(least: string, most: string): Rule {
  return (value, path) => {
    const ms = typeof value === 'string' ? parseDuration(value) : undefined;
    if (ms === undefined || (ms >= parseDuration(least)! && ms <= parseDuration(most)!)) return [];
    const message = `${describeValue(value)} lies outside ${least} to ${most}`;
    return [problem('OutOfRange', path, message, `Choose a duration from ${least} to ${most}.`)];
  };
}

const YEAR_2000 = Date.UTC(2000);
const YEAR_3000 = Date.UTC(3000);

function checkTime(value: unknown, path: FieldPath): Problem[] {
  const ms = typeof value === 'string' ? parseTime(value) : undefined;
  if (ms === undefined || (ms >= YEAR_2000 && ms < YEAR_3000)) return [];
  return [problem('BadTime', path, `${describeValue(value)} lies outside the years 2000 to 2999 of UTC`)];
}

function checkInterfaces(value: unknown, path: FieldPath): Problem[] {
  if (!isMapping(value)) return [];
  const { names, patterns, roles } = value;
  if ([names, patterns, roles].some((list) => list !== undefined && !(Array.isArray(list) && list.length === 0)))
    return [];
  const remedy =
    'Give at least one of names, patterns and roles, or leave spec.interfaces out for roles: [DefaultRoute].';
  return [problem('MissingField', path, 'nothing selects an interface', remedy)];
}

function checkRequirement(value: unknown, path: FieldPath): Problem[] {
  if (!isMapping(value) || typeof value.operator !== 'string' || typeof (value.values ?? []) !== 'object') return [];
  const count = listOf(value.values).length;
  const needsValues = value.operator === 'In' || value.operator === 'NotIn';
  if (needsValues === count > 0) return [];
  const message = needsValues
    ? `operator ${value.operator} has no values`
    : `operator ${value.operator} has ${count} values`;
  return [problem('BadSelector', path, message, needsValues ? 'Add values.' : 'Remove values.')];
}

function checkLabelKeys(value: unknown, path: FieldPath): Problem[] {
  if (!isMapping(value)) return [];
  const bad = Object.keys(value).filter((key) => !isLabelKey(key));
  return bad.map((key) =>
    problem(
      'BadSelector',
      [...path, key],
      `${describeValue(key)} is no label key`,
      'Write a key such as app or example.com/role.',
    ),
  );
}

function checkWide(value: unknown, path: FieldPath): Problem[] {
  if (!isMapping(value) || value.allowWide !== false) return [];
  return listOf(value.entries).flatMap((entry, i) => {
    const cidr = isMapping(entry) && typeof entry.cidr === 'string' ? entry.cidr : '';
    const prefix = parsePrefix(cidr);
    if (prefix === undefined || prefix.length >= (prefix.family === 4 ? 8 : 16)) return [];
    return [problem('TooWide', [...path, 'entries', i, 'cidr'], `${describeValue(cidr)} is wider than allowed`)];
  });
}

function checkWideSource(value: unknown, path: FieldPath): Problem[] {
  const source = isMapping(value) && typeof value.source === 'string' ? value.source : '';
  const prefix = parsePrefix(source);
  if (prefix === undefined || prefix.length >= (prefix.family === 4 ? 8 : 16)) return [];
  const remedy = 'Name a longer prefix; to spare more of the world, use allow of a policy.';
  return [problem('TooWide', [...path, 'source'], `${describeValue(source)} is wider than allowed`, remedy)];
}

/** Every rule of the CRDs by its text there. */
export const celRules: Readonly<Record<string, Rule>> = {
  'isCIDR(self) && string(cidr(self).masked()) == self': checkPrefix,
  "duration(self) >= duration('1s') && duration(self) <= duration('1h')": checkDuration('1s', '1h'),
  "duration(self) >= duration('1s') && duration(self) <= duration('720h')": checkDuration('1s', '720h'),
  "self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')": checkTime,
  '(has(self.names) && size(self.names) > 0) || (has(self.patterns) && size(self.patterns) > 0) || (has(self.roles) && size(self.roles) > 0)':
    checkInterfaces,
  "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0":
    checkRequirement,
  [`self.all(key, size(key) <= 317 && key.matches('${LABEL_KEY_PATTERN}'))`]: checkLabelKeys,
  'self.allowWide || self.entries.all(e, !isCIDR(e.cidr) || cidr(e.cidr).prefixLength() >= (cidr(e.cidr).ip().family() == 4 ? 8 : 16))':
    checkWide,
  '!isCIDR(self.source) || cidr(self.source).prefixLength() >= (cidr(self.source).ip().family() == 4 ? 8 : 16)':
    checkWideSource,
};

/** Applies every rule of the schema to the value it stands at. A value that the schema refuses already is passed over. */
export function checkRules(schema: RuleSchema, value: unknown, path: FieldPath = []): Problem[] {
  const problems: Problem[] = [];
  for (const { rule } of schema['x-kubernetes-validations'] ?? []) {
    const check = celRules[rule];
    if (check === undefined) throw new PortcullisError('Internal', `no counterpart of the rule ${rule}`);
    problems.push(...check(value, path));
  }
  if (Array.isArray(value) && schema.items) {
    for (const [i, item] of value.entries()) problems.push(...checkRules(schema.items, item, [...path, i]));
  } else if (isMapping(value)) {
    for (const [name, property] of Object.entries(schema.properties ?? {})) {
      if (Object.hasOwn(value, name)) problems.push(...checkRules(property, value[name], [...path, name]));
    }
  }
  return problems;
}
