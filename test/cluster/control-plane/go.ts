import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdirSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';

/** What the modules here ask for in their go.mod. */
const wantedMinor = 26;
/** The first Go that can fetch a newer one for itself. */
const firstWithToolchains = 21;

const howToGet = `install Go 1.${wantedMinor} or newer (https://go.dev/dl/), or point KUBEBUILDER_ASSETS at etcd, kube-apiserver and kubectl`;

/**
 * The environment to run Go's `build` in. Go's own caches stay where they are, unless they cannot be written: then `cacheFolder`
 * gets them.
 * @throws Error when this machine has no Go that could build
 */
export function goEnvironment(env: NodeJS.ProcessEnv, cacheFolder: string): NodeJS.ProcessEnv {
  const result: NodeJS.ProcessEnv = { ...env, CGO_ENABLED: '0', GOWORK: 'off', GOOS: 'linux' };
  const version = goOutput(result, 'env', 'GOVERSION');
  const minor = Number(/^go1\.(\d+)/.exec(version)?.[1] ?? Number.NaN);
  if (!(minor >= firstWithToolchains)) throw new Error(`${version || 'this Go'} is too old: ${howToGet}`);
  // Distributions may forbid Go to fetch a newer one. The alternative here is not to build at all.
  if (minor < wantedMinor) result.GOTOOLCHAIN ??= 'auto';
  for (const name of ['GOCACHE', 'GOMODCACHE'] as const) {
    if (!isWritable(goOutput(result, 'env', name))) result[name] = join(cacheFolder, name.toLowerCase());
  }
  return result;
}

/**
 * Builds programs of the module in `moduleFolder` and shows what Go writes.
 * @throws Error when Go ends with anything but 0
 */
export async function goBuild(moduleFolder: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  // go.mod and go.sum are complete: a build that would change them is a mistake.
  const argv = ['build', '-mod=readonly', ...args];
  // A build whose test run was killed must not go on for minutes beside the next one.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'go', ...argv], {
    cwd: moduleFolder,
    env,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [code, signal] = await once(child, 'close');
  if (code !== 0) throw new Error(`go ${argv.join(' ')} in ${moduleFolder} ended with ${signal ?? code}`);
}

function goOutput(env: NodeJS.ProcessEnv, ...args: readonly string[]): string {
  const { error, status, stdout } = spawnSync('go', args, { env, encoding: 'utf8' });
  if (error) throw new Error(`go cannot be run (${error.message}): ${howToGet}`);
  // Without a home Go refuses to name a cache; an empty answer is replaced by the caller.
  return status === 0 ? stdout.trim() : '';
}

function isWritable(folder: string): boolean {
  if (!isAbsolute(folder)) return false;
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
