import { describeValue, type FieldPath } from './field-path.ts';
import { isLabelKey, isLabelValue } from './label-selector.ts';
import { nearest } from './nearest.ts';
import { type Problem, problem } from './problem.ts';
import { isMapping } from './rules.ts';
import type { ObjectMeta } from './types.ts';

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const MAX_NAME = 253;
/** What the API server allows for the keys and values of all annotations together. */
const MAX_ANNOTATION_BYTES = 256 * 1024;
/** What an object that was copied out of a cluster carries; accepted and left out. */
const IGNORED = [
  'namespace',
  'selfLink',
  'resourceVersion',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'ownerReferences',
  'finalizers',
  'managedFields',
];
const READ = ['name', 'labels', 'annotations', 'uid', 'generation', 'creationTimestamp'];
const KNOWN = [...READ, ...IGNORED];

function checkName(value: unknown): Problem[] {
  const path = ['metadata', 'name'];
  if (value === undefined || value === null || value === '') {
    return [problem('MissingField', path, 'the object has no name', 'Add metadata.name.')];
  }
  const given = describeValue(value);
  if (typeof value !== 'string') {
    return [problem('WrongType', path, `${given} is no string`, `Put the name in quotes.`)];
  }
  if (value.length > MAX_NAME) return [problem('TooLong', path, `${given} has more than ${MAX_NAME} characters`)];
  return SUBDOMAIN.test(value) ? [] : [problem('BadName', path, `${given} is no DNS subdomain name`)];
}

function checkStrings(
  value: unknown,
  path: FieldPath,
  check: (key: string, text: string) => string | undefined,
): Problem[] {
  if (value === undefined || value === null) return [];
  if (!isMapping(value)) return [problem('WrongType', path, `${describeValue(value)} is no mapping`)];
  return Object.entries(value).flatMap(([key, text]) => {
    const at = [...path, key];
    if (typeof (text ?? '') !== 'string') {
      return [problem('WrongType', at, `${describeValue(text)} is no string`, 'Put the value in quotes.')];
    }
    const fault = check(key, (text as string | null) ?? '');
    return fault === undefined ? [] : [problem('BadPattern', at, fault, 'Follow the syntax of labels in Kubernetes.')];
  });
}

function labelFault(key: string, text: string): string | undefined {
  if (!isLabelKey(key)) return `${describeValue(key)} is no label key`;
  return isLabelValue(text) ? undefined : `${describeValue(text)} is no label value`;
}

function annotationFault(key: string): string | undefined {
  return isLabelKey(key.toLowerCase()) ? undefined : `${describeValue(key)} is no annotation key`;
}

function checkAnnotations(value: unknown): Problem[] {
  const path = ['metadata', 'annotations'];
  const problems = checkStrings(value, path, annotationFault);
  if (problems.length > 0 || !isMapping(value)) return problems;
  const bytes = Object.entries(value).reduce((sum, [key, text]) => sum + Buffer.byteLength(key + (text ?? '')), 0);
  if (bytes <= MAX_ANNOTATION_BYTES) return [];
  return [
    problem('TooLong', path, `the annotations have ${bytes} bytes`, `Keep them within ${MAX_ANNOTATION_BYTES} bytes.`),
  ];
}

function checkServerFields(value: Readonly<Record<string, unknown>>): Problem[] {
  const types = { uid: 'string', generation: 'number', creationTimestamp: 'string' } as const;
  return Object.entries(types).flatMap(([field, type]) => {
    const given = value[field] ?? undefined;
    if (given === undefined || typeof given === type) return [];
    return [problem('WrongType', ['metadata', field], `${describeValue(given)} is no ${type}`, 'Remove the field.')];
  });
}

/** A null is an empty text to the API server. */
function strings(value: unknown): Record<string, string> | undefined {
  if (!isMapping(value)) return undefined;
  return Object.fromEntries(Object.entries(value).map(([key, text]) => [key, (text as string | null) ?? '']));
}

/** Checks an object's metadata as the API server does; `meta` is there when nothing is wrong with it. */
export function checkMetadata(value: unknown): { readonly meta?: ObjectMeta; readonly problems: readonly Problem[] } {
  if (value !== undefined && value !== null && !isMapping(value)) {
    return { problems: [problem('WrongType', ['metadata'], `${describeValue(value)} is no mapping`)] };
  }
  const given = value ?? {};
  const problems = [
    ...checkName(given.name),
    ...checkStrings(given.labels, ['metadata', 'labels'], labelFault),
    ...checkAnnotations(given.annotations),
    ...checkServerFields(given),
  ];
  for (const field of Object.keys(given)) {
    if (KNOWN.includes(field)) continue;
    const near = nearest(field, READ);
    problems.push(
      problem('UnknownField', ['metadata', field], 'metadata has no such field', near && `Did you mean ${near}?`),
    );
  }
  if (problems.length > 0) return { problems };
  const meta: ObjectMeta = { name: given.name as string };
  const labels = strings(given.labels);
  const annotations = strings(given.annotations);
  if (labels) meta.labels = labels;
  if (annotations) meta.annotations = annotations;
  if (typeof given.uid === 'string') meta.uid = given.uid;
  if (typeof given.generation === 'number') meta.generation = given.generation;
  if (typeof given.creationTimestamp === 'string') meta.creationTimestamp = given.creationTimestamp;
  return { meta, problems };
}
