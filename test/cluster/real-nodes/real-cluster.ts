import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Namespace, TestNet } from '../../support/namespaces.ts';
import { waitFor } from '../../support/wait-for.ts';
import { kubeconfigText } from '../control-plane/cluster.ts';
import { ControlPlane } from '../control-plane/control-plane.ts';
import { issueCertificate } from '../control-plane/pki.ts';
import { Service } from '../control-plane/service.ts';
import { type NodeBinaries, nodeBinaries } from './build.ts';
import { removeLeftCgroups } from './cgroups.ts';
import { writePauseImage } from './pause-image.ts';
import { nodeLink, RealNode } from './real-node.ts';

export interface RealClusterOptions {
  readonly binaries?: NodeBinaries;
  /** Addresses of strangers, all in one namespace; those of RFC 5737 when absent. */
  readonly strangers?: readonly string[];
  /** After this long without a word of its kubelet a Node is not Ready; Kubernetes' own, most of a minute, when absent. */
  readonly nodeGraceSeconds?: number;
}

export interface RealNodeOptions {
  /** node-a, node-b and so on when absent. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

const controlPlaneAddress = '100.80.0.10';
const defaultStrangers = ['203.0.113.7', '203.0.113.8', '203.0.113.9', '203.0.113.10'];
const accountTimeoutMs = 30_000;

/**
 * A whole cluster: a control plane with scheduler and controller manager, nodes with real pods, and strangers who are nobody's
 * neighbours; all behind one router. `await using cluster = await RealCluster.start(); await cluster.addNode()`.
 */
export class RealCluster implements AsyncDisposable {
  readonly plane: ControlPlane;
  readonly net: TestNet;
  readonly router: Namespace;
  /** Has all addresses of strangers; nodes reach it by their default route. */
  readonly stranger: Namespace;
  readonly nodes: RealNode[] = [];
  readonly #binaries: NodeBinaries;
  readonly #nodeGraceSeconds: number | undefined;
  readonly #images: string[] = [];
  #services: readonly Service[] = [];
  readonly #onExit = () => this.#stopNow();

  private constructor(parts: {
    readonly plane: ControlPlane;
    readonly net: TestNet;
    readonly router: Namespace;
    readonly stranger: Namespace;
    readonly binaries: NodeBinaries;
    readonly nodeGraceSeconds: number | undefined;
  }) {
    this.plane = parts.plane;
    this.net = parts.net;
    this.router = parts.router;
    this.stranger = parts.stranger;
    this.#binaries = parts.binaries;
    this.#nodeGraceSeconds = parts.nodeGraceSeconds;
    process.on('exit', this.#onExit);
  }

  /**
   * The control plane alone; nodes come by `addNode`.
   * @throws RealNodesUnavailable, ControlPlaneUnavailable when this machine cannot have one
   */
  static async start(options: RealClusterOptions = {}): Promise<RealCluster> {
    const binaries = options.binaries ?? (await nodeBinaries());
    removeLeftCgroups();
    const net = await TestNet.create();
    let plane: ControlPlane | undefined;
    try {
      const router = await net.namespace('router');
      await router.sysctl({ 'net.ipv4.ip_forward': 1 });
      const place = await host(net, router, 'control-plane', controlPlaneAddress);
      const stranger = await strangers(net, router, options.strangers ?? defaultStrangers);
      // Known before the API server starts, since it is told of certificates in there. Of the kind that ControlPlane clears away.
      const folder = mkdtempSync(join(tmpdir(), `pc-cluster-${process.pid}-`));
      plane = await ControlPlane.start({
        folder,
        netns: place.path,
        addresses: [controlPlaneAddress],
        binaries: binaries.controlPlane,
        // How it comes to a kubelet, for logs, exec and port-forward.
        apiServerArgs: [
          `--kubelet-client-certificate=${join(folder, 'admin.crt')}`,
          `--kubelet-client-key=${join(folder, 'admin.key')}`,
          `--kubelet-certificate-authority=${join(folder, 'ca.crt')}`,
          '--kubelet-preferred-address-types=InternalIP',
        ],
      });
      const { nodeGraceSeconds } = options;
      const cluster = new RealCluster({ plane, net, router, stranger, binaries, nodeGraceSeconds });
      mkdirSync(cluster.#nodesFolder);
      const pause = join(cluster.#nodesFolder, 'pause.tar');
      writePauseImage(pause);
      cluster.#images.push(pause);
      await cluster.#startControllers(place.path);
      return cluster;
    } catch (error) {
      await plane?.stop();
      await net[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Another node, Ready, with the images that were imported so far. */
  async addNode(options: RealNodeOptions = {}): Promise<RealNode> {
    const index = this.nodes.length + 1;
    const { name = `node-${String.fromCharCode(96 + index)}`, labels = {} } = options;
    const address = `100.80.${index}.10`;
    const podRange = `10.244.${index}.0/24`;
    const namespace = await host(this.net, this.router, name, address);
    // Nodes and pods talk across the router without being masqueraded.
    await this.router.ip(`route add ${podRange} via ${address}`);
    const { plane } = this;
    const serving = await issueCertificate(plane.folder, {
      name: `${name}-serving`,
      subject: `/O=system:nodes/CN=system:node:${name}`,
      extensions: ['extendedKeyUsage=serverAuth', `subjectAltName=DNS:${name},IP:${address},IP:127.0.0.1`],
    });
    const node = new RealNode({
      plane,
      binaries: this.#binaries,
      name,
      address,
      podRange,
      host: namespace,
      folder: join(this.#nodesFolder, name),
      labels,
      kubeletKubeconfig: await this.#kubeconfig(`${name}-kubelet`, `/O=system:nodes/CN=system:node:${name}`),
      proxyKubeconfig: await this.#kubeconfig(`${name}-proxy`, '/CN=system:kube-proxy'),
      servingCertFile: serving.certFile,
      servingKeyFile: serving.keyFile,
      // A kubelet renews its Lease four times in this.
      leaseSeconds: this.#nodeGraceSeconds ?? 40,
    });
    this.nodes.push(node);
    await node.start(this.#images);
    return node;
  }

  /** An image archive, on all nodes that are there and those that come. Pods name it, with imagePullPolicy Never or IfNotPresent. */
  async importImage(file: string): Promise<void> {
    this.#images.push(file);
    await Promise.all(this.nodes.map((node) => node.importImage(file)));
  }

  /** Brings back a node that was killed. */
  async restartNode(node: RealNode): Promise<void> {
    await node.connect(gatewayOf(node.address));
    await this.router.ip(`route replace 10.244.${node.address.split('.')[2]}.0/24 via ${node.address}`);
    await node.start([]);
  }

  /** The end of what everything has written, for a test that failed. */
  logs(): string {
    const own = this.#services.map((service) => `--- ${service.name}\n${service.logTail()}`);
    return [...own, ...this.nodes.map((node) => node.logs())].join('\n');
  }

  /** Ends all of it. Safe to call twice. */
  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
    await Promise.all(this.#services.map((service) => service.stop('SIGKILL')));
    await this.plane.stop();
    await this.net[Symbol.asyncDispose]();
    process.off('exit', this.#onExit);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  get #nodesFolder(): string {
    return join(this.plane.folder, 'nodes');
  }

  async #startControllers(netns: string): Promise<void> {
    const { plane } = this;
    const service = (name: string, argv: readonly string[]) => new Service({ name, argv, folder: plane.folder, netns });
    const flags = (kubeconfig: string) => [
      ...['kubeconfig', 'authentication-kubeconfig', 'authorization-kubeconfig'].map(
        (flag) => `--${flag}=${kubeconfig}`,
      ),
      '--leader-elect=false',
    ];
    const { kubeControllerManager, kubeScheduler } = this.#binaries;
    this.#services = [
      service('kube-controller-manager', [
        kubeControllerManager,
        ...flags(plane.kubeconfig),
        `--root-ca-file=${plane.caFile}`,
        `--service-account-private-key-file=${plane.serviceAccountKeyFile}`,
        // What it would make below /usr is no matter of tests.
        `--flex-volume-plugin-dir=${join(plane.folder, 'volume-plugins')}`,
        ...(this.#nodeGraceSeconds === undefined
          ? []
          : ['--node-monitor-period=1s', `--node-monitor-grace-period=${this.#nodeGraceSeconds}s`]),
      ]),
      service('kube-scheduler', [kubeScheduler, ...flags(plane.kubeconfig)]),
    ];
    for (const each of this.#services) each.start();
    // Without it no pod is admitted.
    await waitFor(async () => await plane.get('serviceaccount', 'default', 'default'), accountTimeoutMs, {
      what: 'the default service account',
      intervalMs: 100,
    }).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.logs()}`, { cause: error });
    });
  }

  async #kubeconfig(name: string, subject: string): Promise<string> {
    const { folder, server, caFile } = this.plane;
    const extensions = ['keyUsage=critical,digitalSignature', 'extendedKeyUsage=clientAuth'];
    const { certFile, keyFile } = await issueCertificate(folder, { name, subject, extensions });
    const file = join(folder, `${name}.kubeconfig`);
    const user = { 'client-certificate': certFile, 'client-key': keyFile };
    writeFileSync(file, kubeconfigText(server, caFile, user), { mode: 0o600 });
    return file;
  }

  /** Synchronous, since it also runs when the process exits. */
  #stopNow(): void {
    for (const node of this.nodes) node.stopNow();
    for (const service of this.#services) service.signal('SIGKILL');
  }
}

/** Behind the router, with a default route to it. */
async function host(net: TestNet, router: Namespace, name: string, address: string): Promise<Namespace> {
  const namespace = await net.namespace(name);
  const gateway = gatewayOf(address);
  await net.veth(
    { namespace, name: nodeLink, addresses: [`${address}/24`] },
    // Names of interfaces are short.
    { namespace: router, name: name.slice(0, 15), addresses: [`${gateway}/24`] },
  );
  await namespace.ip(`route add default via ${gateway}`);
  return namespace;
}

async function strangers(net: TestNet, router: Namespace, addresses: readonly string[]): Promise<Namespace> {
  const namespace = await host(net, router, 'stranger', '100.66.6.6');
  await namespace.ip(...addresses.map((address) => `addr add ${address}/32 dev lo`));
  await router.ip(...addresses.map((address) => `route add ${address}/32 via 100.66.6.6`));
  return namespace;
}

function gatewayOf(address: string): string {
  return address.replace(/\d+$/, '1');
}
