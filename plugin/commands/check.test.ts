import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { check } from './check.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pc-plugin-check-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const policy = (name: string, more = '') => `apiVersion: portcullis.dev/v1alpha1
kind: PortScanPolicy
metadata:
  name: ${name}
spec:
  mode: Enforce
${more}`;

async function checked(paths: readonly string[], { input = '', output = 'text' as 'text' | 'json' } = {}) {
  let stdout = '';
  const io = {
    stdout: (text: string) => {
      stdout += text;
    },
    stderr: () => {},
    stdin: async () => Buffer.from(input),
  };
  return { code: await check({ io }, { paths, output }), stdout };
}

test('accepts files, directories and standard input', async () => {
  const file = join(folder, 'a.yaml');
  await writeFile(file, policy('a'));
  expect(await checked([file])).toEqual({ code: 0, stdout: '1 valid object, 0 errors, 0 warnings\n' });
  expect((await checked([folder])).stdout).toContain('1 valid object');
  expect((await checked([file, '-'], { input: policy('b') })).stdout).toContain('2 valid objects');
});

test('names file, line, object, field and remedy of what is wrong, and ends with 1', async () => {
  const { code, stdout } = await checked(['-'], { input: policy('a', '  priorty: 3\n') });
  expect(code).toBe(1);
  expect(stdout).toMatch(/^-:7: error UnknownField PortScanPolicy\/a spec\.priorty: .*priority/);
});

test('policies of equal rank are no matter of files here: in a cluster the oldest governs', async () => {
  await writeFile(join(folder, 'a.yaml'), policy('a'));
  await writeFile(join(folder, 'b.yaml'), policy('b'));
  expect((await checked([folder])).stdout).toBe('2 valid objects, 0 errors, 0 warnings\n');
});

test('an object that stands in two files is told once', async () => {
  await writeFile(join(folder, 'a.yaml'), policy('a'));
  await writeFile(join(folder, 'b.yaml'), policy('a'));
  for (const paths of [[folder], [join(folder, 'a.yaml'), join(folder, 'b.yaml')]]) {
    expect(JSON.parse((await checked(paths, { output: 'json' })).stdout)).toMatchObject({
      errors: 1,
      findings: [{ code: 'DuplicateObject' }],
      refusedByServer: null,
    });
  }
});

test.each([['missing.yaml'], ['/dev/zero']])('%s cannot be read, which is an error and no crash', async (path) => {
  const { code, stdout } = await checked([path]);
  expect(code).toBe(1);
  expect(stdout).toContain('FileUnreadable');
});
