// The programs of a control plane for tests. Run by itself it prints where they are, after building them when needed.
import { join, resolve } from 'node:path';
import { isExecutable } from '../../support/is-executable.ts';
import { builtPrograms, kubernetesFlags, kubernetesVersion, type ProgramSet } from './go-programs.ts';

export { cacheFolder } from './go-programs.ts';

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
const version = kubernetesVersion(join(here, 'kubernetes'));
const programs: ProgramSet = {
  name: 'control-plane',
  title: `Kubernetes ${version} and etcd`,
  folder: here,
  recipes: [
    { module: 'etcd', flags: ['-trimpath', '-ldflags', '-s -w'], programs: { etcd: 'go.etcd.io/etcd/server/v3' } },
    {
      module: 'kubernetes',
      flags: kubernetesFlags(version),
      programs: {
        'kube-apiserver': 'k8s.io/kubernetes/cmd/kube-apiserver',
        kubectl: 'k8s.io/kubernetes/cmd/kubectl',
        'kube-controller-manager': 'k8s.io/kubernetes/cmd/kube-controller-manager',
      },
    },
  ],
};

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
  try {
    return binariesIn(await builtPrograms(programs, env, say));
  } catch (error) {
    throw new ControlPlaneUnavailable(`no control plane could be built: ${(error as Error).message}`, { cause: error });
  }
}

function givenBinaries(folder: string): Binaries {
  const missing = ['etcd', 'kube-apiserver', 'kubectl'].filter((name) => !isExecutable(join(folder, name)));
  if (missing.length > 0)
    throw new ControlPlaneUnavailable(
      `KUBEBUILDER_ASSETS names ${folder}, which has no program ${missing.join(', ')}: add it there, or unset the variable to have all built`,
    );
  return binariesIn(folder);
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
