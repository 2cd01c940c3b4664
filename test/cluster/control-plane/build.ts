// The programs of a control plane for tests. Run by itself it prints where they are, after building them when needed.
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { lockFile } from './file-lock.ts';
import { findGo, goBuild } from './go.ts';

/** Absolute paths of programs that can be run. */
export interface Binaries {
  readonly etcd: string;
  readonly kubeApiserver: string;
  readonly kubectl: string;
  /** Absent where KUBEBUILDER_ASSETS has none: envtest's archives come without it. */
  readonly kubeControllerManager?: string;
}

/** This machine cannot have a control plane; the message says why and what helps. */
export class ControlPlaneUnavailable extends Error {
  override readonly name = 'ControlPlaneUnavailable';
}

const here = import.meta.dirname;
const maxUnusedMs = 30 * 24 * 60 * 60 * 1_000;

const kubernetesVersion = /^\s*k8s\.io\/kubernetes v(\S+)/m.exec(moduleText('kubernetes'))![1]!;
const [major, minor] = kubernetesVersion.split('.');
const version = 'k8s.io/component-base/version';
const recipes = [
  { module: 'etcd', flags: ['-trimpath', '-ldflags', '-s -w'], programs: { etcd: 'go.etcd.io/etcd/server/v3' } },
  {
    module: 'kubernetes',
    // Without these the server says that it is v0.0.0, which clients and charts act upon.
    flags: [
      '-trimpath',
      '-ldflags',
      `-s -w -X ${version}.gitVersion=v${kubernetesVersion} -X ${version}.gitMajor=${major} -X ${version}.gitMinor=${minor} -X ${version}.gitTreeState=clean`,
    ],
    programs: {
      'kube-apiserver': 'k8s.io/kubernetes/cmd/kube-apiserver',
      kubectl: 'k8s.io/kubernetes/cmd/kubectl',
      'kube-controller-manager': 'k8s.io/kubernetes/cmd/kube-controller-manager',
    },
  },
] as const;

/**
 * Finds etcd, kube-apiserver and the others: in the folder that KUBEBUILDER_ASSETS names, else in a cache folder outside of the
 * source tree, where Go builds them once. Several processes may ask at a time: one builds, the others wait.
 * @param say gets sentences about what takes long
 * @throws ControlPlaneUnavailable when they cannot be had
 */
export async function controlPlaneBinaries(
  env: NodeJS.ProcessEnv = process.env,
  say: (sentence: string) => void = sayOnStandardError,
): Promise<Binaries> {
  if (env.KUBEBUILDER_ASSETS) return givenBinaries(resolve(env.KUBEBUILDER_ASSETS));
  const cache = cacheFolder(env);
  const folder = join(cache, `control-plane-${recipeDigest()}`);
  if (!existsSync(folder)) await buildOnce(cache, folder, env, say);
  const now = new Date();
  utimesSync(folder, now, now);
  return binariesIn(folder);
}

/** Where what is built or downloaded is kept from run to run. */
export function cacheFolder(env: NodeJS.ProcessEnv): string {
  return resolve(
    env.PORTCULLIS_CACHE || join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache'), 'portcullis'),
  );
}

function givenBinaries(folder: string): Binaries {
  const missing = ['etcd', 'kube-apiserver', 'kubectl'].filter((name) => !isExecutable(join(folder, name)));
  if (missing.length > 0)
    throw new ControlPlaneUnavailable(
      `KUBEBUILDER_ASSETS names ${folder}, which has no program ${missing.join(', ')}: add it there, or unset the variable to have all built`,
    );
  return binariesIn(folder);
}

async function buildOnce(
  cache: string,
  folder: string,
  env: NodeJS.ProcessEnv,
  say: (sentence: string) => void,
): Promise<void> {
  try {
    mkdirSync(cache, { recursive: true });
    using _lock = await lockFile(join(cache, 'control-plane.lock'), () =>
      say('another run is building the control plane; waiting for it'),
    );
    if (existsSync(folder)) return;
    const go = findGo(env, cache);
    say(`building Kubernetes ${kubernetesVersion} and etcd by Go into ${folder}: some minutes, once`);
    const partial = `${folder}.partial`;
    rmSync(partial, { recursive: true, force: true });
    for (const { module, flags, programs } of recipes) {
      for (const [name, source] of Object.entries(programs)) {
        say(`building ${name}`);
        await goBuild(go, join(here, module), [...flags, '-o', join(partial, name), source]);
      }
    }
    renameSync(partial, folder);
    removeUnused(cache, folder);
  } catch (error) {
    throw new ControlPlaneUnavailable(`no control plane could be built: ${(error as Error).message}`, { cause: error });
  }
}

/** Old versions go a while after their last use: other checkouts may be at them. */
function removeUnused(cache: string, inUse: string): void {
  for (const name of readdirSync(cache)) {
    const folder = join(cache, name);
    if (!/^control-plane-[0-9a-f]{16}$/.test(name) || folder === inUse) continue;
    if (Date.now() - statSync(folder).mtimeMs > maxUnusedMs) rmSync(folder, { recursive: true, force: true });
  }
}

function recipeDigest(): string {
  const hash = createHash('sha256').update(JSON.stringify([process.arch, recipes]));
  for (const { module } of recipes) hash.update(moduleText(module)).update(readFileSync(join(here, module, 'go.sum')));
  return hash.digest('hex').slice(0, 16);
}

function binariesIn(folder: string): Binaries {
  const controllerManager = join(folder, 'kube-controller-manager');
  return {
    etcd: join(folder, 'etcd'),
    kubeApiserver: join(folder, 'kube-apiserver'),
    kubectl: join(folder, 'kubectl'),
    ...(isExecutable(controllerManager) ? { kubeControllerManager: controllerManager } : {}),
  };
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function moduleText(module: string): string {
  return readFileSync(join(here, module, 'go.mod'), 'utf8');
}

function sayOnStandardError(sentence: string): void {
  process.stderr.write(`control plane: ${sentence}\n`);
}

if (import.meta.main) {
  try {
    process.stdout.write(`${JSON.stringify(await controlPlaneBinaries(), undefined, 2)}\n`);
  } catch (error) {
    if (!(error instanceof ControlPlaneUnavailable)) throw error;
    sayOnStandardError(error.message);
    process.exitCode = 1;
  }
}
