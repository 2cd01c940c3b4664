// Compiles bpf/*.bpf.c and bundles the three programs into dist/. `--bpf-only` leaves the bundles out, `--force` rebuilds all,
// `--only=operator` makes that bundle alone, and the BPF objects with that of the agent; `--bpf-built` takes the objects that are
// in build/ as they are.
// Plain JavaScript that any Node.js from 18 on can run: it must work before the project's own Node.js is in place.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const self = fileURLToPath(import.meta.url);
const minClang = 16;
const newestClang = 22;

const bundles = {
  // In pieces: what talks to an API server, 1.7 MB, is read only by an agent that is to.
  agent: { source: 'agent/main.ts', splitting: true },
  operator: { source: 'operator/main.ts' },
  'kubectl-portcullis': { source: 'plugin/main.ts' },
};

const known = new Set([
  '--bpf-only',
  '--bpf-built',
  '--force',
  ...Object.keys(bundles).map((name) => `--only=${name}`),
]);
const args = process.argv.slice(2);
const unknown = args.find((arg) => !known.has(arg));
if (unknown) fail(`unknown argument ${unknown}: only ${[...known].join(', ')} are known`);
const force = args.includes('--force');
const only = args.find((arg) => arg.startsWith('--only='))?.slice('--only='.length);

const objects = only === undefined || only === 'agent' ? buildBpf() : [];
for (const object of objects) install(object);
if (!args.includes('--bpf-only')) {
  for (const [name, { source, splitting }] of Object.entries(bundles)) {
    if (only === undefined || only === name) await bundle(name, source, { splitting });
  }
}

function fail(message) {
  process.stderr.write(`build: ${message}\n`);
  process.exit(1);
}

function say(message) {
  process.stdout.write(`build: ${message}\n`);
}

/** The first of `names` that runs, with its major version. */
function findTool(names) {
  for (const name of names) {
    try {
      const version = /version (\d+)\./.exec(execFileSync(name, ['--version'], { encoding: 'utf8', stdio: 'pipe' }));
      if (version && Number(version[1]) >= minClang) return name;
    } catch {
      // Not installed under this name.
    }
  }
  return undefined;
}

function versioned(tool) {
  const names = [];
  for (let version = newestClang; version >= minClang; version--) names.push(`${tool}-${version}`);
  return [...names, tool];
}

function isFresh(output, inputs) {
  if (force || !existsSync(output)) return false;
  const built = statSync(output).mtimeMs;
  return inputs.every((input) => statSync(input).mtimeMs <= built);
}

function buildBpf() {
  const folder = join(root, 'bpf');
  const sources = readdirSync(folder).filter((name) => name.endsWith('.bpf.c'));
  // Headers are few: any of them makes every object stale, and nobody keeps a list by hand.
  const headers = readdirSync(folder)
    .filter((name) => name.endsWith('.h'))
    .map((name) => join(folder, name));
  mkdirSync(join(root, 'build'), { recursive: true });
  return sources.map((name) => {
    const source = join(folder, name);
    const object = join(root, 'build', name.replace(/\.c$/, '.o'));
    if (!args.includes('--bpf-built') && !isFresh(object, [source, ...headers, self])) compile(source, object);
    return object;
  });
}

function compile(source, object) {
  const clang = process.env.CLANG ?? findTool(versioned('clang'));
  const strip = process.env.LLVM_STRIP ?? findTool(versioned('llvm-strip'));
  if (!clang || !strip) fail(`no clang and llvm-strip ${minClang} or newer found: run \`make setup\``);
  say(`${clang} ${relative(root, source)}`);
  // asm/types.h lies in a folder of the host's architecture, where a compiler for BPF does not look.
  const multiarch = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[process.arch];
  const include = multiarch ? ['-idirafter', `/usr/include/${multiarch}`] : [];
  // A warning that only a newer clang gives must not stop somebody's build; in CI it stops ours.
  const warnings = process.env.CI ? ['-Wall', '-Werror'] : ['-Wall'];
  const flags = ['-target', 'bpf', '-mcpu=v3', '-O2', '-g', ...warnings, ...include];
  // Debug information would name this folder; a build is the same wherever it is made.
  const reproducible = [`-ffile-prefix-map=${root}=.`, '-fdebug-compilation-dir=.'];
  try {
    execFileSync(clang, [...flags, ...reproducible, '-c', source, '-o', object], { stdio: 'inherit', cwd: root });
    // DWARF is 80 % of the file and nothing reads it; BTF, which libbpf and the layout test read, stays.
    execFileSync(strip, ['-g', object], { stdio: 'inherit' });
  } catch {
    // A half-made object must not look fresh to the next run.
    rmSync(object, { force: true });
    fail(`${relative(root, source)} does not compile`);
  }
}

function install(object) {
  const target = join(root, 'dist', relative(join(root, 'build'), object));
  mkdirSync(dirname(target), { recursive: true });
  if (!isFresh(target, [object])) copyFileSync(object, target);
}

/** Object name to digest: the bundle refuses objects that it was not built with, whose tables it would misread. */
function digests() {
  const entries = objects.map((object) => [
    basename(object, '.bpf.o'),
    createHash('sha256').update(readFileSync(object)).digest('hex'),
  ]);
  return JSON.stringify(Object.fromEntries(entries));
}

async function bundle(name, source, { splitting = false } = {}) {
  const entry = join(root, source);
  if (!existsSync(entry)) fail(`${source} is missing: this is not a whole checkout`);
  const { build } = await import('esbuild').catch(() => fail('esbuild is not installed: run `make setup`'));
  const result = await build({
    absWorkingDir: root,
    entryPoints: [{ in: entry, out: name }],
    outdir: join(root, 'dist'),
    outExtension: { '.js': '.mjs' },
    chunkNames: `${name}-[hash]`,
    splitting,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node22.19',
    // koffi's native part is a package for each platform, found beside the bundle at run time.
    external: ['@koromix/*'],
    // CommonJS packages inside of an ES module still call require(). koffi declares a `createRequire` of its own.
    banner: {
      js: 'import{createRequire as __portcullisRequire}from"node:module";const require=__portcullisRequire(import.meta.url);',
    },
    define: { BPF_OBJECT_DIGESTS: digests() },
    // A third less to parse and to keep; names stay, for the stacks of errors.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'linked',
    logLevel: 'warning',
    metafile: true,
  });
  recordPackages(name, Object.keys(result.metafile.inputs));
  const made = new Set(Object.keys(result.metafile.outputs).map((path) => basename(path)));
  for (const file of readdirSync(join(root, 'dist'))) {
    // Of an earlier build.
    if (file.startsWith(`${name}-`) && /\.mjs(\.LEGAL\.txt)?$/.test(file) && !made.has(file)) {
      rmSync(join(root, 'dist', file));
    }
  }
  const bytes = Object.values(result.metafile.outputs).reduce((sum, { bytes }) => sum + bytes, 0);
  say(`dist/${name}.mjs, ${Math.round(bytes / 1024)} KiB`);
}

/** The npm packages that a bundle holds parts of: nobody could tell by looking at it. Images carry their names and licenses. */
function recordPackages(name, inputs) {
  const folders = inputs.map((path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0]);
  const packages = [...new Set(folders.filter((folder) => folder !== undefined))].sort();
  mkdirSync(join(root, 'build'), { recursive: true });
  writeFileSync(join(root, 'build', `${name}.packages.json`), `${JSON.stringify(packages, undefined, 2)}\n`);
}
