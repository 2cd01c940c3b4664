import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readYaml } from './yaml-reader.ts';
import { readSimple } from './yaml-simple.ts';

const full = (text: string) => readYaml(text, { fullParserOnly: true })[0];

describe('the plain style is read', () => {
  it.each([
    ['mappings and scalars', 'a: 1\nb: x y\nc:\n  d: true\n  e: null\nf:\n'],
    ['lists below and beside their key', 'a:\n  - 1\n  - x\nb:\n- 2\n-\n- c: 3\n  d: 4\n-   e: 5\n    f: 6\n'],
    ['lists in lists', 'a:\n  - - 1\n    - 2\n  -\n    - 3\n'],
    ['quotes', 'a: "x: # y"\nb: \'0777\' # octal\nc: ""\n'],
    ['comments', '# a\na: 1 # b\n  # c\n\nb: x#y\nc: # d\n  - 1\n'],
    ['flow collections', 'a: {b: 1, c: "x, y", d: 2001:db8::/32}\ne: [x, "y", 3 ] # f\ng: {}\nh: []\n'],
    ['prefixes and times', 'a: 2001:db8::/32\nb: 2030-01-01T00:00:00Z\nc: 10.0.0.0/8\n'],
    ['a marker before it, and lines that end with CR and LF', '--- # x\r\na: 1\r\nb:\r\n  - c\r\n'],
  ])('%s', (_, text) => {
    expect(readSimple(text)).toBeDefined();
    expect(readSimple(text)?.value).toEqual(full(text)?.value);
    expect(full(text)?.problems).toEqual([]);
  });

  it('in every example', () => {
    const folder = new URL('../../examples/', import.meta.url);
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.yaml'))) {
      const text = readFileSync(new URL(file, folder), 'utf8');
      for (const part of text.split(/^---$/m)) expect(readSimple(part)?.value, file).toEqual(full(part)?.value);
    }
  });

  it('in a list of 10,000 entries, whichever way they are written', () => {
    const entries = (make: (i: number) => string) =>
      `spec:\n  entries:\n${Array.from({ length: 10_000 }, (_, i) => make(i)).join('')}`;
    const forms = [
      (i: number) =>
        `    - cidr: 10.${i >> 8}.${i & 255}.0/24\n      reason: "no ${i}"\n      expiresAt: 2030-01-01T00:00:00Z\n`,
      (i: number) => `  - {cidr: 2001:db8:${i.toString(16)}::/48, reason: 'no ${i}'}\n`,
    ];
    for (const form of forms) expect(readSimple(entries(form))?.value).toHaveProperty('spec.entries.length', 10_000);
  });
});

describe('the full parser decides about', () => {
  it.each([
    ['nothing', ''],
    ['a value over several lines', 'a: x\n  y\n'],
    ['a quoted value over several lines', 'a: "x\n  y"\n'],
    ['a text block', 'a: |\n  x\n'],
    ['escapes', "a: \"\\n\"\nb: 'it''s'\n"],
    ['anchors and aliases', 'a: &x 1\n'],
    ['tags', 'a: !!str 1\n'],
    ['duplicate keys', 'a: 1\na: 2\n'],
    ['duplicate keys in flow style', 'a: {b: 1, b: 2}\n'],
    ['ambiguous values', 'a: yes\n'],
    ['ambiguous keys', 'on: 1\n'],
    ['keys in quotes', '"a": 1\n'],
    ['keys that are no words', '1: 2\n'],
    ['the key __proto__', '__proto__: 1\n'],
    ['tabs', 'a:\t1\n'],
    ['wrong indentation', 'a:\n    b: 1\n  c: 2\n'],
    ['a deeper line after a value', 'a: 1\n  b: 2\n'],
    ['a list beside a mapping', 'a: 1\n- 2\n'],
    ['a colon in a value', 'a: b: c\n'],
    ['a value that begins with a sign', 'a: -1\nb: "x" y\n'],
    ['a flow collection over several lines', 'a: [1,\n  2]\n'],
    ['flow collections in flow collections', 'a: [[1]]\n'],
    ['a comma before the end', 'a: [1,]\n'],
    ['something after a flow collection', 'a: [1] x\n'],
    ['the end of a document', 'a: 1\n...\n'],
    ['a key longer than YAML allows', `${'a'.repeat(2000)}: 1\n`],
    ['very deep nesting', Array.from({ length: 100 }, (_, i) => `${' '.repeat(i)}a:\n`).join('')],
  ])('%s', (_, text) => expect(readSimple(text)).toBeUndefined());
});
