// Programs that Go builds once, out of modules that pin their versions here, and that are kept outside of the source tree.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { lockFile } from './file-lock.ts';
import { findGo, goBuild } from './go.ts';

export interface Recipe {
  /** Folder of the go.mod, below that of the set. */
  readonly module: string;
  readonly flags: readonly string[];
  /** Package paths by the names of the programs. */
  readonly programs: Readonly<Record<string, string>>;
}

export interface ProgramSet {
  /** Of its folders in the cache: lower case and dashes. */
  readonly name: string;
  /** For people: `Kubernetes 1.36.3 and etcd`. */
  readonly title: string;
  /** Has the modules. */
  readonly folder: string;
  readonly recipes: readonly Recipe[];
}

const maxUnusedMs = 30 * 24 * 60 * 60 * 1_000;

/**
 * The folder that has the programs of a set, after building them when needed. Several processes may ask at a time: one builds,
 * the others wait.
 * @param say gets sentences about what takes long
 * @throws Error when they cannot be built
 */
export async function builtPrograms(
  set: ProgramSet,
  env: NodeJS.ProcessEnv,
  say: (sentence: string) => void,
): Promise<string> {
  const cache = cacheFolder(env);
  const folder = join(cache, `${set.name}-${digest(set)}`);
  if (!existsSync(folder)) await buildOnce(set, cache, folder, env, say);
  const now = new Date();
  utimesSync(folder, now, now);
  return folder;
}

/** Where what is built or downloaded is kept from run to run. */
export function cacheFolder(env: NodeJS.ProcessEnv): string {
  return resolve(
    env.PORTCULLIS_CACHE || join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache'), 'portcullis'),
  );
}

/** The version of Kubernetes that a module pins, without `v`. */
export function kubernetesVersion(moduleFolder: string): string {
  return /^\s*k8s\.io\/kubernetes v(\S+)/m.exec(readFileSync(join(moduleFolder, 'go.mod'), 'utf8'))![1]!;
}

/** How programs of Kubernetes are built: without these they say that they are v0.0.0, which clients and charts act upon. */
export function kubernetesFlags(version: string): readonly string[] {
  const [major, minor] = version.split('.');
  const variables = 'k8s.io/component-base/version';
  return [
    '-trimpath',
    '-ldflags',
    `-s -w -X ${variables}.gitVersion=v${version} -X ${variables}.gitMajor=${major} -X ${variables}.gitMinor=${minor} -X ${variables}.gitTreeState=clean`,
  ];
}

async function buildOnce(
  set: ProgramSet,
  cache: string,
  folder: string,
  env: NodeJS.ProcessEnv,
  say: (sentence: string) => void,
): Promise<void> {
  mkdirSync(cache, { recursive: true });
  using _lock = await lockFile(join(cache, `${set.name}.lock`), () =>
    say(`another run is building ${set.title}; waiting for it`),
  );
  if (existsSync(folder)) return;
  const go = findGo(env, cache);
  say(`building ${set.title} by Go into ${folder}: some minutes, once`);
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  for (const { module, flags, programs } of set.recipes) {
    for (const [name, source] of Object.entries(programs)) {
      say(`building ${name}`);
      await goBuild(go, join(set.folder, module), [...flags, '-o', join(partial, name), source]);
    }
  }
  renameSync(partial, folder);
  removeUnused(set, cache, folder);
}

/** Old versions go a while after their last use: other checkouts may be at them. */
function removeUnused(set: ProgramSet, cache: string, inUse: string): void {
  for (const entry of readdirSync(cache)) {
    const folder = join(cache, entry);
    const isOfSet = entry.startsWith(`${set.name}-`) && /^[0-9a-f]{16}$/.test(entry.slice(set.name.length + 1));
    if (!isOfSet || folder === inUse) continue;
    if (Date.now() - statSync(folder).mtimeMs > maxUnusedMs) rmSync(folder, { recursive: true, force: true });
  }
}

function digest(set: ProgramSet): string {
  const hash = createHash('sha256').update(JSON.stringify([process.arch, set.recipes]));
  for (const { module } of set.recipes) {
    for (const file of ['go.mod', 'go.sum']) hash.update(readFileSync(join(set.folder, module, file)));
  }
  return hash.digest('hex').slice(0, 16);
}
