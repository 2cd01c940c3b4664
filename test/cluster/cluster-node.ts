import { join } from 'node:path';
import { AgentProcess, GuardedHost, victimAddress } from '../life/guarded-host.ts';
import { agentScript } from '../support/agent.ts';
import type { AnyObject, Cluster } from './control-plane/cluster.ts';
import { Relay } from './control-plane/relay.ts';

const namespace = 'portcullis-system';
/** Of the API server in the node's namespace. */
const apiPort = 6443;

export interface ClusterNodeOptions {
  readonly labels?: Readonly<Record<string, string>>;
}

/**
 * A Node with an agent of its own: a network namespace with a neighbour that attacks it, a way to the API server that can be
 * cut, and a real token bound to a pod on the node. `await using node = await ClusterNode.create(cluster, 'n1')`.
 */
export class ClusterNode implements AsyncDisposable {
  readonly name: string;
  readonly cluster: Cluster;
  readonly host: GuardedHost;
  readonly relay: Relay;
  readonly state: string;
  readonly breakGlassFile: string;
  readonly tokenFile: string;
  readonly #kubeconfig: string;

  private constructor(parts: {
    name: string;
    cluster: Cluster;
    host: GuardedHost;
    relay: Relay;
    folder: string;
    kubeconfig: string;
    tokenFile: string;
  }) {
    this.name = parts.name;
    this.cluster = parts.cluster;
    this.host = parts.host;
    this.relay = parts.relay;
    this.state = join(parts.folder, 'state');
    this.breakGlassFile = join(parts.folder, 'break-glass');
    this.#kubeconfig = parts.kubeconfig;
    this.tokenFile = parts.tokenFile;
  }

  static async create(cluster: Cluster, name: string, options: ClusterNodeOptions = {}): Promise<ClusterNode> {
    const host = await GuardedHost.create();
    try {
      await cluster.createNode(name, { addresses: [victimAddress], ...options });
      const relay = await Relay.start(cluster, { netns: host.victim.path, port: apiPort });
      const folder = host.net.folder();
      const token = await cluster.tokenFor({ namespace, serviceAccount: 'portcullis-agent', node: name });
      const files = cluster.kubeconfigForToken(folder, token, relay.server);
      return new ClusterNode({ name, cluster, host, relay, folder, ...files });
    } catch (error) {
      await host[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Starts an agent without waiting for anything. */
  launch(args: readonly string[] = []): AgentProcess {
    const own = [
      ...['--kubernetes', '--node-name', this.name, '--kubeconfig', this.#kubeconfig, '--state', this.state],
      ...['--pin-path', this.host.pinPath, '--break-glass-file', this.breakGlassFile],
      ...['--status-file', this.host.statusFile],
    ];
    return new AgentProcess(this.host.victim.spawnNode([agentScript, 'run', ...own, ...args]));
  }

  /** What the agent reported; undefined before the first time. */
  async report(): Promise<AnyObject | undefined> {
    return (await this.cluster.get('nodereport', this.name))?.status as AnyObject | undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.relay[Symbol.asyncDispose]();
    await this.host[Symbol.asyncDispose]();
    await this.cluster.delete('nodereport', this.name);
    await this.cluster.delete('node', this.name);
    await this.cluster.delete('pod', `portcullis-agent-${this.name}`, namespace);
  }
}
