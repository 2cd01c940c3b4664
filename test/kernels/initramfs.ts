import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  createWriteStream,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { UnpackedKernel } from './kernels.ts';

const repository = join(import.meta.dirname, '..', '..');
/** Where the guest has this repository. */
export const guestRepository = '/portcullis';

/** What runs the agent and its tests; the rest of a guest's tools are busybox's. */
const programs = ['ip', 'ethtool', 'nsenter'];
/** Loaded by name at run time, so that ldd of a program does not tell of it. */
const libraries = ['libbpf.so.1'];
const rooms = ['agent', 'api', 'bin', 'cli', 'crds', 'dist', 'kube', 'test', 'package.json'];
const packages = ['koffi', '@koromix'];
/** Not in Debian's cloud kernels themselves. */
const modules = ['veth'];

/** Writes a guest's root as a cpio archive: node, the checkout, libbpf and what they need. */
export async function buildInitramfs(kernel: UnpackedKernel, root: string, archive: string): Promise<void> {
  rmSync(root, { recursive: true, force: true });
  for (const folder of ['bin', 'dev', 'proc', 'sys', 'run', 'tmp', 'etc', 'modules'])
    mkdirSync(join(root, folder), { recursive: true });

  copy('/bin/busybox', join(root, 'bin', 'busybox'));
  symlinkSync('busybox', join(root, 'bin', 'sh'));
  const node = join(root, guestRepository, 'node_modules', '.bin', 'node');
  copy(realpathSync(join(repository, 'node_modules', '.bin', 'node')), node);
  // Symbols are a tenth of it, and every byte is unpacked by an emulated CPU.
  spawnSync('strip', [node]);
  const files = [node, ...programs.map(findProgram), ...libraries.map(findLibrary)];
  for (const program of programs) copy(findProgram(program), join(root, 'bin', program));
  for (const library of libraries) copy(findLibrary(library), join(root, 'lib', library));
  for (const library of new Set(files.flatMap(neededLibraries))) copy(library, join(root, library));

  for (const room of rooms) cpSync(join(repository, room), join(root, guestRepository, room), { recursive: true });
  for (const object of globSync(join(repository, 'build', '*.bpf.o')))
    copy(object, join(root, guestRepository, 'build', basename(object)));
  for (const name of packages)
    cpSync(join(repository, 'node_modules', name), join(root, guestRepository, 'node_modules', name), {
      recursive: true,
    });
  for (const name of modules) installModule(kernel, name, join(root, 'modules'));
  const init = join(root, 'init');
  copy(join(import.meta.dirname, 'guest', 'init.sh'), init);
  chmodSync(init, 0o755);

  await pack(root, archive);
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(realpathSync(from), to);
}

function findProgram(name: string): string {
  const found = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/bin', '/bin']
    .map((folder) => join(folder, name))
    .find(existsSync);
  if (found === undefined) throw new Error(`no ${name} on this machine`);
  return realpathSync(found);
}

function findLibrary(name: string): string {
  const [found] = globSync([`/usr/lib/*-linux-gnu/${name}`, `/lib/*-linux-gnu/${name}`, `/usr/lib{,64}/${name}`]);
  if (found === undefined) throw new Error(`no ${name} on this machine`);
  return realpathSync(found);
}

/** As the dynamic linker names them, the linker itself among them. */
function neededLibraries(file: string): string[] {
  const { stdout } = spawnSync('ldd', [file], { encoding: 'utf8' });
  return [...stdout.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, path]) => path!);
}

function installModule(kernel: UnpackedKernel, name: string, folder: string): void {
  const [found] = globSync(`${kernel.modules}/kernel/**/${name}.ko*`);
  if (found === undefined) throw new Error(`${kernel.modules} holds no ${name}`);
  const target = join(folder, basename(found));
  copy(found, target);
  if (!found.endsWith('.ko') && spawnSync(found.endsWith('.xz') ? 'xz' : 'zstd', ['-d', '-q', target]).status !== 0)
    throw new Error(`cannot unpack ${found}`);
}

async function pack(root: string, archive: string): Promise<void> {
  const names = ['.', ...readdirSync(root, { recursive: true, encoding: 'utf8' })];
  const cpio = spawn('/bin/busybox', ['cpio', '-o', '-H', 'newc'], { cwd: root, stdio: ['pipe', 'pipe', 'ignore'] });
  const written = once(cpio.stdout.pipe(createWriteStream(archive)), 'finish');
  cpio.stdin.end(`${names.join('\n')}\n`);
  const [code] = await once(cpio, 'close');
  await written;
  if (code !== 0 || statSync(archive).size === 0) throw new Error(`cpio ended with ${code}`);
}
