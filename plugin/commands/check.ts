/** `check FILE|DIR|-`: what the agent and the API server would refuse, without either; with --server what the latter says. */
import { readFile, stat } from 'node:fs/promises';
import { checkDirectory, findDuplicates, formatFinding, type PlacedObject } from '../../agent/commands/check.ts';
import { type FileFinding, loadPolicyFile, MAX_FILE_BYTES } from '../../agent/source/yaml-documents.ts';
import { problem } from '../../api/problem.ts';
import { printable } from '../../cli/format-text.ts';
import type { KubeClient } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import type { NewKubeObject } from '../../kube/objects.ts';
import { type Resource, resources } from '../../kube/resources.ts';
import { shortError } from '../api-error.ts';
import { type Io, plural, structured } from '../output.ts';
import { exitCodes, fieldManager, type Structured } from './context.ts';

export interface CheckOptions {
  /** Files, directories, or `-` for standard input. */
  readonly paths: readonly string[];
  readonly output: 'text' | Structured;
}

/** What `check -o json` shows. */
export interface CheckResult {
  readonly objects: readonly {
    readonly kind: string;
    readonly name: string;
    readonly file: string;
    readonly line: number;
  }[];
  readonly errors: number;
  readonly warnings: number;
  /** In the order of files and lines. */
  readonly findings: readonly FileFinding[];
  /** What the API server refuses of the valid objects; null when it was not asked. */
  readonly refusedByServer: readonly ServerRefusal[] | null;
}

export interface ServerRefusal {
  readonly file: string;
  readonly line: number;
  /** Such as PortScanPolicy/web. */
  readonly object: string;
  readonly message: string;
}

const byKind: Readonly<Record<PlacedObject['kind'], Resource>> = {
  PortScanPolicy: resources.portScanPolicies,
  IpBlocklist: resources.ipBlocklists,
  SourceException: resources.sourceExceptions,
};

/** Names decide among files only: in a cluster the oldest policy governs. */
const onlyOfFiles: readonly string[] = ['PolicyTieByName'];

/** `client` is there when the server shall be asked as well. */
export async function check(
  { io, client }: { readonly io: Io; readonly client?: KubeClient | undefined },
  { paths, output }: CheckOptions,
): Promise<number> {
  const objects: PlacedObject[] = [];
  const found: FileFinding[] = [];
  for (const path of paths) {
    const read = await readPath(path, io);
    objects.push(...read.objects);
    found.push(...read.findings);
  }
  const duplicates = findDuplicates(objects).filter(
    ({ file, line }) => !found.some((one) => isDuplicateAt(one, file, line)),
  );
  const findings = [...found, ...duplicates].filter(({ code }) => !onlyOfFiles.includes(code));
  const refused = client === undefined ? null : await askServer(client, objects);
  const result: CheckResult = {
    objects: objects.map(({ kind, name, file, line }) => ({ kind, name, file, line })),
    errors: findings.filter(({ severity }) => severity === 'error').length,
    warnings: findings.filter(({ severity }) => severity === 'warning').length,
    findings,
    refusedByServer: refused,
  };
  io.stdout(output === 'text' ? formatCheck(result) : structured(result, output));
  return result.errors > 0 || (refused ?? []).length > 0 ? exitCodes.found : exitCodes.ok;
}

const isDuplicateAt = (one: FileFinding, file: string, line: number): boolean =>
  one.code === 'DuplicateObject' && one.file === file && one.line === line;

async function readPath(path: string, io: Io): Promise<{ objects: PlacedObject[]; findings: readonly FileFinding[] }> {
  if (path === '-') return load('-', await io.stdin());
  try {
    const status = await stat(path);
    if (status.isDirectory()) {
      const { objects, findings } = await checkDirectory(path);
      return { objects: [...objects], findings };
    }
    // A pipe could be read for ever; `-` is there for that.
    if (!status.isFile()) return unreadable(path, 'it is no regular file; use - for standard input');
    if (status.size > MAX_FILE_BYTES)
      return unreadable(path, `it has ${status.size} bytes, more than ${MAX_FILE_BYTES}`);
    return load(path, await readFile(path));
  } catch (error) {
    return unreadable(path, error instanceof Error ? error.message : String(error));
  }
}

function load(file: string, content: Uint8Array) {
  const { objects, findings } = loadPolicyFile(file, content);
  return { objects: objects.map((object): PlacedObject => ({ ...object, file })), findings };
}

function unreadable(file: string, reason: string) {
  const { code, message, remedy } = problem('FileUnreadable', [], reason);
  return { objects: [], findings: [{ code, severity: 'error' as const, message, remedy, file, line: 1 }] };
}

/** Server-side apply as a dry run: everything but the write. One after the other, since each may be a megabyte. */
async function askServer(client: KubeClient, objects: readonly PlacedObject[]): Promise<ServerRefusal[]> {
  const refused: ServerRefusal[] = [];
  for (const { kind, name, file, line, object } of objects) {
    const { apiVersion, metadata, spec } = object;
    const { labels, annotations } = metadata;
    const given = { name, ...(labels && { labels }), ...(annotations && { annotations }) };
    const sent = { apiVersion, kind, metadata: given, spec } as NewKubeObject;
    try {
      await client.apply(byKind[kind], sent, { fieldManager, force: true, dryRun: true });
    } catch (error) {
      // Others are about the server or the caller, not about the object.
      if (!(error instanceof KubeError) || ![400, 422].includes(error.status)) throw error;
      refused.push({ file, line, object: `${kind}/${name}`, message: shortError(error, client.server).message });
    }
  }
  return refused;
}

export function formatCheck({ objects, errors, warnings, findings, refusedByServer }: CheckResult): string {
  const lines = findings.map(formatFinding);
  for (const { file, line, object, message } of refusedByServer ?? []) {
    lines.push(printable(`${file}:${line}: error ${object}: the server refuses it: ${message}`));
  }
  const counts = [plural(objects.length, 'valid object'), plural(errors, 'error'), plural(warnings, 'warning')];
  if (refusedByServer !== null) counts.push(`${plural(refusedByServer.length, 'object')} refused by the server`);
  return `${[...lines, counts.join(', ')].join('\n')}\n`;
}
