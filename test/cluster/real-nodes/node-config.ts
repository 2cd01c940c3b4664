import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NodeBinaries } from './build.ts';
import { pauseImage } from './pause-image.ts';

export const containerdSocket = '/run/containerd/containerd.sock';

export interface NodeConfigOptions {
  /** Of the node; gets the files. */
  readonly folder: string;
  readonly name: string;
  readonly binaries: NodeBinaries;
  /** IPv4 prefix of its pods. */
  readonly podRange: string;
  readonly cgroupRoot: string;
  readonly caFile: string;
  readonly servingCertFile: string;
  readonly servingKeyFile: string;
  readonly proxyKubeconfig: string;
  readonly leaseSeconds: number;
}

export interface NodeConfig {
  readonly containerd: string;
  readonly kubelet: string;
  readonly kubeProxy: string;
}

/** Writes the configuration of a node's programs. JSON, which is YAML too. */
export function writeNodeConfig(options: NodeConfigOptions): NodeConfig {
  const { folder } = options;
  const network = join(folder, 'cni');
  mkdirSync(network, { recursive: true });
  writeFileSync(join(network, '10-pods.conflist'), JSON.stringify(podNetwork(options.podRange)));
  const files = {
    containerd: join(folder, 'containerd.toml'),
    kubelet: join(folder, 'kubelet.json'),
    kubeProxy: join(folder, 'kube-proxy.json'),
  };
  writeFileSync(files.containerd, containerdConfig(options, network));
  writeFileSync(files.kubelet, JSON.stringify(kubeletConfig(options), undefined, 2));
  writeFileSync(files.kubeProxy, JSON.stringify(kubeProxyConfig(options), undefined, 2));
  return files;
}

/** A veth for each pod, routed: the router knows the way to each node's range, so nothing needs to be masqueraded. */
function podNetwork(podRange: string): object {
  const ipam = {
    type: 'host-local',
    ranges: [[{ subnet: podRange }]],
    routes: [{ dst: '0.0.0.0/0' }],
    dataDir: '/run/cni',
  };
  return { cniVersion: '1.0.0', name: 'pods', plugins: [{ type: 'ptp', ipMasq: false, ipam }] };
}

/** Version 2 of the file, which 1.6 reads and 2.x takes too. */
function containerdConfig({ folder, binaries }: NodeConfigOptions, network: string): string {
  return `version = 2
root = '${join(folder, 'containerd')}'
state = '/run/containerd'
disabled_plugins = ['io.containerd.snapshotter.v1.btrfs', 'io.containerd.snapshotter.v1.zfs', 'io.containerd.snapshotter.v1.aufs', 'io.containerd.snapshotter.v1.devmapper']
[grpc]
  address = '${containerdSocket}'
[plugins.'io.containerd.internal.v1.opt']
  path = '${join(folder, 'containerd-opt')}'
[plugins.'io.containerd.grpc.v1.cri']
  sandbox_image = '${pauseImage}'
  # Root in a container or a small virtual machine often has no CAP_SYS_RESOURCE, without which no sandbox starts otherwise.
  restrict_oom_score_adj = true
[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc.options]
  BinaryName = '${binaries.runc}'
[plugins.'io.containerd.grpc.v1.cri'.cni]
  bin_dir = '${binaries.cniPlugins}'
  conf_dir = '${network}'
`;
}

function kubeletConfig(options: NodeConfigOptions): object {
  const { folder, cgroupRoot, caFile, servingCertFile, servingKeyFile, leaseSeconds } = options;
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    // Kubernetes gives cgroup v1 up; the machine that tests run on may have nothing else.
    failCgroupV1: false,
    failSwapOn: false,
    cgroupDriver: 'cgroupfs',
    cgroupRoot,
    containerRuntimeEndpoint: `unix://${containerdSocket}`,
    tlsCertFile: servingCertFile,
    tlsPrivateKeyFile: servingKeyFile,
    authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: caFile } },
    authorization: { mode: 'Webhook' },
    clusterDomain: 'cluster.local',
    resolvConf: '',
    nodeLeaseDurationSeconds: leaseSeconds,
    volumePluginDir: join(folder, 'volume-plugins'),
    // The disk is the machine's: how full it is says nothing about the node.
    evictionHard: {
      'memory.available': '0%',
      'nodefs.available': '0%',
      'nodefs.inodesFree': '0%',
      'imagefs.available': '0%',
      'imagefs.inodesFree': '0%',
    },
    // No image comes back from a registry.
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    makeIPTablesUtilChains: false,
  };
}

function kubeProxyConfig({ name, podRange, proxyKubeconfig }: NodeConfigOptions): object {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'nftables',
    bindAddress: '127.0.0.1',
    hostnameOverride: name,
    clientConnection: { kubeconfig: proxyKubeconfig },
    clusterCIDR: podRange,
    // All of these are the machine's.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
    healthzBindAddress: '127.0.0.1:10256',
    metricsBindAddress: '127.0.0.1:10249',
  };
}
