/** A policy file: its valid objects, and a finding for everything that is refused. */
import type { ErrorCode } from '../../api/errors.ts';
import { formatPath, shorten } from '../../api/field-path.ts';
import { type Problem, problem } from '../../api/problem.ts';
import type { IpBlocklist, PolicyObject, PortScanPolicy, SourceException } from '../../api/types.ts';
import { identify, validateObject } from '../../api/validate.ts';
import type { Finding } from '../finding.ts';
import { readYaml, type YamlDocument, type YamlProblem } from './yaml-reader.ts';

export const MAX_FILE_BYTES = 4 * 1024 * 1024;
export const MAX_DOCUMENTS = 1000;
const MIB = 1024 * 1024;

export type LoadedObject =
  | { readonly kind: 'PortScanPolicy'; readonly name: string; readonly line: number; readonly object: PortScanPolicy }
  | { readonly kind: 'IpBlocklist'; readonly name: string; readonly line: number; readonly object: IpBlocklist }
  | {
      readonly kind: 'SourceException';
      readonly name: string;
      readonly line: number;
      readonly object: SourceException;
    };

/** A finding about a place in a file. */
export interface FileFinding extends Finding {
  /** As given to loadPolicyFile. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
}

export interface LoadedFile {
  /** In the order of the file; of two with the same kind and name only the first. */
  readonly objects: readonly LoadedObject[];
  readonly findings: readonly FileFinding[];
}

export interface LoadLimits {
  /** Default 4 MiB. */
  readonly maxFileBytes?: number;
}

function toFinding(file: string, line: number, at: Problem, object?: string): FileFinding {
  const { code, path, message, remedy } = at;
  const field = formatPath(path);
  return {
    code,
    severity: 'error',
    message: shorten(message),
    remedy,
    ...(object === undefined ? {} : { object: shorten(object) }),
    ...(field === '' ? {} : { field }),
    file,
    line,
  };
}

/** The text of a file, or what is wrong with its bytes. */
function decode(content: string | Uint8Array, maxFileBytes: number): string | Problem {
  const bytes = typeof content === 'string' ? Buffer.byteLength(content) : content.byteLength;
  if (bytes > maxFileBytes) {
    const message = `the file has ${bytes} bytes, more than ${maxFileBytes / MIB} MiB`;
    return problem('FileTooLarge', [], message);
  }
  if (typeof content === 'string') return content;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    return problem('YamlSyntax', [], 'the file is not valid UTF-8', 'Save the file as UTF-8.');
  }
}

/** What leaves a hole in the value, but not an unknown one: the rest of the object can still be checked. */
const LOCAL: readonly ErrorCode[] = ['YamlAmbiguousScalar', 'YamlDuplicateKey'];

/** The object of a document, or all that is wrong with it in the order of its lines. */
function checkDocument(document: YamlDocument): { object?: PolicyObject; problems: readonly YamlProblem[] } {
  const inText = document.problems;
  if (inText.some(({ code }) => !LOCAL.includes(code))) return { problems: inText };
  const { object, problems } = validateObject(document.value);
  if (inText.length === 0 && object !== undefined) return { object, problems: [] };
  const named = new Set(inText.map(({ path }) => formatPath(path)));
  const inObject = problems
    .filter(({ path }) => !named.has(formatPath(path)))
    .map((at) => ({ ...at, line: document.lineOf(at.path) }));
  return { problems: [...inText, ...inObject].sort((a, b) => a.line - b.line) };
}

/**
 * Reads the documents of one file. A document that is refused has findings that name its line, field, value and remedy, and does
 * not hide the valid ones. Never throws for any content.
 */
export function loadPolicyFile(file: string, content: string | Uint8Array, limits: LoadLimits = {}): LoadedFile {
  const text = decode(content, limits.maxFileBytes ?? MAX_FILE_BYTES);
  if (typeof text !== 'string') return { objects: [], findings: [toFinding(file, 1, text)] };

  const objects: LoadedObject[] = [];
  const findings: FileFinding[] = [];
  const lines = new Map<string, number>();
  for (const document of readYaml(text, { maxDocuments: MAX_DOCUMENTS })) {
    const identity = identify(document.value);
    const { object, problems } = checkDocument(document);
    findings.push(...problems.map((at) => toFinding(file, at.line, at, identity)));
    if (object === undefined) continue;
    const { kind, metadata } = object;
    const key = `${kind}/${metadata.name}`;
    const earlier = lines.get(key);
    if (earlier !== undefined) {
      const message = `${key} stands in line ${earlier} already; this one is left out`;
      findings.push(
        toFinding(
          file,
          document.lineOf(['metadata', 'name']),
          problem('DuplicateObject', ['metadata', 'name'], message),
          key,
        ),
      );
      continue;
    }
    lines.set(key, document.line);
    objects.push({ kind, name: metadata.name, line: document.line, object } as LoadedObject);
  }
  return { objects, findings };
}
