import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandResult, run } from '../../support/command.ts';
import { withLifetime } from './token.ts';

/** How to reach a control plane; plain data, which can be handed to another process. */
export interface ClusterAddress {
  /** Where kubeconfigs, keys and logs are; gone when the control plane has stopped. */
  readonly folder: string;
  readonly kubectlPath: string;
  /** `https://127.0.0.1:23456` */
  readonly server: string;
  readonly caFile: string;
  /** Of the administrator. */
  readonly kubeconfig: string;
  /** Signs service account tokens. */
  readonly serviceAccountKeyFile: string;
  /** File of the network namespace in which `server` is to be reached, this process's own when absent. */
  readonly netns?: string;
}

export interface KubectlOptions {
  readonly input?: string;
  /** 30 s when absent. */
  readonly timeoutMs?: number;
  /** The administrator's when absent. */
  readonly kubeconfig?: string;
}

export interface NodeOptions {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Become InternalIP addresses, of both families. */
  readonly addresses?: readonly string[];
  readonly podCIDRs?: readonly string[];
  /** The Ready condition: true when absent. */
  readonly ready?: boolean;
}

export interface PodOptions {
  readonly namespace: string;
  readonly node: string;
  readonly serviceAccount: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface TokenOptions {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** The token is bound to a pod on this node, which is created where it is not there; without one it names no node. */
  readonly node?: string;
  /** An hour when absent. Below ten minutes, which no API server issues, the token is signed here, by the cluster's own key. */
  readonly lifetimeSeconds?: number;
}

/** An object as kubectl takes it and gives it; tests look at any field. */
// biome-ignore lint/suspicious/noExplicitAny: the shape is the test's matter
export type AnyObject = Record<string, any>;

const minIssuedSeconds = 600;

/** A real API server and what tests ask of it. It has no kubelets: Nodes and Pods are objects that say what the test wants. */
export class Cluster implements ClusterAddress {
  readonly folder: string;
  readonly server: string;
  readonly caFile: string;
  readonly kubeconfig: string;
  readonly serviceAccountKeyFile: string;
  readonly netns?: string;
  readonly kubectlPath: string;

  constructor(address: ClusterAddress) {
    this.folder = address.folder;
    this.kubectlPath = address.kubectlPath;
    this.server = address.server;
    this.caFile = address.caFile;
    this.kubeconfig = address.kubeconfig;
    this.serviceAccountKeyFile = address.serviceAccountKeyFile;
    if (address.netns !== undefined) this.netns = address.netns;
  }

  /** Plain data of it, for another process. */
  get address(): ClusterAddress {
    const { folder, kubectlPath, server, caFile, kubeconfig, serviceAccountKeyFile, netns } = this;
    const address = { folder, kubectlPath, server, caFile, kubeconfig, serviceAccountKeyFile };
    return netns === undefined ? address : { ...address, netns };
  }

  /** Runs kubectl and returns how it ended, whatever that is. */
  async kubectl(args: readonly string[], options: KubectlOptions = {}): Promise<CommandResult> {
    const { input, timeoutMs, kubeconfig = this.kubeconfig } = options;
    const enter = this.netns === undefined ? [] : ['nsenter', `--net=${this.netns}`, '--'];
    return await run([...enter, this.kubectlPath, ...args], {
      allowFailure: true,
      env: {
        KUBECONFIG: kubeconfig,
        // Nothing of the user's own: neither a cache of other clusters nor preferences.
        KUBECACHEDIR: join(this.folder, 'kubectl-cache'),
        KUBERC: 'off',
      },
      ...(input === undefined ? {} : { input }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
  }

  /** Runs kubectl and returns what it wrote. @throws Error with its output when it does not end with 0 */
  async run(args: readonly string[], options: KubectlOptions = {}): Promise<string> {
    const { code, signal, stdout, stderr } = await this.kubectl(args, options);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ended with ${signal ?? code}\n${stderr}${stdout}`);
    return stdout;
  }

  /** Server-side apply of objects, or of YAML as it stands. */
  async apply(objects: string | AnyObject | readonly AnyObject[], flags: readonly string[] = []): Promise<string> {
    return await this.run(['apply', '--server-side', '--force-conflicts', ...flags, '-f', '-'], {
      input: asInput(objects),
    });
  }

  async create(objects: string | AnyObject | readonly AnyObject[]): Promise<string> {
    return await this.run(['create', '-f', '-'], { input: asInput(objects) });
  }

  /** An object, or undefined when there is none. */
  async get(kind: string, name: string, namespace?: string): Promise<AnyObject | undefined> {
    const text = await this.run(['get', kind, name, '-o', 'json', '--ignore-not-found', ...inNamespace(namespace)]);
    return text.trim() === '' ? undefined : (JSON.parse(text) as AnyObject);
  }

  async list(kind: string, flags: readonly string[] = []): Promise<readonly AnyObject[]> {
    return (JSON.parse(await this.run(['get', kind, '-o', 'json', ...flags])) as { items: AnyObject[] }).items;
  }

  /** At once, since no kubelet ends a pod in order. A namespace stays for ever where no controller manager empties it. */
  async delete(kind: string, name: string, namespace?: string): Promise<void> {
    const atOnce = ['--ignore-not-found', '--force', '--grace-period=0'];
    await this.run(['delete', kind, name, ...atOnce, ...inNamespace(namespace)]);
  }

  /** Applies the CRDs in a folder and waits until they are served. */
  async applyCrds(folder: string): Promise<void> {
    await this.run(['apply', '--server-side', '--force-conflicts', '-f', folder]);
    await this.run(['wait', '--for=condition=Established', '--timeout=30s', '-f', folder], { timeoutMs: 40_000 });
  }

  /** Applies all that is in a folder, its namespace.yaml first: kubectl goes by names of files. */
  async applyFolder(folder: string): Promise<void> {
    const namespace = join(folder, 'namespace.yaml');
    const files = [...(existsSync(namespace) ? [namespace] : []), folder];
    for (const file of files) await this.run(['apply', '--server-side', '--force-conflicts', '-f', file]);
  }

  /** A Node without a kubelet. Returns its uid. */
  async createNode(name: string, options: NodeOptions = {}): Promise<string> {
    const { labels, annotations, addresses = [], podCIDRs = [], ready = true } = options;
    const node = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name, labels: { 'kubernetes.io/hostname': name, ...labels }, annotations },
      spec: podCIDRs.length === 0 ? {} : { podCIDR: podCIDRs[0], podCIDRs },
      status: {
        addresses: [
          ...addresses.map((address) => ({ type: 'InternalIP', address })),
          { type: 'Hostname', address: name },
        ],
        conditions: [readyCondition(ready)],
      },
    };
    const made = await this.run(['create', '-o', 'json', '-f', '-'], { input: JSON.stringify(node) });
    return (JSON.parse(made) as AnyObject).metadata.uid as string;
  }

  /** As a kubelet that reports, or one that went silent. */
  async setNodeReady(name: string, ready: boolean): Promise<void> {
    const patch = JSON.stringify({ status: { conditions: [readyCondition(ready)] } });
    await this.run(['patch', 'node', name, '--subresource=status', '--type=strategic', '-p', patch]);
  }

  async createServiceAccount(namespace: string, name: string): Promise<void> {
    await this.apply({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } });
  }

  /** A Pod that is bound to a node and never runs. Its service account must be there. */
  async createPodOnNode(name: string, { namespace, node, serviceAccount, labels }: PodOptions): Promise<void> {
    await this.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace, labels },
      spec: {
        nodeName: node,
        serviceAccountName: serviceAccount,
        automountServiceAccountToken: false,
        containers: [{ name: 'agent', image: 'registry.invalid/never-pulled' }],
      },
    });
  }

  /** A token as a pod gets it, with the node it runs on among its claims. */
  async tokenFor({ namespace, serviceAccount, node, lifetimeSeconds = 3_600 }: TokenOptions): Promise<string> {
    const binding: string[] = [];
    if (node !== undefined) {
      const pod = `${serviceAccount}-${node}`.slice(0, 253);
      if ((await this.get('pod', pod, namespace)) === undefined)
        await this.createPodOnNode(pod, { namespace, node, serviceAccount });
      binding.push('--bound-object-kind=Pod', `--bound-object-name=${pod}`);
    }
    const duration = `--duration=${Math.max(lifetimeSeconds, minIssuedSeconds)}s`;
    const args = ['create', 'token', serviceAccount, ...inNamespace(namespace), ...binding, duration];
    const token = (await this.run(args)).trim();
    return lifetimeSeconds < minIssuedSeconds
      ? withLifetime(token, lifetimeSeconds, this.serviceAccountKeyFile)
      : token;
  }

  /**
   * Writes a token file, and a kubeconfig that names it, into `folder`. Clients read the token file again from time to time, so
   * writing a new token there is how it is renewed.
   * @param server when the API server is reached by another address than `server`
   */
  kubeconfigForToken(
    folder: string,
    token: string,
    server: string = this.server,
  ): { readonly kubeconfig: string; readonly tokenFile: string } {
    mkdirSync(folder, { recursive: true });
    const tokenFile = join(folder, 'token');
    const kubeconfig = join(folder, 'kubeconfig');
    writeFileSync(tokenFile, token, { mode: 0o600 });
    writeFileSync(kubeconfig, kubeconfigText(server, this.caFile, { tokenFile }), { mode: 0o600 });
    return { kubeconfig, tokenFile };
  }
}

/** A kubeconfig of one cluster and one user; JSON, which is YAML too. */
export function kubeconfigText(server: string, caFile: string, user: Readonly<Record<string, string>>): string {
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority': caFile } }],
    users: [{ name: 'test', user }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    'current-context': 'test',
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

function readyCondition(ready: boolean): AnyObject {
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  return {
    type: 'Ready',
    status: ready ? 'True' : 'Unknown',
    reason: ready ? 'KubeletReady' : 'NodeStatusUnknown',
    message: ready ? 'kubelet is posting ready status' : 'Kubelet stopped posting node status.',
    lastHeartbeatTime: now,
    lastTransitionTime: now,
  };
}

function asInput(objects: string | AnyObject | readonly AnyObject[]): string {
  if (typeof objects === 'string') return objects;
  if (!Array.isArray(objects)) return JSON.stringify(objects);
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
}

function inNamespace(namespace: string | undefined): readonly string[] {
  return namespace === undefined ? [] : ['--namespace', namespace];
}
