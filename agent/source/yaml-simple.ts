/**
 * The plain block style in which policies and long lists are written, read without a syntax tree: a list of 10,000 entries
 * takes a full parser half a second and 200 MB, which an agent of 90 MB has not. Whatever is unusual, ambiguous or wrong makes
 * it give up, and the full parser decides; tests hold the two to the same values.
 */
import { resolvePlain } from './yaml-scalars.ts';

const MAX_DEPTH = 32;
/** YAML ends an implicit key at 1,024 characters; no key here is near that. */
const KEY = /^([A-Za-z_][A-Za-z0-9_./-]{0,255}):(?: +|$)/;
/** A value in quotes without escapes, and what may follow it. */
const QUOTED = /^(?:"([^"\\]*)"|'([^']*)') *(?: #.*)?$/;
const PLAIN_START = /^[A-Za-z0-9]/;
/** One scalar in a flow collection, in the characters that no reader takes for syntax. */
const FLOW_SCALAR = /(?:"([^"\\]*)"|'([^']*)'|([A-Za-z0-9](?:[A-Za-z0-9._/:+-]*[A-Za-z0-9._/+-])?))(?= *[,}\]])/y;
const FLOW_KEY = /([A-Za-z_][A-Za-z0-9_./-]{0,255}): +/y;
const FLOW_SEPARATOR = / *(, *|(?=[}\]]))/y;
const FLOW_END = / *(?: #.*)?$/y;

class Unusual extends Error {}

function giveUp(): never {
  throw new Unusual();
}

interface Line {
  readonly indent: number;
  readonly content: string;
}

function plain(text: string): unknown {
  const resolved = resolvePlain(text);
  return 'value' in resolved ? resolved.value : giveUp();
}

function checkKey(key: string, target: object): void {
  // The full parser knows what to say about these.
  if (plain(key) !== key || key === '__proto__' || Object.hasOwn(target, key)) giveUp();
}

/** A flow mapping or list of scalars on one line. */
function readFlow(text: string): unknown {
  let at = 1;
  const match = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at = pattern.lastIndex;
    return found;
  };
  const scalar = () => {
    const found = match(FLOW_SCALAR) ?? giveUp();
    return found[3] === undefined ? (found[1] ?? found[2]) : plain(found[3]);
  };
  const mapping = text.startsWith('{');
  const close = mapping ? '}' : ']';
  const record: Record<string, unknown> = {};
  const list: unknown[] = [];
  match(/ */y);
  while (text[at] !== close) {
    if (mapping) {
      const key = (match(FLOW_KEY) ?? giveUp())[1]!;
      checkKey(key, record);
      record[key] = scalar();
    } else {
      list.push(scalar());
    }
    const separator = match(FLOW_SEPARATOR) ?? giveUp();
    // A comma before the end is not everywhere allowed.
    if (separator[1] !== '' && text[at] === close) giveUp();
  }
  at++;
  if (!match(FLOW_END)) giveUp();
  return mapping ? record : list;
}

function readValue(text: string): unknown {
  if (text.startsWith('"') || text.startsWith("'")) {
    const quoted = QUOTED.exec(text) ?? giveUp();
    return quoted[1] ?? quoted[2];
  }
  if (text.startsWith('{') || text.startsWith('[')) return readFlow(text);
  const comment = text.indexOf(' #');
  const value = (comment === -1 ? text : text.slice(0, comment)).replace(/ +$/, '');
  if (!PLAIN_START.test(value) || value.includes(': ') || value.endsWith(':')) giveUp();
  return plain(value);
}

class SimpleReader {
  readonly #lines: Line[] = [];
  #at = 0;

  constructor(text: string) {
    for (const [i, line] of text.split('\n').entries()) {
      const body = line.replace(/\r$/, '').replace(/ +$/, '');
      const content = body.replace(/^ +/, '');
      if (content === '' || content.startsWith('#')) continue;
      if (i === 0 && /^---( +#.*)?$/.test(body)) continue;
      if (content.includes('\t') || /^(---|\.\.\.|%)/.test(body)) giveUp();
      this.#lines.push({ indent: body.length - content.length, content });
    }
  }

  read(): unknown {
    if (this.#lines.length === 0 || this.#lines[0]!.indent !== 0) giveUp();
    const value = this.#block(0, 0);
    // A line that continues a value, or is wrongly indented, ends every block around it before the last line.
    return this.#at === this.#lines.length ? value : giveUp();
  }

  get #line(): Line | undefined {
    return this.#lines[this.#at];
  }

  #block(indent: number, depth: number): unknown {
    if (depth > MAX_DEPTH) giveUp();
    return isItem(this.#line!) ? this.#list(indent, depth) : this.#mapping(indent, depth);
  }

  #list(indent: number, depth: number): unknown[] {
    const items: unknown[] = [];
    for (let line = this.#line; line !== undefined && line.indent === indent && isItem(line); line = this.#line) {
      const rest = line.content.slice(1).replace(/^ +/, '');
      const inner = indent + line.content.length - rest.length;
      if (rest === '' || rest.startsWith('#')) {
        this.#at++;
        items.push(this.#nested(indent, depth));
      } else if (KEY.test(rest) || isItem({ indent: inner, content: rest })) {
        // What stands behind the dash begins a block of its own, as if on a line of its own.
        this.#lines[this.#at] = { indent: inner, content: rest };
        items.push(this.#block(inner, depth + 1));
      } else {
        items.push(readValue(rest));
        this.#at++;
      }
    }
    return items;
  }

  #mapping(indent: number, depth: number): Record<string, unknown> {
    const result: Record<string, unknown> = {};
    for (let line = this.#line; line !== undefined && line.indent === indent; line = this.#line) {
      const found = KEY.exec(line.content) ?? giveUp();
      const key = found[1]!;
      checkKey(key, result);
      const rest = line.content.slice(found[0].length);
      this.#at++;
      if (rest !== '' && !rest.startsWith('#')) result[key] = readValue(rest);
      else if (this.#line?.indent === indent && isItem(this.#line)) result[key] = this.#list(indent, depth + 1);
      else result[key] = this.#nested(indent, depth);
    }
    return result;
  }

  /** The block below a key or a dash that nothing follows on its line; null where there is none. */
  #nested(indent: number, depth: number): unknown {
    const next = this.#line;
    return next !== undefined && next.indent > indent ? this.#block(next.indent, depth + 1) : null;
  }
}

function isItem({ content }: Line): boolean {
  return content === '-' || content.startsWith('- ');
}

/** The value of a document in that style; undefined when the full parser must decide. */
export function readSimple(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: new SimpleReader(text).read() };
  } catch (error) {
    if (error instanceof Unusual) return undefined;
    throw error;
  }
}
