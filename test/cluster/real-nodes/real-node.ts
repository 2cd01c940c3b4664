import type { CommandOptions, CommandResult } from '../../support/command.ts';
import type { Namespace } from '../../support/namespaces.ts';
import { waitFor } from '../../support/wait-for.ts';
import type { Cluster } from '../control-plane/cluster.ts';
import { Service } from '../control-plane/service.ts';
import type { NodeBinaries } from './build.ts';
import { CgroupRoot } from './cgroups.ts';
import { containerdSocket, type NodeConfig, writeNodeConfig } from './node-config.ts';
import { NodeSpace } from './node-space.ts';

/** A node's interface to the rest of the world. */
export const nodeLink = 'eth0';

export interface RealNodeParts {
  readonly plane: Cluster;
  readonly binaries: NodeBinaries;
  readonly name: string;
  readonly address: string;
  /** IPv4 prefix of its pods; also `spec.podCIDR`. */
  readonly podRange: string;
  readonly host: Namespace;
  /** Its disk. */
  readonly folder: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly kubeletKubeconfig: string;
  readonly proxyKubeconfig: string;
  readonly servingCertFile: string;
  readonly servingKeyFile: string;
  /** How long its kubelet's Lease lasts. */
  readonly leaseSeconds: number;
}

const startTimeoutMs = 60_000;
const endTimeoutMs = 30_000;

/** A Node that is one: kubelet, containerd, runc and kube-proxy, in namespaces of its own. Pods are real. */
export class RealNode implements AsyncDisposable {
  readonly name: string;
  readonly address: string;
  /** The network namespace that the node and its hostNetwork pods are in. */
  readonly host: Namespace;
  readonly space: NodeSpace;
  readonly #parts: RealNodeParts;
  readonly #cgroups: CgroupRoot;
  readonly #config: NodeConfig;
  #services: Readonly<Record<'containerd' | 'kubelet' | 'kube-proxy', Service>> | undefined;

  constructor(parts: RealNodeParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.address = parts.address;
    this.host = parts.host;
    const { folder, name } = parts;
    this.space = new NodeSpace({ name, folder, netns: parts.host.path });
    // Names of network namespaces are of one run alone, and begin with the process whose end tells that they can go.
    this.#cgroups = CgroupRoot.create(parts.host.name);
    this.#config = writeNodeConfig({ ...parts, cgroupRoot: this.#cgroups.path, caFile: parts.plane.caFile });
  }

  /** Starts the node, or starts it again after `kill`: what was on its disk is there, what was in memory is not. */
  async start(images: readonly string[]): Promise<void> {
    await this.space.start();
    await this.startPrograms(images);
  }

  /** containerd, the images, kubelet and kube-proxy; returns when the API server has a Node that is Ready. */
  async startPrograms(images: readonly string[] = []): Promise<void> {
    const { plane, binaries, name } = this.#parts;
    const service = (program: string, argv: readonly string[]) =>
      new Service({ name: `${name}-${program}`, argv: [...this.space.enter(), ...argv], folder: plane.folder });
    this.#services = {
      containerd: service('containerd', [binaries.containerd, '--config', this.#config.containerd]),
      kubelet: service('kubelet', this.#kubeletArgv()),
      'kube-proxy': service('kube-proxy', [binaries.kubeProxy, `--config=${this.#config.kubeProxy}`]),
    };
    const { containerd, kubelet, 'kube-proxy': proxy } = this.#services;
    containerd.start();
    await this.#until('containerd', containerd, async () => (await this.ctr(['version'])).code === 0);
    for (const image of images) await this.importImage(image);
    kubelet.start();
    proxy.start();
    await this.#until('kubelet', kubelet, async () => (await plane.kubectl(['get', 'node', name])).code === 0);
    await this.#describeNode();
    await this.#until('a Node that is Ready', kubelet, async () => await this.isReady());
    await this.#until('kube-proxy', proxy, async () => {
      const probe = ['curl', '-sf', '-m2', 'http://127.0.0.1:10256/healthz'];
      return (await this.exec(probe, { allowFailure: true })).code === 0;
    });
  }

  /** kubelet alone: its pods go on. */
  async stopKubelet(): Promise<void> {
    await this.#services?.kubelet.stop('SIGKILL');
  }

  startKubelet(): void {
    this.#services?.kubelet.start();
  }

  /** Every program and every pod, at once. The machine itself goes on: what is attached in its kernel stays. */
  async killPrograms(): Promise<void> {
    await this.space.killProcesses();
    await Promise.all(this.#running().map((service) => service.stop('SIGKILL')));
  }

  /** As a power cut: nothing answers, and what was attached in its kernel is gone. `start` brings it back. */
  async kill(): Promise<void> {
    await this.host.ip(`link set ${nodeLink} down`);
    await this.space.kill();
    await Promise.all(this.#running().map((service) => service.stop('SIGKILL')));
    // A machine starts without; kubelet takes three seconds for each that is there and of no container.
    await waitFor(() => this.#cgroups.clear(), endTimeoutMs, { what: `the end of what ran on ${this.name}` });
  }

  /** The link of a node that was killed; before `start`, as a machine has its network before kubelet runs. */
  async connect(gateway: string): Promise<void> {
    // Routes went with the link.
    await this.host.ip(`link set ${nodeLink} up`, `route replace default via ${gateway}`);
  }

  async isReady(): Promise<boolean> {
    const node = await this.#parts.plane.get('node', this.name);
    const conditions: readonly { type: string; status: string }[] = node?.status?.conditions ?? [];
    return conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
  }

  /** Runs a command on the node, with its mounts, processes and network. */
  exec(
    argv: readonly string[],
    options: CommandOptions & { readonly allowFailure?: boolean } = {},
  ): Promise<CommandResult> {
    return this.space.exec(argv, options);
  }

  ctr(args: readonly string[], timeoutMs = 60_000): Promise<CommandResult> {
    const argv = [this.#parts.binaries.ctr, '--address', containerdSocket, '--namespace', 'k8s.io', ...args];
    return this.exec(argv, { allowFailure: true, timeoutMs });
  }

  /** An archive as docker, podman and buildah write it. @throws Error with what ctr says */
  async importImage(file: string): Promise<void> {
    const { code, stderr } = await this.ctr(['images', 'import', file]);
    if (code !== 0) throw new Error(`${file} could not be imported on ${this.name}: ${stderr}`);
  }

  async imageNames(): Promise<readonly string[]> {
    return (await this.ctr(['images', 'list', '--quiet'])).stdout.split('\n').filter(Boolean);
  }

  /** Where a folder of its disk, `/var/lib` or `/var/log`, is for the machine. */
  disk(path: '/var/lib' | '/var/log'): string {
    return this.space.disk(path);
  }

  /** The end of what its programs have written. */
  logs(): string {
    return Object.values(this.#services ?? {})
      .map((service) => `--- ${service.name}\n${service.logTail()}`)
      .join('\n');
  }

  /** Of the programs that run, by name; kubelet's is that of the nsenter around it. */
  get pids(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#running().map(({ name, pid }) => [name, pid!]));
  }

  async stop(): Promise<void> {
    await this.space.kill();
    await Promise.all(this.#running().map((service) => service.stop('SIGKILL')));
    this.#cgroups.remove();
  }

  /** Without waiting, for a process that exits. */
  stopNow(): void {
    this.space.killNow();
    this.#cgroups.remove();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #running(): readonly Service[] {
    return Object.values(this.#services ?? {}).filter((service) => service.isRunning);
  }

  #kubeletArgv(): readonly string[] {
    const { binaries, name, address, labels, kubeletKubeconfig } = this.#parts;
    const nodeLabels = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
    return [
      binaries.kubelet,
      `--config=${this.#config.kubelet}`,
      `--kubeconfig=${kubeletKubeconfig}`,
      `--hostname-override=${name}`,
      `--node-ip=${address}`,
      ...(nodeLabels.length === 0 ? [] : [`--node-labels=${nodeLabels.join()}`]),
      '--root-dir=/var/lib/kubelet',
      '--cert-dir=/var/lib/kubelet/pki',
    ];
  }

  /** What a cloud or a network plugin says of a Node, and no kubelet. */
  async #describeNode(): Promise<void> {
    const { plane, name, podRange } = this.#parts;
    const patch = JSON.stringify({ spec: { podCIDR: podRange, podCIDRs: [podRange] } });
    await plane.run(['patch', 'node', name, '--type=merge', '-p', patch]);
  }

  async #until(what: string, service: Service, probe: () => Promise<boolean>): Promise<void> {
    const ended = () => !service.isRunning;
    await waitFor(async () => ended() || (await probe()), startTimeoutMs, {
      what: `${what} of ${this.name}`,
      intervalMs: 50,
    }).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.logs()}`, { cause: error });
    });
    if (ended()) throw new Error(`${service.name} ended:\n${service.logTail()}`);
  }
}
