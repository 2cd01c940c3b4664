import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { nodePath, run } from '../test/support/command.ts';

const bin = join(import.meta.dirname, '..', 'bin');
// Node.js that takes itself for an older one; what it starts does not.
const pretendOld = `data:text/javascript,${encodeURIComponent(
  `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.19.1' } });
   process.getBuiltinModule('module').syncBuiltinESMExports();`,
)}`;
const tellArguments =
  'console.log(process.versions.node.split(".")[0] >= 22, ...process.argv.slice(2)); process.exitCode = 7;';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** An installed package, and a folder on the PATH that links to its programs; returns the latter. */
function install(bundle: string | undefined): string {
  const root = mkdtempSync(join(tmpdir(), 'pc-test-plugin-'));
  folders.push(root);
  for (const folder of ['bin', 'dist', 'path', 'node_modules/.bin']) mkdirSync(join(root, folder), { recursive: true });
  for (const name of ['launch.mjs', 'kubectl-portcullis.mjs', 'kubectl_complete-portcullis'])
    copyFileSync(join(bin, name), join(root, 'bin', name));
  writeFileSync(join(root, 'package.json'), JSON.stringify({ engines: { node: '>=22.19' } }));
  if (bundle !== undefined) writeFileSync(join(root, 'dist', 'kubectl-portcullis.mjs'), bundle);
  symlinkSync(nodePath, join(root, 'node_modules', '.bin', 'node'));
  symlinkSync(join(root, 'bin', 'kubectl-portcullis.mjs'), join(root, 'path', 'kubectl-portcullis'));
  symlinkSync(join(root, 'bin', 'kubectl_complete-portcullis'), join(root, 'path', 'kubectl_complete-portcullis'));
  return join(root, 'path');
}

test.each([
  ['a Node.js that is new enough', [nodePath]],
  ['one that is too old, by way of the one in node_modules', [nodePath, '--import', pretendOld]],
])('runs the plugin by a link on the PATH, under %s', async (_, node) => {
  const path = install(tellArguments);
  const result = await run([...node, join(path, 'kubectl-portcullis'), 'blocked', '-o', 'wide'], {
    allowFailure: true,
  });
  expect(result).toMatchObject({ code: 7, stdout: 'true blocked -o wide\n' });
});

test('what kubectl asks for words hands the question on', async () => {
  const path = install(tellArguments);
  const env = { PATH: `${path}:${join(path, '..', 'node_modules', '.bin')}:${process.env.PATH}` };
  const result = await run([join(path, 'kubectl_complete-portcullis'), 'blocked', ''], { env, allowFailure: true });
  expect(result).toMatchObject({ code: 7, stdout: 'true __complete blocked \n' });
});

test('says what to do when the plugin is not built', async () => {
  const result = await run([nodePath, join(install(undefined), 'kubectl-portcullis')], { allowFailure: true });
  expect(result.code).toBe(3);
  expect(result.stderr).toMatch(/dist\/kubectl-portcullis\.mjs is missing: run `make build`/);
});
