import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { nodePath, RunningCommand, run } from '../test/support/command.ts';
import { waitFor } from '../test/support/wait-for.ts';

const bin = join(import.meta.dirname, '..', 'bin');
/** How each program ends when it cannot be started. */
const programs = [
  { program: 'portcullis-agent', bundle: 'agent.mjs', refusalCode: 1 },
  { program: 'portcullis-operator', bundle: 'operator.mjs', refusalCode: 1 },
  { program: 'kubectl-portcullis', bundle: 'kubectl-portcullis.mjs', refusalCode: 3 },
];
// Node.js that takes itself for an older one; what it starts does not.
const pretendOld = `data:text/javascript,${encodeURIComponent(
  `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.19.1' } });
   process.getBuiltinModule('module').syncBuiltinESMExports();`,
)}`;
const oldNode = [nodePath, '--import', pretendOld];

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

const tellArguments =
  'console.log(process.versions.node.split(".")[0] >= 22, ...process.argv.slice(2)); process.exitCode = 7;';

interface Installation {
  readonly engines?: string;
  readonly withNode?: boolean;
}

describe.each(programs)('the launcher of $program', ({ program, bundle, refusalCode }) => {
  /** An installed package whose bundle is `code`; returns the path of its launcher. */
  function install(code: string | undefined, { engines = '>=22.19', withNode = true }: Installation = {}): string {
    const root = mkdtempSync(join(tmpdir(), 'pc-test-launcher-'));
    folders.push(root);
    for (const folder of ['bin', 'dist', 'node_modules/.bin']) mkdirSync(join(root, folder), { recursive: true });
    for (const file of ['launch.mjs', `${program}.mjs`]) copyFileSync(join(bin, file), join(root, 'bin', file));
    writeFileSync(join(root, 'package.json'), JSON.stringify({ engines: { node: engines } }));
    if (code !== undefined) writeFileSync(join(root, 'dist', bundle), code);
    if (withNode) symlinkSync(nodePath, join(root, 'node_modules', '.bin', 'node'));
    return join(root, 'bin', `${program}.mjs`);
  }

  it.each([
    ['a Node.js that is new enough', [nodePath]],
    ['one that is too old, by way of the one in node_modules', oldNode],
  ])('runs it with its arguments and exit code, under %s', async (_, node) => {
    const result = await run([...node, install(tellArguments), 'block', '192.0.2.1'], { allowFailure: true });
    expect(result).toMatchObject({ code: 7, stdout: 'true block 192.0.2.1\n' });
  });

  it('passes signals on to a program that it had to start anew', async () => {
    const code = 'process.on("SIGTERM", () => process.exit(42)); console.log("ready"); setInterval(() => {}, 1000);';
    const command = new RunningCommand([...oldNode, install(code)]);
    await waitFor(() => command.stdout.includes('ready'), 10_000);
    process.kill(command.pid!, 'SIGTERM');
    expect(await command.ended).toMatchObject({ code: 42 });
  });

  it.each([
    ['it is not built', install.bind(null, undefined), [nodePath], /dist\/[a-z-]+\.mjs is missing: run `make build`/],
    [
      'Node.js is too old and there is no other',
      install.bind(null, '', { withNode: false }),
      oldNode,
      /20\.19\.1 .* too old: install 22\.19/,
    ],
    [
      'the other Node.js is too old as well',
      install.bind(null, '', { engines: '>=99' }),
      oldNode,
      /too old: install 99/,
    ],
  ])('says what to do when %s', async (_, installed, node, message) => {
    const result = await run([...node, installed()], { allowFailure: true });
    expect(result.code).toBe(refusalCode);
    expect(result.stderr).toMatch(new RegExp(`^${program}: `));
    expect(result.stderr).toMatch(message);
  });

  it('is found through a link, as kubectl finds its plugins', async () => {
    const path = install(tellArguments);
    const link = join(path, '..', '..', 'dist', 'linked');
    symlinkSync(path, link);
    for (const node of [[nodePath], oldNode]) {
      const result = await run([...node, link, 'run'], { allowFailure: true });
      expect(result).toMatchObject({ code: 7, stdout: 'true run\n' });
    }
  });
});
