// What real nodes are made of: programs that Go builds, and those of the distribution. Run by itself it prints where they are.
import { join } from 'node:path';
import { isExecutable } from '../../support/is-executable.ts';
import { type Binaries, controlPlaneBinaries } from '../control-plane/build.ts';
import { builtPrograms, kubernetesFlags, kubernetesVersion, type ProgramSet } from '../control-plane/go-programs.ts';

/** Absolute paths. */
export interface NodeBinaries {
  readonly controlPlane: Binaries;
  readonly kubeControllerManager: string;
  readonly kubeScheduler: string;
  readonly kubelet: string;
  readonly kubeProxy: string;
  readonly containerd: string;
  readonly ctr: string;
  readonly runc: string;
  /** Folder of the CNI plugins. */
  readonly cniPlugins: string;
}

/** This machine cannot have real nodes; the message says why and what helps. */
export class RealNodesUnavailable extends Error {
  override readonly name = 'RealNodesUnavailable';
}

const here = import.meta.dirname;
const version = kubernetesVersion(join(here, 'kubernetes'));
const nodePrograms: ProgramSet = {
  name: 'nodes',
  title: `kubelet, kube-scheduler and kube-proxy ${version}`,
  folder: here,
  recipes: [
    {
      module: 'kubernetes',
      flags: kubernetesFlags(version),
      programs: {
        kubelet: 'k8s.io/kubernetes/cmd/kubelet',
        'kube-scheduler': 'k8s.io/kubernetes/cmd/kube-scheduler',
        'kube-proxy': 'k8s.io/kubernetes/cmd/kube-proxy',
      },
    },
  ],
};
const helmProgram: ProgramSet = {
  name: 'helm',
  title: 'Helm',
  folder: here,
  recipes: [
    { module: 'helm', flags: ['-trimpath', '-ldflags', '-s -w'], programs: { helm: 'helm.sh/helm/v4/cmd/helm' } },
  ],
};

/** An administrator's programs are often outside of a user's PATH. */
export const nodePath = `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`;
const pluginFolders = ['/opt/cni/bin', '/usr/lib/cni', '/usr/libexec/cni'];
const neededPlugins = ['ptp', 'host-local', 'loopback'];

/**
 * Finds what nodes need: the distribution's containerd, runc and CNI plugins, and what Go builds once into the cache folder.
 * @throws RealNodesUnavailable when this machine cannot have nodes
 * @throws ControlPlaneUnavailable when it cannot have an API server
 */
export async function nodeBinaries(
  env: NodeJS.ProcessEnv = process.env,
  say: (sentence: string) => void = sayOnStandardError,
): Promise<NodeBinaries> {
  const { containerd, ctr, runc, cniPlugins } = fromDistribution();
  const controlPlane = await controlPlaneBinaries(env, say);
  const { kubeControllerManager } = controlPlane;
  if (kubeControllerManager === undefined)
    throw new RealNodesUnavailable('KUBEBUILDER_ASSETS has no kube-controller-manager, which makes pods of DaemonSets');
  const folder = await builtPrograms(nodePrograms, env, say).catch((error: Error) => {
    throw new RealNodesUnavailable(`no kubelet could be built: ${error.message}`, { cause: error });
  });
  return {
    controlPlane,
    kubeControllerManager,
    kubelet: join(folder, 'kubelet'),
    kubeScheduler: join(folder, 'kube-scheduler'),
    kubeProxy: join(folder, 'kube-proxy'),
    containerd,
    ctr,
    runc,
    cniPlugins,
  };
}

/** Helm, built once. @throws RealNodesUnavailable when it cannot be built */
export async function helmBinary(
  env: NodeJS.ProcessEnv = process.env,
  say: (sentence: string) => void = sayOnStandardError,
): Promise<string> {
  const folder = await builtPrograms(helmProgram, env, say).catch((error: Error) => {
    throw new RealNodesUnavailable(`no helm could be built: ${error.message}`, { cause: error });
  });
  return join(folder, 'helm');
}

function fromDistribution(): Pick<NodeBinaries, 'containerd' | 'ctr' | 'runc' | 'cniPlugins'> {
  const [containerd, ctr, runc, nft] = ['containerd', 'ctr', 'runc', 'nft'].map(find);
  const cniPlugins = pluginFolders.find((folder) => neededPlugins.every((name) => isExecutable(join(folder, name))));
  // A client without its daemon's shim starts no container.
  const shim = find('containerd-shim-runc-v2');
  if (containerd && ctr && runc && nft && shim && cniPlugins) return { containerd, ctr, runc, cniPlugins };
  const missing = Object.entries({
    containerd,
    ctr,
    runc,
    nft,
    'containerd-shim-runc-v2': shim,
    'CNI plugins': cniPlugins,
  })
    .filter(([, found]) => found === undefined)
    .map(([name]) => name);
  throw new RealNodesUnavailable(
    `this machine has no ${missing.join(', no ')}: scripts/setup.sh nodes installs Debian's containerd, runc, nftables and containernetworking-plugins`,
  );
}

function find(name: string): string | undefined {
  return nodePath
    .split(':')
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

function sayOnStandardError(sentence: string): void {
  process.stderr.write(`real nodes: ${sentence}\n`);
}

if (import.meta.main) {
  const wanted = process.argv[2] === 'helm' ? helmBinary : nodeBinaries;
  try {
    process.stdout.write(`${JSON.stringify(await wanted(), undefined, 2)}\n`);
  } catch (error) {
    sayOnStandardError((error as Error).message);
    process.exitCode = 1;
  }
}
