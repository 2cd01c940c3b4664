/** `portcullis-agent check DIR`: reads a directory as the agent would and tells everything that is wrong with it. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { printable } from '../../api/field-path.ts';
import { problem } from '../../api/problem.ts';
import type { PortScanPolicy } from '../../api/types.ts';
import { type FileFinding, type LoadedObject, loadPolicyFile, MAX_FILE_BYTES } from '../source/yaml-documents.ts';

export interface CheckIo {
  stdout(text: string): void;
}

export interface CheckOptions {
  readonly directory: string;
  readonly output: 'text' | 'json';
}

/** An object and where it stands. */
export type PlacedObject = LoadedObject & { readonly file: string };

export interface CheckResult {
  readonly files: number;
  readonly objects: readonly PlacedObject[];
  /** In the order of files and lines. */
  readonly findings: readonly FileFinding[];
}

/** One line for a person or for an editor that jumps to it. */
export function formatFinding(finding: FileFinding): string {
  const { file, line, severity, code, object, field, message, remedy } = finding;
  const subject = [code, object, field].filter((part) => part !== undefined).join(' ');
  return printable(`${file}:${line}: ${severity} ${subject}: ${message} — ${remedy}`);
}

/** Policy files of a directory are those with these endings that are not hidden; folders in it are not entered. */
function isPolicyFile(name: string): boolean {
  return !name.startsWith('.') && /\.ya?ml$/.test(name);
}

function unreadable(code: 'DirectoryUnreadable' | 'FileUnreadable', file: string, error: unknown): FileFinding {
  const reason = error instanceof Error ? error.message : String(error);
  const { message, remedy } = problem(code, [], reason);
  return { code, severity: 'error', message, remedy, file, line: 1 };
}

/** The content of a file; a finding when it is no readable file of bearable size. */
async function readPolicyFile(file: string): Promise<Uint8Array | FileFinding> {
  try {
    const status = await stat(file);
    // A pipe or a device could be read for ever.
    if (!status.isFile()) return unreadable('FileUnreadable', file, new Error('it is no regular file'));
    const { size } = status;
    if (size <= MAX_FILE_BYTES) return await readFile(file);
    const { message, remedy } = problem('FileTooLarge', [], `the file has ${size} bytes, more than ${MAX_FILE_BYTES}`);
    return { code: 'FileTooLarge', severity: 'error', message, remedy, file, line: 1 };
  } catch (error) {
    return unreadable('FileUnreadable', file, error);
  }
}

/** Objects that stand in more than one file: the first file by name keeps it. */
export function findDuplicates(objects: readonly PlacedObject[]): FileFinding[] {
  const first = new Map<string, PlacedObject>();
  const findings: FileFinding[] = [];
  for (const placed of objects) {
    const key = `${placed.kind}/${placed.name}`;
    const earlier = first.get(key);
    if (earlier === undefined) {
      first.set(key, placed);
      continue;
    }
    const at = problem(
      'DuplicateObject',
      [],
      `${key} stands in ${earlier.file}:${earlier.line} already; this one is left out`,
    );
    findings.push({
      code: at.code,
      severity: 'error',
      message: at.message,
      remedy: at.remedy,
      object: key,
      field: 'metadata.name',
      file: placed.file,
      line: placed.line,
    });
  }
  return findings;
}

/** The same text for selectors that mean the same: keys in order, lists whose order means nothing sorted. */
function selectionKey({ spec }: PortScanPolicy): string {
  const ordered = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map((item) => JSON.stringify(ordered(item))).sort();
    if (typeof value !== 'object' || value === null) return value;
    const entries = Object.entries(value).filter(([, field]) => !(Array.isArray(field) && field.length === 0));
    return entries.map(([key, field]) => [key, ordered(field)]).sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
  };
  const { matchLabels = {}, matchExpressions = [] } = spec.nodeSelector ?? {};
  return JSON.stringify([spec.priority, ordered(matchLabels), ordered(matchExpressions), ordered(spec.interfaces)]);
}

/** Policies of equal priority and equal selectors: files let the name decide, a cluster would let the oldest. */
export function findTies(objects: readonly PlacedObject[]): FileFinding[] {
  const groups = new Map<string, (PlacedObject & { kind: 'PortScanPolicy' })[]>();
  const names = new Set<string>();
  for (const placed of objects) {
    if (placed.kind !== 'PortScanPolicy' || names.has(placed.name)) continue;
    names.add(placed.name);
    const key = selectionKey(placed.object);
    groups.set(key, [...(groups.get(key) ?? []), placed]);
  }
  return [...groups.values()].flatMap((group) => {
    const [winner, ...others] = group.sort((a, b) => (a.name < b.name ? -1 : 1));
    return others.map((placed) => {
      const { spec } = placed.object;
      const message = `has priority ${spec.priority} and the same selectors as PortScanPolicy/${winner!.name}, which governs because its name comes first`;
      const { code, remedy } = problem('PolicyTieByName', ['spec', 'priority'], message);
      const { file, line } = placed;
      const object = `PortScanPolicy/${placed.name}`;
      return { code, severity: 'warning' as const, message, remedy, object, field: 'spec.priority', file, line };
    });
  });
}

/** What a cluster takes and a directory cannot give. */
export function findClusterOnly(objects: readonly PlacedObject[]): FileFinding[] {
  return objects.flatMap(({ kind, name, object, file, line }): FileFinding[] => {
    if (object.kind !== 'IpBlocklist' || object.spec.configMapRefs.length === 0) return [];
    const message =
      'ConfigMaps are only in a cluster: an agent that reads this directory blocks none of their prefixes';
    const { code, remedy } = problem('NeedsCluster', ['spec', 'configMapRefs'], message);
    const field = 'spec.configMapRefs';
    return [{ code, severity: 'warning', message, remedy, object: `${kind}/${name}`, field, file, line }];
  });
}

/** Reads the directory; never throws for anything that stands in it. */
export async function checkDirectory(directory: string): Promise<CheckResult> {
  let names: string[];
  try {
    names = (await readdir(directory)).filter(isPolicyFile).sort();
  } catch (error) {
    return { files: 0, objects: [], findings: [unreadable('DirectoryUnreadable', directory, error)] };
  }
  const objects: PlacedObject[] = [];
  const findings: FileFinding[] = [];
  for (const name of names) {
    const file = join(directory, name);
    const content = await readPolicyFile(file);
    if (!(content instanceof Uint8Array)) {
      findings.push(content);
      continue;
    }
    const loaded = loadPolicyFile(file, content);
    findings.push(...loaded.findings);
    objects.push(...loaded.objects.map((object) => ({ ...object, file })));
  }
  findings.push(...findDuplicates(objects), ...findTies(objects), ...findClusterOnly(objects));
  findings.sort((a, b) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1));
  return { files: names.length, objects, findings };
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** Prints every finding and a sum. Exit code: 1 when there is an error, else 0. */
export async function check({ directory, output }: CheckOptions, io: CheckIo): Promise<number> {
  const { files, objects, findings } = await checkDirectory(directory);
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  const warnings = findings.filter(({ severity }) => severity === 'warning').length;
  if (output === 'json') {
    const placed = objects.map(({ kind, name, file, line }) => ({ kind, name, file, line }));
    io.stdout(`${JSON.stringify({ files, objects: placed, errors, warnings, findings }, null, 2)}\n`);
  } else {
    for (const finding of findings) io.stdout(`${formatFinding(finding)}\n`);
    const valid = counted(objects.length, 'valid object');
    io.stdout(`${counted(files, 'file')}, ${valid}, ${counted(errors, 'error')}, ${counted(warnings, 'warning')}\n`);
  }
  return errors > 0 ? 1 : 0;
}
