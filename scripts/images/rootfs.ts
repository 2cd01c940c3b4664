// rootfs.ts PROGRAM ARCHITECTURE ROOT: lays out the file system of an image below ROOT, out of what the stages of a Dockerfile
// have brought: this checkout with dist/ built, /node-layer (a layer below this one, with Node.js of the target),
// /target/node_modules (native parts of the target) and /target/packages (Debian packages of the target, unpacked). Runs no
// program of the target.
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { cycloneDx, type NpmPackage, stanza, variables } from './bill-of-materials.ts';
import { neededLibraries } from './elf.ts';

interface Platform {
  readonly triplet: string;
  readonly loader: string;
  readonly cpu: string;
}

const platforms: Readonly<Record<string, Platform>> = {
  amd64: { triplet: 'x86_64-linux-gnu', loader: 'lib64/ld-linux-x86-64.so.2', cpu: 'x64' },
  arm64: { triplet: 'aarch64-linux-gnu', loader: 'lib/ld-linux-aarch64.so.1', cpu: 'arm64' },
};
/** Found by dlopen(), so that no ELF file names them. */
const dlopened: Readonly<Record<string, readonly string[]>> = { agent: ['libbpf.so.1'], operator: [] };

const { program, architecture, root } = readArguments(process.argv.slice(2));
const platform = platforms[architecture]!;

const source = process.cwd();
const target = '/target';
const node = '/node-layer/usr/bin/node';
const home = join(root, 'opt', 'portcullis');
const libraries = join(root, 'usr', 'lib', platform.triplet);
const manifest = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'));
const usedPackages = new Set(['base-files']);

function readArguments([program = '', architecture = '', root = '']: readonly string[]) {
  if (dlopened[program] === undefined || platforms[architecture] === undefined || root === '')
    throw new Error('usage: rootfs.ts agent|operator amd64|arm64 ROOT');
  return { program, architecture, root };
}

layOut();
addProgram();
const npmPackages = addNpmPackages();
addLibraries();
addRecords();

/** The folders that everything expects, with /lib as a link, as Debian has it: each library is there once. */
function layOut(): void {
  mkdirSync(join(root, 'usr', 'bin'), { recursive: true });
  mkdirSync(libraries, { recursive: true });
  for (const name of ['lib', 'lib64']) {
    mkdirSync(join(root, 'usr', name), { recursive: true });
    symlinkSync(`usr/${name}`, join(root, name));
  }
  for (const name of ['etc', 'proc', 'sys', 'dev', 'run', 'tmp', 'var/lib'])
    mkdirSync(join(root, name), { recursive: true });
  chmodSync(join(root, 'tmp'), 0o1777);
  write('etc/passwd', 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n');
  write('etc/group', 'root:x:0:\nnonroot:x:65532:\n');
  write('etc/nsswitch.conf', 'hosts: files dns\n');
}

function addProgram(): void {
  const { name, version, license, engines } = manifest;
  write('opt/portcullis/package.json', `${JSON.stringify({ name, version, license, type: 'module', engines })}\n`);
  copy(join(source, 'LICENSE'), 'opt/portcullis/LICENSE');
  copy(join(source, 'bin', 'launch.mjs'), 'opt/portcullis/bin/launch.mjs');
  const start = readFileSync(join(source, 'bin', `portcullis-${program}.mjs`), 'utf8');
  // There is no env(1).
  write(`opt/portcullis/bin/portcullis-${program}.mjs`, start.replace(/^#!.*/, '#!/usr/bin/node'), 0o755);
  symlinkSync(`../../opt/portcullis/bin/portcullis-${program}.mjs`, join(root, 'usr', 'bin', `portcullis-${program}`));
  for (const file of readdirSync(join(source, 'dist'))) {
    if (file.startsWith(`${program}.`) || file.startsWith(`${program}-`))
      copy(join(source, 'dist', file), `opt/portcullis/dist/${file}`);
    if (program === 'agent' && file.endsWith('.bpf.o')) copy(join(source, 'dist', file), `opt/portcullis/dist/${file}`);
  }
  // What `portcullis-operator apply-crds` applies.
  if (program === 'operator') cpSync(join(source, 'crds'), join(home, 'crds'), { recursive: true });
  if (program !== 'agent') return;
  for (const file of readdirSync(join(source, 'bpf'))) {
    if (file.startsWith('LICENSE')) copy(join(source, 'bpf', file), `usr/share/doc/portcullis-bpf/${file}`);
  }
}

/** The native part of koffi, whole; of what is in the bundle the name, version and license, which no look at it would tell. */
function addNpmPackages(): readonly NpmPackage[] {
  const folders = JSON.parse(readFileSync(join(source, 'build', `${program}.packages.json`), 'utf8')) as string[];
  const found = folders.map((folder) => describe(folder, join(source, folder)));
  if (program === 'agent') {
    const name = `node_modules/@koromix/koffi-linux-${platform.cpu}`;
    const native = join(target, name);
    for (const file of ['index.js', 'README.md'])
      if (existsSync(join(native, file))) copy(join(native, file), `opt/portcullis/${name}/${file}`);
    cpSync(join(native, `linux_${platform.cpu}`), join(home, name, `linux_${platform.cpu}`), { recursive: true });
    found.push(describe(name, native));
  }
  return found;
}

function describe(folder: string, from: string): NpmPackage {
  const { name, version, license, main } = JSON.parse(readFileSync(join(from, 'package.json'), 'utf8'));
  write(`opt/portcullis/${folder}/package.json`, `${JSON.stringify({ name, version, license, main })}\n`);
  for (const file of readdirSync(from)) {
    if (/^(licen[cs]e|copying|notice)/i.test(file)) copy(join(from, file), `opt/portcullis/${folder}/${file}`);
  }
  return { name, version, license };
}

/** Every library that something in the image needs, and its needs in turn, out of the packages; what none has is an error. */
function addLibraries(): void {
  const available = librariesOfPackages();
  const waiting = [
    basename(platform.loader),
    ...dlopened[program]!,
    ...elfFiles().flatMap((file) => neededLibraries(file)),
  ];
  const done = new Set<string>();
  for (let soname = waiting.pop(); soname !== undefined; soname = waiting.pop()) {
    if (done.has(soname)) continue;
    done.add(soname);
    const found = available.get(soname);
    if (found === undefined)
      throw new Error(`${soname} is needed and in none of the packages: add its package to Dockerfile.${program}`);
    usedPackages.add(found.package);
    const file = join(libraries, soname);
    copyFileSync(found.file, file);
    chmodSync(file, 0o755);
    waiting.push(...neededLibraries(file));
  }
  symlinkSync(join('/usr/lib', platform.triplet, basename(platform.loader)), join(root, 'usr', platform.loader));
}

/** Soname to the file behind it. Where the loader is in lib64/ it is a link to the one beside the libraries. */
function librariesOfPackages(): ReadonlyMap<string, { readonly package: string; readonly file: string }> {
  const available = new Map<string, { package: string; file: string }>();
  for (const name of packageNames()) {
    for (const folder of ['usr/lib', 'lib'].map((part) => join(target, 'packages', name, part, platform.triplet))) {
      if (!existsSync(folder)) continue;
      for (const entry of readdirSync(folder)) {
        if (!/\.so(\.|$)/.test(entry)) continue;
        available.set(entry, { package: name, file: realpathSync(join(folder, entry)) });
      }
    }
  }
  return available;
}

function elfFiles(): readonly string[] {
  const files = [node];
  const native = join(home, 'node_modules', '@koromix');
  if (!existsSync(native)) return files;
  const added = (readdirSync(native, { recursive: true }) as string[]).filter((file) => file.endsWith('.node'));
  return [...files, ...added.map((file) => join(native, file))];
}

/** What scanners look for: the release, Debian's packages as distroless images list them, and all of it as CycloneDX. */
function addRecords(): void {
  const release = join(target, 'packages', 'base-files', 'usr', 'lib', 'os-release');
  copy(release, 'usr/lib/os-release');
  symlinkSync('../usr/lib/os-release', join(root, 'etc', 'os-release'));
  const debian = [...usedPackages].sort().map((name) => {
    const control = readFileSync(join(target, 'packages', `${name}.control`), 'utf8');
    write(`var/lib/dpkg/status.d/${name}`, control);
    copy(copyrightOf(name), `usr/share/doc/${name}/copyright`);
    return stanza(control);
  });
  const bill = cycloneDx({
    program: `portcullis-${program}`,
    version: manifest.version,
    release: variables(readFileSync(release, 'utf8')),
    nodeVersion: versionOfNode(),
    debian,
    npm: npmPackages,
  });
  write(`usr/share/sbom/portcullis-${program}.cdx.json`, `${JSON.stringify(bill, undefined, 1)}\n`);
}

/** What the target's Node.js says of itself, without running it: releases carry the address of their sources. */
function versionOfNode(): string {
  const address = 'nodejs.org/download/release/v';
  const image = readFileSync(node);
  const at = image.indexOf(address);
  const found =
    at === -1 ? null : /^[\d.]+/.exec(image.toString('latin1', at + address.length, at + address.length + 16));
  // Of a distribution: then that of the platform that builds is of the same.
  return found?.[0] ?? process.versions.node;
}

/** Some packages have their documentation as a link to that of another, which has to be unpacked too. */
function copyrightOf(name: string): string {
  const documentation = join(target, 'packages', name, 'usr', 'share', 'doc', name);
  const stat = lstatSync(documentation);
  if (stat.isSymbolicLink()) return copyrightOf(basename(readlinkSync(documentation)));
  return join(documentation, 'copyright');
}

function packageNames(): readonly string[] {
  return readdirSync(join(target, 'packages'))
    .filter((name) => name.endsWith('.control'))
    .map((name) => name.slice(0, -'.control'.length));
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(join(root, to)), { recursive: true });
  // The file that a link leads to: Debian keeps some copyright files behind links.
  copyFileSync(realpathSync(from), join(root, to));
  chmodSync(join(root, to), 0o644);
}

function write(to: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(join(root, to)), { recursive: true });
  writeFileSync(join(root, to), text);
  chmodSync(join(root, to), mode);
}
