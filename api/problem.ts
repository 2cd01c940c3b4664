import { type ErrorCode, ErrorTable } from './errors.ts';
import { type FieldPath, formatPath } from './field-path.ts';

/** One thing that is wrong with an object. Every problem refuses the object. */
export interface Problem {
  readonly code: ErrorCode;
  readonly path: FieldPath;
  /** One sentence with the value at fault. */
  readonly message: string;
  readonly remedy: string;
}

export function problem(code: ErrorCode, path: FieldPath, message: string, remedy?: string): Problem {
  return { code, path, message, remedy: remedy ?? ErrorTable[code].remedy };
}

/** More would only hide the first: 10,000 bad entries make as many problems. */
export const MAX_PROBLEMS = 100;

/** At most one problem for each field, the first, and at most MAX_PROBLEMS with a last one that counts the rest. */
export function boundProblems(problems: readonly Problem[]): Problem[] {
  const seen = new Set<string>();
  const distinct = problems.filter(({ path }) => {
    const field = formatPath(path);
    return !seen.has(field) && seen.add(field);
  });
  if (distinct.length <= MAX_PROBLEMS) return distinct;
  const rest = distinct.length - MAX_PROBLEMS;
  const last = problem(
    'TooMany',
    [],
    `${rest} more problems of this object are not shown`,
    'Correct those shown first.',
  );
  return [...distinct.slice(0, MAX_PROBLEMS), last];
}
