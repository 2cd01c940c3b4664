import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';

/** A Go that can build the modules here. */
export interface Go {
  readonly program: string;
  readonly env: NodeJS.ProcessEnv;
}

/** What the modules ask for in their go.mod. */
const wantedMinor = 26;
/** The first Go that fetches a newer one for itself. */
const firstWithToolchains = 21;

/**
 * Finds a Go and the environment to run it in. Go's own caches stay where they are, unless they cannot be written: then
 * `cacheFolder` gets them.
 * @throws Error when this machine has none that could build
 */
export function findGo(env: NodeJS.ProcessEnv, cacheFolder: string): Go {
  const goEnv: NodeJS.ProcessEnv = { ...env, CGO_ENABLED: '0', GOWORK: 'off', GOOS: 'linux' };
  const found = candidates().map((program) => ({ program, minor: minorVersion(program, goEnv) }));
  const usable = found.find(({ minor }) => minor >= firstWithToolchains);
  if (usable === undefined) {
    const tooOld = found.filter(({ minor }) => minor >= 0).map(({ minor }) => `1.${minor}`);
    throw new Error(
      `${tooOld.length > 0 ? `Go ${tooOld.join(', ')} is too old` : 'this machine has no Go'}: install Go 1.${wantedMinor} ` +
        'or newer (https://go.dev/dl/), or point KUBEBUILDER_ASSETS at etcd, kube-apiserver and kubectl',
    );
  }
  const { program, minor } = usable;
  // Distributions may forbid Go to fetch a newer one. The alternative here is not to build at all.
  if (minor < wantedMinor) goEnv.GOTOOLCHAIN ??= 'auto';
  for (const name of ['GOCACHE', 'GOMODCACHE'] as const) {
    if (!isWritable(output(program, ['env', name], goEnv) ?? '')) goEnv[name] = join(cacheFolder, name.toLowerCase());
  }
  return { program, env: goEnv };
}

/**
 * Builds programs of the module in `moduleFolder` and shows what Go writes.
 * @throws Error when Go ends with anything but 0
 */
export async function goBuild({ program, env }: Go, moduleFolder: string, args: readonly string[]): Promise<void> {
  // go.mod and go.sum are complete: a build that would change them is a mistake.
  const argv = ['build', '-mod=readonly', ...args];
  // A build whose test run was killed must not go on for minutes beside the next one.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...argv], {
    cwd: moduleFolder,
    env,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [code, signal] = await once(child, 'close');
  if (code !== 0) throw new Error(`go ${argv.join(' ')} in ${moduleFolder} ended with ${signal ?? code}`);
}

/** The one on the path, the one that Go's own archive brings, then what Debian keeps besides its default, newest first. */
function candidates(): readonly string[] {
  const versions = existsSync('/usr/lib') ? readdirSync('/usr/lib').filter((name) => /^go-1\.\d+$/.test(name)) : [];
  const newestFirst = versions.toSorted((a, b) => Number(b.slice(5)) - Number(a.slice(5)));
  return ['go', '/usr/local/go/bin/go', ...newestFirst.map((name) => join('/usr/lib', name, 'bin', 'go'))];
}

/** NN of 1.NN, -1 when there is no such program. */
function minorVersion(program: string, env: NodeJS.ProcessEnv): number {
  const version = /^go1\.(\d+)/.exec(output(program, ['env', 'GOVERSION'], env) ?? '');
  return version ? Number(version[1]) : -1;
}

/** Undefined when it cannot be run, or refuses: without a home it names no cache. */
function output(program: string, args: readonly string[], env: NodeJS.ProcessEnv): string | undefined {
  const { error, status, stdout } = spawnSync(program, args, { env, encoding: 'utf8' });
  return error || status !== 0 ? undefined : stdout.trim();
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
