import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { loadPolicyFile, MAX_DOCUMENTS, MAX_FILE_BYTES } from './yaml-documents.ts';

const head = (name: string, kind = 'IpBlocklist') =>
  `apiVersion: portcullis.dev/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}}\n`;
const list = (name: string, spec = '{}') => `${head(name)}spec: ${spec}\n`;
const load = (text: string | Uint8Array) => loadPolicyFile('p.yaml', text);
const names = (text: string) => load(text).objects.map(({ name }) => name);
/** What is refused, as `line Code field`. */
const refusals = (text: string | Uint8Array) =>
  load(text).findings.map(({ line, code, field }) => `${line} ${code}${field === undefined ? '' : ` ${field}`}`);

describe('a file', () => {
  it('may hold many documents, and empty ones are left out', () => {
    const text = `# intro\n---\n${list('a')}---\n# nothing\n---\n---\n${list('b')}...\n`;
    expect(names(text)).toEqual(['a', 'b']);
    expect(load(text).findings).toEqual([]);
    expect(load(text).objects.map(({ line }) => line)).toEqual([3, 11]);
  });

  it.each(['', '\n', '# only a comment', '---', '---\n---\n', '~', 'null\n', '\ufeff'])('may be empty: %j', (text) =>
    expect(load(text)).toEqual({ objects: [], findings: [] }),
  );

  it('may begin with a byte order mark and have lines that end with CR and LF', () => {
    expect(names(`\ufeff${list('a')}---\n${list('b')}`.replaceAll('\n', '\r\n'))).toEqual(['a', 'b']);
  });

  it('may be JSON', () => {
    const { object } = load(list('a')).objects[0]!;
    expect(load(JSON.stringify(object, null, '\t')).objects[0]?.object).toEqual(object);
  });

  it('keeps its valid documents when others are broken', () => {
    const text = `${list('a')}---\na: [\n---\n${list('b')}---\nb: "open\n---\n${list('c')}---\n- x: {\n---\n${list('d')}`;
    expect(names(text)).toEqual(['a', 'b', 'c', 'd']);
    expect(new Set(load(text).findings.map(({ code }) => code))).toEqual(new Set(['YamlSyntax']));
  });

  it('may not hold two objects of one name', () => {
    const { objects, findings } = load(`${list('a')}---\n${list('a', '{mode: Monitor}')}`);
    expect(objects).toHaveLength(1);
    expect(objects[0]?.object.spec).toMatchObject({ mode: 'Enforce' });
    expect(findings).toMatchObject([
      { code: 'DuplicateObject', line: 8, object: 'IpBlocklist/a', field: 'metadata.name' },
    ]);
  });

  it('is bounded in bytes and documents', () => {
    expect(refusals(`#${'x'.repeat(MAX_FILE_BYTES)}`)).toEqual(['1 FileTooLarge']);
    expect(refusals('---\n'.repeat(MAX_DOCUMENTS + 1))).toEqual(['1 FileTooLarge']);
    expect(refusals('---\n'.repeat(MAX_DOCUMENTS))).toEqual([]);
  });

  it('must be UTF-8 without control characters', () => {
    expect(refusals(Buffer.from([0x61, 0xff]))).toEqual(['1 YamlSyntax']);
    expect(refusals(Buffer.from('a: b', 'utf16le'))).toEqual(['1 YamlSyntax']);
    for (const bad of ['\0', '\u0007', '\u001b', '\u007f', '\u0085', '\u2028', '\ufeff', 'a\rb', '\ud800']) {
      expect(refusals(`${list('a')}---\n\n# ${bad}\n`), JSON.stringify(bad)).toEqual(['7 YamlSyntax']);
    }
    expect(refusals(`${head('a')}spec: {entries: [{cidr: 10.0.0.0/8, reason: "\\ud800"}]}`)[0]).toMatch(/YamlSyntax/);
  });
});

describe('a finding names the line, the object and the field', () => {
  it('of a bad value', () => {
    const text = `---\n${head('a')}spec:\n  entries:\n    - cidr: 10.0.0.0/8\n      reason: fine\n    - reason: bad\n      cidr: 10.0.0.1/8\n`;
    expect(load(text).findings).toEqual([
      {
        code: 'BadPrefix',
        severity: 'error',
        file: 'p.yaml',
        line: 10,
        object: 'IpBlocklist/a',
        field: 'spec.entries[1].cidr',
        message: '"10.0.0.1/8" is not in canonical form',
        remedy: 'Write 10.0.0.0/8.',
      },
    ]);
  });

  it('of a missing field, at what should hold it', () => {
    expect(refusals(`${head('a')}spec:\n  entries:\n    - cidr: ::/64\n    - reason: x\n`)).toEqual([
      '7 MissingField spec.entries[1].cidr',
    ]);
  });

  it('of several at once, in their order, also beside an ambiguous value', () => {
    const text = `${head('a', 'PortScanPolicy')}spec:\n  priority: 2000\n  mode: on\n  detection:\n    window: 1:30\n    distinctTarget: 3\n`;
    expect(refusals(text)).toEqual([
      '5 OutOfRange spec.priority',
      '6 YamlAmbiguousScalar spec.mode',
      '8 YamlAmbiguousScalar spec.detection.window',
      '9 UnknownField spec.detection.distinctTarget',
    ]);
  });

  it('through an alias, where the value stands', () => {
    const text = `${head('a')}spec:\n  except: &x\n    - cidr: 10.0.0.1/8\n  entries: *x\n`;
    expect(refusals(text)).toEqual(['6 BadPrefix spec.entries[0].cidr', '6 BadPrefix spec.except[0].cidr']);
  });
});

describe('YAML that is refused', () => {
  it.each([
    ['a duplicate key', 'a: 1\nb: 2\na: 3', '3 YamlDuplicateKey a'],
    ['a duplicate key in quotes', 'a: 1\n"a": 3', '2 YamlDuplicateKey a'],
    ['a duplicate key in flow style', 'x: {a: 1, a: 2}', '1 YamlDuplicateKey x.a'],
    ['a number as key', '1: x', '1 YamlUnsupported'],
    ['null as key', '~: x', '1 YamlUnsupported'],
    ['no key', ': x', '1 YamlUnsupported'],
    ['a list as key', '[a]: x', '1 YamlUnsupported'],
    ['a key that is ambiguous', 'on: x', '1 YamlAmbiguousScalar'],
    ['a merge key', 'a: &a {}\nb:\n  <<: *a', '3 YamlUnsupported b'],
    ['a tag of its own', 'a: !x 1', '1 YamlUnsupported a'],
    ['a tag of YAML', 'a: !!str 1', '1 YamlUnsupported a'],
    ['a tag on a list', 'a: !!set []', '1 YamlUnsupported a'],
    ['an alias without anchor', 'a: *b', '1 YamlSyntax a'],
    ['an alias to itself', 'a: &a [*a]', '1 YamlUnsupported a[0]'],
    ['a directive', '%YAML 1.1\n---\na: 1', '1 YamlUnsupported'],
    ['a value beside ---', '--- {a: 1}', '1 YamlUnsupported'],
    ['---x', 'a: 1\n---x\n', '2 YamlUnsupported'],
    ['a document after ... without ---', 'a: 1\n...\nb: 1', '3 YamlUnsupported'],
    ['a tab as indent', 'a:\n\tb: 1', '2 YamlSyntax'],
    ['a tab after a dash', 'a:\n  -\tb', '2 YamlSyntax'],
    ['an octal number', 'a: 0777', '1 YamlAmbiguousScalar a'],
  ])('%s', (_, text, expected) => expect(refusals(text)).toContain(expected));

  it('values nested too deeply, whichever way', () => {
    const nested = (depth: number) => `a: ${'['.repeat(depth)}${']'.repeat(depth)}`;
    expect(refusals(nested(64))[0]).toBe('1 MissingField kind');
    expect(refusals(nested(65))[0]).toMatch(/^1 YamlUnsupported/);
    for (const part of ['[', '{a: ', '- ', '? ']) expect(refusals(part.repeat(50_000))[0]).toMatch(/^1 Yaml/);
  });

  it('aliases that stand for very much', () => {
    const laughs = ['a: &a [x,x,x,x,x,x,x,x,x]'];
    for (const [from, to] of ['ab', 'bc', 'cd', 'de', 'ef', 'fg', 'gh']) {
      laughs.push(`${to}: &${to} [${`*${from},`.repeat(9)}]`);
    }
    expect(refusals(laughs.join('\n')).some((text) => text.includes('YamlUnsupported'))).toBe(true);
    const wide = `a: &a [${'x,'.repeat(5000)}]\nb: [*a, *a, *a]`;
    expect(refusals(wide)[0]).toMatch(/YamlUnsupported/);
  });
});

describe('YAML that is taken', () => {
  it('may hold tabs between a key and its value, and before a comment', () => {
    expect(load(list('a').replace('kind: ', 'kind:\t').replace('\n', '\t# x\n')).findings).toEqual([]);
  });

  it('shares a selector by an alias', () => {
    const text = `${head('a')}spec:\n  entries: &e\n    - cidr: 10.0.0.0/8\n  except: *e\n`;
    const { objects, findings } = load(text);
    expect(findings).toEqual([]);
    expect(objects[0]?.object.spec).toMatchObject({ except: [{ cidr: '10.0.0.0/8' }] });
  });

  it('reads dates without quotes as text', () => {
    const { objects, findings } = load(list('a', '{entries: [{cidr: "::/64", expiresAt: 2030-01-01T00:00:00Z}]}'));
    expect(findings).toEqual([]);
    expect(objects[0]?.object.spec).toMatchObject({ entries: [{ expiresAt: '2030-01-01T00:00:00Z' }] });
  });

  it('takes quoted text that would be ambiguous without quotes', () => {
    const spec = '{nodeSelector: {matchLabels: {a: "yes", b: \'0777\'}}}';
    expect(load(list('a', spec)).objects[0]?.object.spec).toMatchObject({
      nodeSelector: { matchLabels: { a: 'yes', b: '0777' } },
    });
  });

  it('never sets a prototype', () => {
    const { findings } = load(`${head('a')}spec:\n  __proto__: {mode: Monitor}\n`);
    expect(findings).toMatchObject([{ code: 'UnknownField', field: 'spec.__proto__' }]);
    expect(({} as { mode?: string }).mode).toBeUndefined();
  });

  it('reads every example', () => {
    const folder = new URL('../../examples/', import.meta.url);
    const files = readdirSync(folder).filter((file) => file.endsWith('.yaml'));
    expect(files.length).toBeGreaterThan(1);
    for (const file of files) {
      const { objects, findings } = load(readFileSync(new URL(file, folder)));
      expect(findings, file).toEqual([]);
      expect(objects.length, file).toBeGreaterThan(0);
    }
  });
});
