import { describe, expect, it } from 'vitest';
import { combine, type FileState, reloaded } from './last-good.ts';
import { loadPolicyFile } from './yaml-documents.ts';

const list = (name: string, cidr: string) =>
  [
    'apiVersion: portcullis.dev/v1alpha1',
    'kind: IpBlocklist',
    'metadata:',
    `  name: ${name}`,
    'spec:',
    '  entries:',
    `    - cidr: ${cidr}`,
  ].join('\n');
const documents = (...texts: string[]) => texts.join('\n---\n');
const load = (path: string, text: string, previous?: FileState) => reloaded(previous, path, loadPolicyFile(path, text));
const inForce = (...files: FileState[]) =>
  combine(files, []).ipBlocklists.map(({ metadata, spec }) => `${metadata.name} ${spec.entries[0]?.cidr}`);
const findingsOf = (...files: FileState[]) =>
  combine(files, []).findings.map(({ code, object }) => `${code} ${object ?? ''}`.trim());

describe('last good objects', () => {
  const good = load('a.yaml', documents(list('one', '192.0.2.1/32'), list('two', '192.0.2.2/32')));

  it('stand in for an object that is invalid now, while its neighbours change', () => {
    const bad = load('a.yaml', documents(list('one', '192.0.2.1/33'), list('two', '192.0.2.9/32')), good);
    expect(inForce(bad)).toEqual(['two 192.0.2.9/32', 'one 192.0.2.1/32']);
    const { findings } = combine([bad], []);
    expect(findings.map(({ code }) => code)).toEqual(['BadPrefix', 'LastGoodKept']);
    expect(findings[1]).toMatchObject({ severity: 'warning', object: 'IpBlocklist/one', line: 7 });
    expect(findings[1]!.message).toMatch(
      /^IpBlocklist\/one stays in force as it last was, because of a\.yaml:7: BadPrefix spec\.entries\[0\]\.cidr: .*192\.0\.2\.1\/33/,
    );
  });

  it('stand in for every object of a file that is no YAML', () => {
    const bad = load('a.yaml', 'spec: [', good);
    expect(inForce(bad)).toEqual(['one 192.0.2.1/32', 'two 192.0.2.2/32']);
    expect(findingsOf(bad)).toEqual(['YamlSyntax', 'LastGoodKept IpBlocklist/one', 'LastGoodKept IpBlocklist/two']);
  });

  it('are kept through several bad versions, and go when the file is sound without them', () => {
    const worse = load('a.yaml', '%', load('a.yaml', 'spec: [', good));
    expect(inForce(worse)).toHaveLength(2);
    const sound = load('a.yaml', list('two', '192.0.2.3/32'), worse);
    expect(inForce(sound)).toEqual(['two 192.0.2.3/32']);
    expect(findingsOf(sound)).toEqual([]);
  });

  it('stay where an object is missing from a file in which anything is wrong', () => {
    const bad = load('a.yaml', documents(list('one', '192.0.2.1/32'), list('Two', '192.0.2.2/32')), good);
    expect(inForce(bad)).toEqual(['one 192.0.2.1/32', 'two 192.0.2.2/32']);
  });

  it('yield to a valid object of the same name in any other file', () => {
    const bad = load('a.yaml', 'spec: [', good);
    const moved = load('b.yaml', list('one', '198.51.100.1/32'));
    expect(inForce(bad, moved)).toEqual(['one 198.51.100.1/32', 'two 192.0.2.2/32']);
    expect(findingsOf(bad, moved)).toEqual(['YamlSyntax', 'LastGoodKept IpBlocklist/two']);
  });
});

describe('the same object in two files', () => {
  it('is that of the first file; the other is refused and named with its place', () => {
    const first = load('a.yaml', list('one', '192.0.2.1/32'));
    const second = load('b.yaml', documents(list('two', '192.0.2.2/32'), list('one', '192.0.2.9/32')));
    expect(inForce(first, second)).toEqual(['one 192.0.2.1/32', 'two 192.0.2.2/32']);
    expect(combine([first, second], []).findings).toEqual([
      expect.objectContaining({
        code: 'DuplicateObject',
        severity: 'error',
        object: 'IpBlocklist/one',
        field: 'metadata.name',
        file: 'b.yaml',
        line: 9,
        message: 'IpBlocklist/one stands in a.yaml:1 already; that of b.yaml:9 is left out',
      }),
    ]);
  });
});
