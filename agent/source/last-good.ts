/** What is in force of each file: its valid objects, and the last good ones of those that are invalid now. Pure. */

import { type ErrorCode, ErrorTable } from '../../api/errors.ts';
import type { IpBlocklist, PortScanPolicy, SourceException } from '../../api/types.ts';
import type { PolicySnapshot } from './policy-source.ts';
import type { FileFinding, LoadedFile, LoadedObject } from './yaml-documents.ts';

export interface FileState {
  /** As it is named in findings. */
  readonly path: string;
  /** Valid in the file as it was last read. */
  readonly valid: readonly LoadedObject[];
  /** Last good versions of objects that the file had before it went bad. */
  readonly kept: readonly LoadedObject[];
  /** What is wrong with the file. */
  readonly findings: readonly FileFinding[];
}

export const keyOf = ({ kind, name }: LoadedObject): string => `${kind}/${name}`;

/**
 * The state of a file after it was read again. A file in which anything is
 * wrong removes nothing: an object that is missing may be the one that cannot
 * be read.
 */
export function reloaded(previous: FileState | undefined, path: string, loaded: LoadedFile): FileState {
  const isSound = loaded.findings.every(({ severity }) => severity !== 'error');
  const present = new Set(loaded.objects.map(keyOf));
  const before = previous === undefined ? [] : [...previous.valid, ...previous.kept];
  const kept = isSound ? [] : before.filter((object) => !present.has(keyOf(object)));
  return { path, valid: loaded.objects, kept, findings: loaded.findings };
}

/** A finding about a whole file. */
export function fileFinding(code: ErrorCode, path: string, message: string): FileFinding {
  const { severity, remedy } = ErrorTable[code];
  return { code, severity, message, remedy, file: path, line: 1 };
}

/** What all files together put in force. `files` in the order in which the first of two with the same object wins. */
export function combine(files: readonly FileState[], general: readonly FileFinding[]): PolicySnapshot {
  const findings: FileFinding[] = [...general];
  const inForce = new Map<string, { object: LoadedObject; path: string }>();
  for (const { path, valid, findings: own } of files) {
    findings.push(...own);
    for (const object of valid) {
      const key = keyOf(object);
      const earlier = inForce.get(key);
      if (earlier === undefined) inForce.set(key, { object, path });
      else findings.push(duplicateFinding(key, path, object, earlier));
    }
  }
  // After all valid ones: an object that was moved to another file is newer there than what the broken file had.
  for (const { path, kept, findings: own } of files) {
    for (const object of kept) {
      const key = keyOf(object);
      if (inForce.has(key)) continue;
      inForce.set(key, { object, path });
      findings.push(keptFinding(key, path, own));
    }
  }
  const portScanPolicies: PortScanPolicy[] = [];
  const ipBlocklists: IpBlocklist[] = [];
  const sourceExceptions: SourceException[] = [];
  for (const { object } of inForce.values()) {
    if (object.kind === 'PortScanPolicy') portScanPolicies.push(object.object);
    else if (object.object.kind === 'IpBlocklist') ipBlocklists.push(object.object);
    else sourceExceptions.push(object.object);
  }
  return { portScanPolicies, ipBlocklists, sourceExceptions, findings };
}

function duplicateFinding(
  key: string,
  path: string,
  { line }: LoadedObject,
  earlier: { object: LoadedObject; path: string },
): FileFinding {
  const place = `${earlier.path}:${earlier.object.line}`;
  const finding = fileFinding(
    'DuplicateObject',
    path,
    `${key} stands in ${place} already; that of ${path}:${line} is left out`,
  );
  return { ...finding, object: key, field: 'metadata.name', line };
}

function keptFinding(key: string, path: string, findings: readonly FileFinding[]): FileFinding {
  const errors = findings.filter(({ severity }) => severity === 'error');
  const error = errors.find(({ object }) => object === key) ?? errors[0];
  const at = error === undefined ? path : `${path}:${error.line}`;
  const why = error === undefined ? '' : `: ${[error.code, error.field].filter(Boolean).join(' ')}: ${error.message}`;
  const finding = fileFinding('LastGoodKept', path, `${key} stays in force as it last was, because of ${at}${why}`);
  return { ...finding, object: key, line: error?.line ?? 1 };
}
