import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { check, checkDirectory } from './check.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'portcullis-check-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const put = (file: string, text: string) => writeFileSync(join(directory, file), text);
const object = (kind: string, name: string, spec = '{mode: Enforce}') =>
  `apiVersion: portcullis.dev/v1alpha1\nkind: ${kind}\nmetadata:\n  name: ${name}\nspec: ${spec}\n`;
async function run(output: 'text' | 'json' = 'text'): Promise<{ code: number; text: string }> {
  let text = '';
  const code = await check({ directory, output }, { stdout: (part) => (text += part) });
  return { code, text };
}
const findings = async () =>
  (await checkDirectory(directory)).findings.map(({ file, line, severity, code, object }) =>
    [`${file.slice(directory.length + 1)}:${line}`, severity, code, object].filter(Boolean).join(' '),
  );

describe('check', () => {
  it('finds nothing wrong with valid files', async () => {
    put('a.yaml', object('PortScanPolicy', 'a'));
    put('b.yml', object('IpBlocklist', 'b'));
    expect(await run()).toEqual({ code: 0, text: '2 files, 2 valid objects, 0 errors, 0 warnings\n' });
  });

  it('prints file, line, severity, code, object, field, message and remedy, and fails', async () => {
    put('a.yaml', object('IpBlocklist', 'a', '\n  entries:\n    - cidr: 10.0.0.1/8'));
    const { code, text } = await run();
    expect(code).toBe(1);
    expect(text.split('\n')[0]).toBe(
      `${directory}/a.yaml:7: error BadPrefix IpBlocklist/a spec.entries[0].cidr: "10.0.0.1/8" is not in canonical form — Write 10.0.0.0/8.`,
    );
  });

  it('prints the same as JSON', async () => {
    put('a.yaml', `${object('IpBlocklist', 'a', '{mode: x}')}---\n${object('IpBlocklist', 'b')}`);
    const { code, text } = await run('json');
    expect(code).toBe(1);
    expect(JSON.parse(text)).toMatchObject({
      files: 1,
      objects: [{ kind: 'IpBlocklist', name: 'b', line: 7 }],
      errors: 1,
      warnings: 0,
      findings: [{ code: 'NotAllowedValue', field: 'spec.mode', line: 5 }],
    });
  });

  it('never prints a control character that stands in a file or its name', async () => {
    put('a\u001b[31m.yaml', object('IpBlocklist', 'a', '{entries: [{cidr: "\\e[2J\\u202e"}], "\\a": 1}'));
    const { text } = await run();
    expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(text).toContain('\\u001b');
  });

  it('refuses an object that an earlier file has', async () => {
    put('b.yaml', object('IpBlocklist', 'a'));
    put('a.yaml', `${object('IpBlocklist', 'a')}---\n${object('PortScanPolicy', 'a')}`);
    expect(await findings()).toEqual(['b.yaml:1 error DuplicateObject IpBlocklist/a']);
  });

  it('warns where the name alone decides between two policies, and names the one that governs', async () => {
    const spec = (extra: string) => `{mode: Enforce, interfaces: {names: [eth0, eth1]}, ${extra}}`;
    put('a.yaml', object('PortScanPolicy', 'b', spec('priority: 7')));
    put(
      'b.yaml',
      object('PortScanPolicy', 'a', '{mode: Monitor, priority: 7, interfaces: {names: [eth1, eth0], roles: []}}'),
    );
    put('c.yaml', object('PortScanPolicy', 'c', spec('priority: 8')));
    put('d.yaml', object('PortScanPolicy', 'd', spec('priority: 7, nodeSelector: {matchLabels: {a: b}}')));
    const result = await checkDirectory(directory);
    expect(result.findings).toHaveLength(1);
    expect(result.findings[0]).toMatchObject({
      code: 'PolicyTieByName',
      severity: 'warning',
      object: 'PortScanPolicy/b',
    });
    expect(result.findings[0]?.message).toContain('PortScanPolicy/a');
    expect((await run()).code).toBe(0);
  });

  it('takes exceptions, and warns of ConfigMaps, which only a cluster has', async () => {
    put('a.yaml', object('SourceException', 'a', '{source: 192.0.2.7/32, expiresAt: "2030-01-01T00:00:00Z"}'));
    put('b.yaml', object('IpBlocklist', 'b', '{configMapRefs: [{name: feed, key: all}]}'));
    expect(await findings()).toEqual(['b.yaml:1 warning NeedsCluster IpBlocklist/b']);
    expect((await run()).code).toBe(0);
  });

  it('leaves hidden and other files out', async () => {
    put('.hidden.yaml', 'a: [');
    put('notes.txt', 'a: [');
    put('a.yaml~', 'a: [');
    expect((await run()).text).toBe('0 files, 0 valid objects, 0 errors, 0 warnings\n');
  });

  it('goes on after a file that cannot be read', async () => {
    symlinkSync('/nowhere', join(directory, 'a.yaml'));
    symlinkSync('/dev/zero', join(directory, 'b.yaml'));
    symlinkSync('/', join(directory, 'c.yaml'));
    put('d.yaml', object('IpBlocklist', 'd'));
    const { objects } = await checkDirectory(directory);
    expect(objects.map(({ name }) => name)).toEqual(['d']);
    expect(await findings()).toEqual(['a', 'b', 'c'].map((name) => `${name}.yaml:1 error FileUnreadable`));
  });

  it('fails for a directory that cannot be read', async () => {
    const result = await checkDirectory(join(directory, 'none'));
    expect(result.findings).toMatchObject([{ code: 'DirectoryUnreadable', severity: 'error' }]);
  });
});
