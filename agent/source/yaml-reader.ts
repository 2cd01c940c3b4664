/** Text to plain values, with the line of each, in the part of YAML that every reader understands alike. */
import { Composer, type Document, isAlias, isMap, isScalar, isSeq, Lexer, LineCounter, type Node, Parser } from 'yaml';
import type { ErrorCode } from '../../api/errors.ts';
import { describeValue, type FieldPath } from '../../api/field-path.ts';
import { MAX_PROBLEMS, type Problem, problem } from '../../api/problem.ts';
import { resolvePlain } from './yaml-scalars.ts';
import { readSimple } from './yaml-simple.ts';

/** Deeper than any object of the API, shallow enough for every recursion over a value. */
const MAX_DEPTH = 64;
const MAX_ALIASES = 100;
/** What all aliases of a document may add up to: "billion laughs" is refused, a shared selector is not. */
const MAX_ALIASED_NODES = 10_000;
const MAX_SYNTAX_ERRORS = 10;
const LONE_SURROGATE = /\p{Cs}/u;

export interface YamlProblem extends Problem {
  /** Line in the text, from 1. */
  readonly line: number;
}

export interface YamlDocument {
  /** First line of its content, from 1. */
  readonly line: number;
  /** As far as it could be read when there are problems. */
  readonly value: unknown;
  readonly problems: readonly YamlProblem[];
  /** The line where a field stands, or the innermost mapping or list that would hold it. */
  lineOf(path: FieldPath): number;
}

export interface ReadOptions {
  /** Default: no bound. */
  readonly maxDocuments?: number;
  /** Default false; the values are the same, the cost is not. */
  readonly fullParserOnly?: boolean;
}

interface Chunk {
  readonly text: string;
  /** Lines of the text before it. */
  readonly lineOffset: number;
}

/** Cuts the text at the lines that begin with `---`, as kubectl does, so that an open quote does not swallow what follows. */
function splitDocuments(text: string): Chunk[] {
  const chunks: Chunk[] = [];
  const marker = /^---.*$/gm;
  let start = 0;
  let lineOffset = 0;
  const push = (end: number) => {
    const part = text.slice(start, end);
    chunks.push({ text: part, lineOffset });
    lineOffset += part.split('\n').length - 1;
    start = end;
  };
  for (const { index } of text.matchAll(marker)) if (index > start) push(index);
  push(text.length);
  return chunks;
}

/** Turns the nodes of one document into values, and notes what is refused. */
class Converter {
  readonly problems: YamlProblem[] = [];
  readonly #lineAt: (node: Node) => number;
  readonly #anchors = new Map<string, Node>();
  readonly #open = new Set<Node>();
  #aliases = 0;
  #aliasedNodes = 0;
  #insideAlias = 0;

  constructor(lineAt: (node: Node) => number) {
    this.#lineAt = lineAt;
  }

  resolveAlias(source: string): Node | undefined {
    return this.#anchors.get(source);
  }

  convert(node: Node | null | undefined, path: FieldPath): unknown {
    if (node === null || node === undefined) return null;
    if (path.length > MAX_DEPTH) {
      return this.#refuse('YamlUnsupported', node, path, `values are nested deeper than ${MAX_DEPTH} levels`);
    }
    if (this.#insideAlias > 0 && ++this.#aliasedNodes > MAX_ALIASED_NODES) {
      if (this.#aliasedNodes > MAX_ALIASED_NODES + 1) return undefined;
      return this.#refuse('YamlUnsupported', node, path, `aliases stand for more than ${MAX_ALIASED_NODES} values`);
    }
    if (isAlias(node)) return this.#convertAlias(node.source, node, path);
    if (!isScalar(node) && !isMap(node) && !isSeq(node)) {
      return this.#refuse('YamlSyntax', node, path, 'the value cannot be read');
    }
    if (node.tag !== undefined) {
      const tag = describeValue(node.tag);
      return this.#refuse('YamlUnsupported', node, path, `the tag ${tag} is not taken`, 'Remove the tag.');
    }
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    this.#open.add(node);
    const value = isScalar(node)
      ? this.#convertScalar(node, path)
      : isMap(node)
        ? this.#convertMap(node.items, path)
        : node.items.map((item, i) => this.convert(item as Node, [...path, i]));
    this.#open.delete(node);
    return value;
  }

  #convertAlias(source: string, alias: Node, path: FieldPath): unknown {
    const name = describeValue(source);
    const target = this.#anchors.get(source);
    if (target === undefined) return this.#refuse('YamlSyntax', alias, path, `no anchor ${name} stands above`);
    if (this.#open.has(target)) return this.#refuse('YamlUnsupported', alias, path, `alias ${name} stands for itself`);
    if (++this.#aliases > MAX_ALIASES) {
      if (this.#aliases > MAX_ALIASES + 1) return undefined;
      return this.#refuse('YamlUnsupported', alias, path, `there are more than ${MAX_ALIASES} aliases`);
    }
    this.#insideAlias++;
    const value = this.convert(target, path);
    this.#insideAlias--;
    return value;
  }

  #convertScalar(node: Node & { value?: unknown; type?: string | undefined }, path: FieldPath): unknown {
    const text = String(node.value ?? '');
    if (LONE_SURROGATE.test(text))
      return this.#refuse('YamlSyntax', node, path, 'the text holds half of a surrogate pair');
    if (node.type !== 'PLAIN') return text;
    const plain = resolvePlain(text);
    if ('value' in plain) return plain.value;
    return this.#refuse('YamlAmbiguousScalar', node, path, `${text} ${plain.ambiguous}`, plain.remedy);
  }

  #convertMap(pairs: readonly { key: unknown; value: unknown }[], path: FieldPath): unknown {
    const result: Record<string, unknown> = {};
    const seen = new Set<string>();
    for (const pair of pairs) {
      const keyNode = pair.key as Node | null;
      const key = this.#convertKey(keyNode, pair.value as Node | null, path);
      if (key === undefined) continue;
      if (seen.has(key)) {
        const message = `the key ${describeValue(key)} stands here twice`;
        this.#refuse('YamlDuplicateKey', keyNode, [...path, key], message);
        continue;
      }
      seen.add(key);
      const value = this.convert(pair.value as Node | null, [...path, key]);
      // Assignment to __proto__ would set the prototype and hide the field.
      Object.defineProperty(result, key, { value, enumerable: true, configurable: true, writable: true });
    }
    return result;
  }

  #convertKey(node: Node | null, value: Node | null, path: FieldPath): string | undefined {
    const at = node ?? value;
    const refuse = (message: string, remedy?: string) => {
      this.#refuse('YamlUnsupported', at, path, message, remedy);
      return undefined;
    };
    if (!isScalar(node) || node.value === null) return refuse('a key is no string', 'Write the key as a plain word.');
    if (node.type === 'PLAIN' && node.value === '<<') {
      return refuse('the merge key << is not taken', 'Write the values out.');
    }
    const problems = this.problems.length;
    const key = this.convert(node, path);
    if (this.problems.length > problems) return undefined;
    return typeof key === 'string'
      ? key
      : refuse(`the key ${describeValue(key)} is no string`, 'Put the key in quotes.');
  }

  #refuse(code: ErrorCode, node: Node | null, path: FieldPath, message: string, remedy?: string): undefined {
    this.problems.push({ ...problem(code, path, message, remedy), line: node ? this.#lineAt(node) : 1 });
    return undefined;
  }
}

function syntaxProblem(code: string, message: string, line: number): YamlProblem {
  const tag = code === 'TAG_RESOLVE_FAILED';
  const deep = code === 'RESOURCE_EXHAUSTION';
  if (deep) return { ...problem('YamlUnsupported', [], 'values are nested too deeply'), line };
  return { ...problem(tag ? 'YamlUnsupported' : 'YamlSyntax', [], message), line };
}

function distinct(problems: readonly YamlProblem[]): YamlProblem[] {
  const seen = new Set<string>();
  return problems.filter(({ line, message }) => {
    const key = `${line} ${message}`;
    return !seen.has(key) && seen.add(key);
  });
}

function refused(line: number, at: YamlProblem): YamlDocument {
  return { line, value: undefined, problems: [at], lineOf: () => line };
}

/** What kubectl would silently drop or read otherwise than this reader, on the lines around a document. */
function checkEnvelope({ text, lineOffset }: Chunk): YamlProblem | undefined {
  const lines = text.split(/\r?\n/, 1000);
  const rest = lines[0]!.startsWith('---') ? lines[0]!.slice(3) : '';
  if (!/^\s*(|\s#.*)$/.test(rest)) {
    const at = problem('YamlUnsupported', [], 'something stands on the line of ---', 'Move it to a line of its own.');
    return { ...at, line: lineOffset + 1 };
  }
  const index = lines.findIndex((line) => !/^\s*(|#.*|---.*)$/.test(line));
  if (index === -1 || !lines[index]!.startsWith('%')) return undefined;
  const at = problem('YamlUnsupported', [], 'YAML directives are not taken', 'Remove the line that begins with %.');
  return { ...at, line: lineOffset + index + 1 };
}

/** Tabs after these indicators are white space to this library's grammar and an error to kubectl's. */
const TAB_AFTER_INDICATOR = /^ *(?:[-?] +)*[-?] *\t/m;

function checkTabs({ text, lineOffset }: Chunk): YamlProblem | undefined {
  const found = TAB_AFTER_INDICATOR.exec(text);
  if (!found) return undefined;
  const line = lineOffset + text.slice(0, found.index).split('\n').length;
  return { ...problem('YamlSyntax', [], 'a tab stands where only blanks may', 'Replace the tab by blanks.'), line };
}

function compose(chunk: Chunk, counter: LineCounter): Document.Parsed[] {
  const tokens = new Parser(counter.addNewLine).parse(chunk.text);
  // Every scalar stays text here: what an unquoted one means is decided in one place, resolvePlain.
  const composer = new Composer({ version: '1.1', schema: 'failsafe', uniqueKeys: false, logLevel: 'silent' });
  return [...composer.compose(tokens)] as Document.Parsed[];
}

/** Tokens of a document for the full parser: each costs it some 0.5 kB. A list of 10,000 entries has 400,000 at most. */
const MAX_TOKENS = 500_000;

function hasTooManyTokens(text: string): boolean {
  let count = 0;
  for (const _ of new Lexer().lex(text)) if (++count > MAX_TOKENS) return true;
  return false;
}

function readChunk(chunk: Chunk, fullParserOnly: boolean): YamlDocument | undefined {
  const envelope = checkEnvelope(chunk) ?? checkTabs(chunk);
  if (envelope) return refused(envelope.line, envelope);
  const simple = fullParserOnly ? undefined : readSimple(chunk.text);
  if (simple === undefined) return readFully(chunk);
  const first = chunk.text.split('\n').findIndex((line) => !/^(?:---| *(?:#|\r?$))/.test(line));
  let full: YamlDocument | undefined;
  return {
    line: chunk.lineOffset + first + 1,
    value: simple.value,
    problems: [],
    // Only a refused object needs its lines, and may take the time of the full parser.
    lineOf: (path) => {
      full ??= readFully(chunk) as YamlDocument;
      return full.lineOf(path);
    },
  };
}

/** Reads a document with the full parser. */
function readFully(chunk: Chunk): YamlDocument | undefined {
  if (hasTooManyTokens(chunk.text)) {
    const line = chunk.lineOffset + 1;
    const message = `the document has more than ${MAX_TOKENS} words and signs`;
    return refused(line, { ...problem('FileTooLarge', [], message, 'Split the document.'), line });
  }

  const counter = new LineCounter();
  const lineAtOffset = (offset: number) => chunk.lineOffset + Math.max(1, counter.linePos(offset).line);
  const first = chunk.lineOffset + 1;
  let documents: Document.Parsed[];
  try {
    documents = compose(chunk, counter);
  } catch (error) {
    // The library recurses over the text; what it throws then is the stack's end.
    if (error instanceof RangeError) return refused(first, syntaxProblem('RESOURCE_EXHAUSTION', '', first));
    throw error;
  }
  const document = documents[0];
  if (document === undefined) return undefined;
  const lineAt = (node: Node) => lineAtOffset(node.range?.[0] ?? 0);
  const converter = new Converter(lineAt);
  const problems: YamlProblem[] = document.errors
    .slice(0, MAX_SYNTAX_ERRORS)
    .map(({ code, message, pos }) => syntaxProblem(code, message, lineAtOffset(pos[0])));
  const root = document.contents as Node | null;
  const value = converter.convert(root, []);
  if (documents.length > 1) {
    const at = problem('YamlUnsupported', [], 'a document begins without ---', 'Put a line --- before it.');
    problems.push({ ...at, line: lineAtOffset(documents[1]!.range[0]) });
  }
  for (const at of converter.problems) problems.push(at);
  if (value === null && problems.length === 0) return undefined;
  return {
    line: root ? lineAt(root) : first,
    value,
    problems: distinct(problems).slice(0, MAX_PROBLEMS),
    lineOf: (path) => lineOfPath(root, path, converter, lineAt, first),
  };
}

function lineOfPath(
  root: Node | null,
  path: FieldPath,
  converter: Converter,
  lineAt: (node: Node) => number,
  first: number,
): number {
  let node = root;
  let line = root ? lineAt(root) : first;
  for (const part of path) {
    const target = isAlias(node) ? converter.resolveAlias(node.source) : node;
    if (isMap(target)) {
      const pair = target.items.find(({ key }) => isScalar(key) && key.value === part);
      if (!pair) break;
      line = lineAt(pair.key as Node);
      node = pair.value as Node | null;
    } else if (isSeq(target) && typeof part === 'number' && target.items[part]) {
      node = target.items[part] as Node;
      line = lineAt(node);
    } else {
      break;
    }
  }
  return line;
}

/** Characters that YAML forbids, and the line breaks of Unicode, which only some readers take for line breaks. */
const FORBIDDEN = /(?![\t\n\r])\p{Cc}|\r(?!\n)|[\u2028\u2029\ufeff\ufffe\uffff]|\p{Cs}/u;

function checkCharacters(text: string): YamlProblem | undefined {
  const found = FORBIDDEN.exec(text);
  if (!found) return undefined;
  const line = text.slice(0, found.index).split('\n').length;
  const code = text.codePointAt(found.index)!.toString(16).toUpperCase().padStart(4, '0');
  const remedy = 'Remove it, or write it as an escape in double quotes.';
  return { ...problem('YamlSyntax', [], `the character U+${code} may not stand in YAML`, remedy), line };
}

/**
 * Reads every document of a text; empty ones are left out. A document that cannot be read stands in the result with its
 * problems and does not hide the others. Never throws for any text.
 */
export function readYaml(text: string, options: ReadOptions = {}): YamlDocument[] {
  const { maxDocuments = Number.POSITIVE_INFINITY, fullParserOnly = false } = options;
  const body = text.startsWith('\ufeff') ? text.slice(1) : text;
  const chunks = splitDocuments(body);
  if (chunks.length > maxDocuments) {
    const message = `the file has more than ${maxDocuments} documents`;
    return [refused(1, { ...problem('FileTooLarge', [], message), line: 1 })];
  }
  const documents: YamlDocument[] = [];
  for (const chunk of chunks) {
    const forbidden = checkCharacters(chunk.text);
    const line = chunk.lineOffset + (forbidden?.line ?? 0);
    const document = forbidden ? refused(line, { ...forbidden, line }) : readChunk(chunk, fullParserOnly);
    if (document) documents.push(document);
  }
  return documents;
}
