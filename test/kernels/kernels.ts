import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A kernel that the datapath is tried on, and what must become of it there. */
export interface Kernel {
  /** As it is asked for on the command line. */
  readonly name: string;
  /** Debian's release that has it, with its security updates: those alone carry the newest build. */
  readonly release: string;
  /** The package that names the newest one: ABI numbers change with every update. */
  readonly metaPackage: string;
  /** `refused`: below the supported minimum, where the agent must say so and do nothing. */
  readonly expect: 'supported' | 'refused';
}

export const kernels: readonly Kernel[] = [
  { name: '5.10', release: 'bullseye', metaPackage: 'linux-image-cloud-amd64', expect: 'refused' },
  { name: '6.1', release: 'bookworm', metaPackage: 'linux-image-cloud-amd64', expect: 'supported' },
  { name: '6.12', release: 'trixie', metaPackage: 'linux-image-cloud-amd64', expect: 'supported' },
];

const mirror = process.env.DEBIAN_MIRROR ?? 'http://deb.debian.org';
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

export interface UnpackedKernel {
  /** As uname -r says it. */
  readonly release: string;
  readonly image: string;
  readonly modules: string;
}

/**
 * Downloads and unpacks a kernel below `folder`, or finds it there. Nothing is installed: apt works with lists and
 * sources of its own, and checks Debian's signatures as always.
 * @throws Error with what apt wrote
 */
export function fetchKernel(kernel: Kernel, folder: string): UnpackedKernel {
  const home = join(folder, kernel.name);
  const tree = join(home, 'tree');
  if (!existsSync(join(home, 'complete'))) {
    rmSync(home, { recursive: true, force: true });
    const lists = join(home, 'lists');
    const cache = join(home, 'cache');
    for (const part of [join(lists, 'partial'), join(cache, 'archives', 'partial')])
      mkdirSync(part, { recursive: true });
    const sources = join(home, 'sources.list');
    const { release } = kernel;
    writeFileSync(
      sources,
      `deb [signed-by=${keyring} arch=amd64] ${mirror}/debian ${release} main\n` +
        `deb [signed-by=${keyring} arch=amd64] ${mirror}/debian-security ${release}-security main\n`,
    );
    const options = [
      `Dir::Etc::sourcelist=${sources}`,
      'Dir::Etc::sourceparts=/dev/null',
      'Dir::Etc::preferencesparts=/dev/null',
      // Images of containers clean apt's cache after every update, the machine's own too: others may be using that.
      'APT::Update::Post-Invoke=',
      `Dir::State::lists=${lists}`,
      `Dir::Cache=${cache}`,
      'APT::Sandbox::User=root',
      // An old release's security archive is no longer written anew; its signature still holds.
      'Acquire::Check-Valid-Until=false',
      'Acquire::Languages=none',
    ].flatMap((option) => ['-o', option]);
    run('apt-get', ['-qq', ...options, 'update'], home);
    const depends = run('apt-cache', [...options, 'depends', kernel.metaPackage], home);
    const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
    if (name === undefined) throw new Error(`${kernel.metaPackage} of ${release} names no kernel:\n${depends}`);
    run('apt-get', ['-qq', ...options, 'download', name], home);
    const archive = readdirSync(home).find((entry) => entry.endsWith('.deb'));
    if (archive === undefined) throw new Error(`apt-get download ${name} left no package`);
    run('dpkg-deb', ['-x', archive, 'tree'], home);
    rmSync(join(home, archive));
    writeFileSync(join(home, 'complete'), '');
  }
  const image = readdirSync(join(tree, 'boot')).find((entry) => entry.startsWith('vmlinuz-'));
  if (image === undefined) throw new Error(`${tree}/boot holds no kernel`);
  const release = image.slice('vmlinuz-'.length);
  // Debian 13 has moved them below /usr.
  const modules = ['usr/lib', 'lib'].map((lib) => join(tree, lib, 'modules', release)).find(existsSync);
  if (modules === undefined) throw new Error(`${tree} holds no modules of ${release}`);
  return { release, image: join(tree, 'boot', image), modules };
}

function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.at(-1)} ended with ${status}\n${stderr}${stdout}`);
  return stdout;
}
