import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nodePath, run } from '../../support/command.ts';
import { waitFor } from '../../support/wait-for.ts';
import { type Binaries, ControlPlaneUnavailable, controlPlaneBinaries } from './build.ts';

const script = join(import.meta.dirname, 'build.ts');
let folder: string;
let env: Record<string, string>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pc-build-'));
  mkdirSync(join(folder, 'bin'));
  env = {
    PATH: `${join(folder, 'bin')}:${process.env.PATH}`,
    HOME: folder,
    PORTCULLIS_CACHE: join(folder, 'cache'),
    STARTED: join(folder, 'started'),
    GO_ON: join(folder, 'go-on'),
  };
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A program `go` that says it is of this version, and whose builds do what `build` says in sh; `$out` is what to write. */
function haveGo(build: string, version = 'go1.26.0'): void {
  const file = join(folder, 'bin', 'go');
  const text = `#!/bin/sh
if [ "$1" = env ]; then
  case "$2" in
    GOVERSION) echo ${version} ;;
    *) echo "$HOME/$2" ;;
  esac
  exit 0
fi
while [ "$1" != -o ]; do shift; done
out=$2
mkdir -p "$(dirname "$out")"
echo "$out" >> "$STARTED"
${build}
`;
  writeFileSync(file, text);
  chmodSync(file, 0o755);
}

const succeed = 'echo built > "$out"; chmod +x "$out"';
const silent = () => {};
const started = () => (existsSync(env.STARTED!) ? readFileSync(env.STARTED!, 'utf8').trim().split('\n') : []);

describe('the programs of a control plane', () => {
  test('are taken from KUBEBUILDER_ASSETS, and what is missing there is named', async () => {
    const assets = join(folder, 'assets');
    mkdirSync(assets);
    writeFileSync(join(assets, 'etcd'), '', { mode: 0o755 });
    writeFileSync(join(assets, 'kubectl'), '', { mode: 0o755 });
    const given = { ...env, KUBEBUILDER_ASSETS: assets };
    const missing = await controlPlaneBinaries(given, silent).catch((error: unknown) => error);
    expect(missing).toBeInstanceOf(ControlPlaneUnavailable);
    expect((missing as Error).message).toMatch(/has no program kube-apiserver:/);
    writeFileSync(join(assets, 'kube-apiserver'), '', { mode: 0o755 });
    // Without a controller manager, which envtest's archives do not have.
    expect(await controlPlaneBinaries(given, silent)).toEqual({
      etcd: join(assets, 'etcd'),
      kubeApiserver: join(assets, 'kube-apiserver'),
      kubectl: join(assets, 'kubectl'),
    });
  });

  test('are built once, and found after that without Go', async () => {
    haveGo(succeed);
    const said: string[] = [];
    const built = await controlPlaneBinaries(env, (sentence) => said.push(sentence));
    expect(said.join('\n')).toContain('some minutes, once');
    expect(readFileSync(built.kubeApiserver, 'utf8')).toBe('built\n');
    expect(started()).toHaveLength(4);
    haveGo('exit 1', 'go1.2');
    expect(await controlPlaneBinaries(env, silent)).toEqual(built);
  });

  test('are built by one of two runs that ask at a time', async () => {
    haveGo(`sleep 0.2; ${succeed}`);
    const ask = async () => JSON.parse((await run([nodePath, script], { env })).stdout) as Binaries;
    const [one, other] = await Promise.all([ask(), ask()]);
    expect(one).toEqual(other);
    expect(started()).toHaveLength(4);
  });

  test('are built by the next run when one was killed in the middle', async () => {
    haveGo(`while [ ! -e "$GO_ON" ]; do sleep 0.1; done; ${succeed}`);
    const killed = spawn(nodePath, [script], { env, stdio: 'ignore' });
    const exit = once(killed, 'exit');
    await waitFor(() => started().length === 1, 20_000, { what: 'the build' });
    killed.kill('SIGKILL');
    await exit;
    writeFileSync(env.GO_ON!, '');
    const { etcd } = await controlPlaneBinaries(env, silent);
    expect(readFileSync(etcd, 'utf8')).toBe('built\n');
  });

  test('are not taken for built when a build failed', async () => {
    haveGo(`case "$out" in *kubectl) exit 3 ;; esac; ${succeed}`);
    await expect(controlPlaneBinaries(env, silent)).rejects.toThrow(
      /no control plane could be built: go build .* ended with 3/,
    );
    expect(readdirSync(env.PORTCULLIS_CACHE!).filter((name) => /-[0-9a-f]{16}$/.test(name))).toEqual([]);
    haveGo(succeed);
    expect(existsSync((await controlPlaneBinaries(env, silent)).kubectl)).toBe(true);
  });
});
