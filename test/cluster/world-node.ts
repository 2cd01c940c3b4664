import { join } from 'node:path';
import type { BlockDocument } from '../../agent/report/block-document.ts';
import { AgentProcess } from '../life/guarded-host.ts';
import { agentScript } from '../support/agent.ts';
import { Arrivals } from '../support/arrivals.ts';
import type { CommandResult } from '../support/command.ts';
import { type Namespace, nodePath, type TestNet } from '../support/namespaces.ts';
import type { AnyObject, Cluster } from './control-plane/cluster.ts';
import { Relay } from './control-plane/relay.ts';

const namespace = 'portcullis-system';
/** Of the API server in the node's namespace. */
const apiPort = 6443;
export const nodeLink = 'eth0';
/**
 * Strangers, all in one namespace that has a veth to each node (RFC 5737). Nodes reach them by their default route, whose next
 * hop, never blocked, is another address.
 */
export const strangers = ['203.0.113.7', '203.0.113.8', '203.0.113.9', '203.0.113.10'] as const;
export const [attackerAddress, bystanderAddress] = strangers;
const counterOf = (source: string): string => `from_${source.replaceAll('.', '_')}`;

export interface WorldNodeOptions {
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Further flags of its agent. */
  readonly args?: readonly string[];
}

interface Surroundings {
  readonly plane: Cluster;
  readonly net: TestNet;
  readonly attacker: Namespace;
  readonly index: number;
}

interface Parts {
  readonly surroundings: Surroundings;
  readonly name: string;
  readonly address: string;
  readonly host: Namespace;
  readonly arrivals: Arrivals;
  readonly relay: Relay;
  readonly pinPath: string;
  readonly folder: string;
  readonly kubeconfig: string;
  readonly tokenFile: string;
  readonly args: readonly string[];
}

/** A Node: a network namespace, what an agent needs in it, and what a test asks of the two. */
export class WorldNode implements AsyncDisposable {
  readonly name: string;
  readonly address: string;
  readonly host: Namespace;
  /** The agent's way to the API server. */
  readonly relay: Relay;
  readonly pinPath: string;
  readonly state: string;
  readonly breakGlassFile: string;
  /** Read again from time to time: a new token there is how it is renewed. */
  readonly tokenFile: string;
  /** The run that was started last. */
  agent: AgentProcess | undefined;
  readonly #parts: Parts;
  #earlier = '';

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.name = parts.name;
    this.address = parts.address;
    this.host = parts.host;
    this.relay = parts.relay;
    this.pinPath = parts.pinPath;
    this.tokenFile = parts.tokenFile;
    this.state = join(parts.folder, 'state');
    this.breakGlassFile = join(parts.folder, 'break-glass');
  }

  static async create(options: WorldNodeOptions & Surroundings): Promise<WorldNode> {
    const { plane, net, attacker, index, labels = {}, args = [] } = options;
    const { name = `node-${String.fromCharCode(97 + index)}` } = options;
    const host = await net.namespace(name);
    const address = `100.80.${index}.10`;
    const gateway = `100.80.${index}.1`;
    await net.veth(
      { namespace: host, name: nodeLink, addresses: [`${address}/24`] },
      { namespace: attacker, name, addresses: [`${gateway}/24`] },
    );
    await host.ip(`route add default via ${gateway}`);
    const counters = strangers.map((source) => [counterOf(source), `ip saddr ${source}`]);
    const arrivals = await Arrivals.count(host, Object.fromEntries(counters));
    await plane.createNode(name, { addresses: [address], podCIDRs: [`10.244.${index}.0/24`], labels });
    const relay = await Relay.start(plane, { netns: host.path, port: apiPort });
    const folder = net.folder();
    const token = await plane.tokenFor({ namespace, serviceAccount: 'portcullis-agent', node: name });
    const files = plane.kubeconfigForToken(folder, token, relay.server);
    const pinPath = net.pinPath();
    const surroundings = { plane, net, attacker, index };
    return new WorldNode({ surroundings, name, address, host, arrivals, relay, pinPath, folder, args, ...files });
  }

  /** Starts the agent, again too, without waiting for anything. `env` is added to its environment. */
  start(args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): AgentProcess {
    if (this.agent?.command.isRunning) throw new Error(`the agent of ${this.name} runs already`);
    this.#earlier = this.output;
    const flags = [
      ...['--kubernetes', '--node-name', this.name, '--kubeconfig', this.#parts.kubeconfig, '--state', this.state],
      ...['--pin-path', this.pinPath, '--break-glass-file', this.breakGlassFile],
      ...this.#parts.args,
    ];
    this.agent = new AgentProcess(this.host.spawnNode([agentScript, 'run', ...flags, ...args], { env }));
    return this.agent;
  }

  async stop(): Promise<void> {
    await this.agent?.stop();
  }

  /** As a crash: no chance to write anything down. */
  async kill(): Promise<void> {
    await this.agent?.crash();
  }

  /** All that its agents have written. */
  get output(): string {
    return this.#earlier + (this.agent === undefined ? '' : this.agent.command.stderr + this.agent.command.stdout);
  }

  /** What the agent reported last; undefined before the first time. */
  async report(): Promise<AnyObject | undefined> {
    return (await this.#parts.surroundings.plane.get('nodereport', this.name))?.status as AnyObject | undefined;
  }

  /** Runs one of the agent's commands on the node. */
  async ask(...args: readonly string[]): Promise<CommandResult> {
    return await this.host.exec([nodePath, agentScript, ...args, '--pin-path', this.pinPath], { allowFailure: true });
  }

  /** What is blocked here, as the agent's command tells it. */
  async blocks(): Promise<readonly BlockDocument[]> {
    const { code, stdout, stderr } = await this.ask('blocked', '-o', 'json');
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as readonly BlockDocument[];
  }

  /** Packets of a stranger that came past XDP since the start. */
  async arrived(from: string = attackerAddress): Promise<number> {
    return await this.#parts.arrivals.packets(counterOf(from));
  }

  /** Ports of the node that TCP packets of a stranger came for past XDP. */
  async arrivedPorts(from: string = attackerAddress): Promise<readonly number[]> {
    return await this.#parts.arrivals.ports(from);
  }

  /** Scans the node by nmap, as fast as it can; returns when the last probe was sent. */
  async scan({ from = attackerAddress as string, ports = '1-1000' } = {}): Promise<void> {
    const how = ['-n', '-Pn', '-sS', '-T5', '--min-rate', '2000', '--max-retries', '1', `-p${ports}`];
    await this.#parts.surroundings.attacker.exec(['nmap', ...how, '-S', from, '-e', this.name, this.address], {
      timeoutMs: 60_000,
    });
  }

  /** Whether a new connection from a stranger gets any answer: refused is one. */
  async answers(from: string = attackerAddress, port = 9): Promise<boolean> {
    const { stderr } = await this.#parts.surroundings.attacker.exec(
      ['curl', '-sS', '--interface', from, '--connect-timeout', '0.4', `http://${this.address}:${port}/`],
      { allowFailure: true },
    );
    return !/timed out|Timeout/i.test(stderr);
  }

  /** Program and mode on its interface, as the kernel tells it; undefined when there is none. */
  async xdp(): Promise<{ readonly id: number; readonly mode: number } | undefined> {
    const { stdout } = await this.host.exec(['ip', '-j', 'link', 'show', 'dev', nodeLink]);
    const [shown] = JSON.parse(stdout) as { xdp?: { mode: number; prog: { id: number } } }[];
    return shown?.xdp && { id: shown.xdp.prog.id, mode: shown.xdp.mode };
  }

  /** Its namespace and folders go with the world's net. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.agent?.command.kill();
    await this.relay[Symbol.asyncDispose]();
  }
}
