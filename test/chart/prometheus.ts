// Prometheus and promtool: this machine's own, or those of Debian's package, unpacked once. Run by itself it prints where they are.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../cluster/control-plane/go-programs.ts';
import { isExecutable } from '../support/is-executable.ts';

/** Absolute paths. */
export interface PrometheusBinaries {
  readonly prometheus: string;
  readonly promtool: string;
}

/** This machine cannot have them; the message says why and what helps. */
export class PrometheusUnavailable extends Error {
  override readonly name = 'PrometheusUnavailable';
}

const help = 'install Prometheus so that prometheus and promtool are in the PATH';

/**
 * Finds them, or downloads and unpacks Debian's package below the cache folder. It is not installed, since it would start a service;
 * so no root is needed either. apt works with lists of its own, and checks signatures as always.
 * @throws PrometheusUnavailable
 */
export function prometheusBinaries(env: NodeJS.ProcessEnv = process.env): PrometheusBinaries {
  const own = found((env.PATH ?? '').split(':'));
  if (own !== undefined) return own;
  const folder = join(cacheFolder(env), `prometheus-${distribution()}-${process.arch}`);
  return found([join(folder, 'usr/bin')]) ?? unpacked(folder);
}

function found(folders: readonly string[]): PrometheusBinaries | undefined {
  const folder = folders.find((each) => ['prometheus', 'promtool'].every((name) => isExecutable(join(each, name))));
  return folder === undefined
    ? undefined
    : { prometheus: join(folder, 'prometheus'), promtool: join(folder, 'promtool') };
}

function unpacked(folder: string): PrometheusBinaries {
  // Several test files may come here at a time: each unpacks for itself, and the first one stays.
  const partial = `${folder}.${process.pid}.partial`;
  process.stderr.write(`prometheus: unpacking Debian's package into ${folder}, once\n`);
  try {
    const lists = join(partial, 'lists');
    const cache = join(partial, 'cache');
    for (const each of [join(lists, 'partial'), join(cache, 'archives', 'partial')])
      mkdirSync(each, { recursive: true });
    const options = [
      // Images of containers clean apt's cache after every update, the machine's own too: others may be using that.
      'APT::Update::Post-Invoke=',
      `Dir::State::lists=${lists}`,
      `Dir::Cache=${cache}`,
      'APT::Sandbox::User=root',
      'Acquire::Languages=none',
    ].flatMap((option) => ['-o', option]);
    run('apt-get', ['-qq', ...options, 'update'], partial);
    run('apt-get', ['-qq', ...options, 'download', 'prometheus'], partial);
    const archive = readdirSync(partial).find((name) => name.endsWith('.deb'));
    if (archive === undefined) throw new Error('apt-get download prometheus left no package');
    run('dpkg-deb', ['-x', archive, 'tree'], partial);
    if (!existsSync(folder)) renameSync(join(partial, 'tree'), folder);
  } catch (cause) {
    throw new PrometheusUnavailable(`no Prometheus could be had: ${(cause as Error).message}; ${help}`, { cause });
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  const binaries = found([join(folder, 'usr/bin')]);
  if (binaries === undefined) throw new PrometheusUnavailable(`${folder} holds no prometheus and promtool; ${help}`);
  return binaries;
}

/** Such as `debian-12`. */
function distribution(): string {
  const text = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  const [id, version] = ['ID', 'VERSION_ID'].map((key) => new RegExp(`^${key}="?([\\w.-]+)`, 'm').exec(text)?.[1]);
  return `${id ?? 'unknown'}-${version ?? 'rolling'}`;
}

function run(command: string, args: readonly string[], cwd: string): void {
  const { error, status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (error) throw new Error(`${command} cannot be run: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ${args.at(-1)} ended with ${status}\n${stderr}${stdout}`);
}

if (import.meta.main) {
  try {
    process.stdout.write(`${JSON.stringify(prometheusBinaries(), undefined, 2)}\n`);
  } catch (error) {
    process.stderr.write(`prometheus: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
