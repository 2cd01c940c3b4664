import type { RealNode } from '../cluster/real-nodes/real-node.ts';
import { nodeLink } from '../cluster/real-nodes/real-node.ts';
import { attackerAddress, strangers } from '../cluster/world-node.ts';
import { Arrivals } from '../support/arrivals.ts';
import type { Namespace } from '../support/namespaces.ts';

export const pinPath = '/sys/fs/bpf/portcullis';
/** Of the chart; on the node's own disk. */
export const statePath = '/var/lib/portcullis';
const counterOf = (source: string): string => `from_${source.replaceAll('.', '_')}`;

/** A real node as strangers see it, what comes past XDP there, and what the agent's pod left in its kernel. */
export class GuardedNode {
  readonly real: RealNode;
  readonly #arrivals: Arrivals;
  readonly #stranger: Namespace;

  private constructor(real: RealNode, arrivals: Arrivals, stranger: Namespace) {
    this.real = real;
    this.#arrivals = arrivals;
    this.#stranger = stranger;
  }

  static async create(real: RealNode, stranger: Namespace): Promise<GuardedNode> {
    const counters = strangers.map((source) => [counterOf(source), `ip saddr ${source}`]);
    return new GuardedNode(real, await Arrivals.count(real.host, Object.fromEntries(counters)), stranger);
  }

  get name(): string {
    return this.real.name;
  }

  get address(): string {
    return this.real.address;
  }

  /** Packets of a stranger that came past XDP since the node was made. */
  async arrived(from: string = attackerAddress): Promise<number> {
    return await this.#arrivals.packets(counterOf(from));
  }

  /** Ports of the node that TCP packets of a stranger came for past XDP. */
  async arrivedPorts(from: string = attackerAddress): Promise<readonly number[]> {
    return await this.#arrivals.ports(from);
  }

  /** Scans the node by nmap, as fast as it can; returns when the last probe was sent. */
  async scan({ from = attackerAddress as string, ports = '1-1000' } = {}): Promise<void> {
    const how = ['-n', '-Pn', '-sS', '-T5', '--min-rate', '2000', '--max-retries', '1', `-p${ports}`];
    await this.#stranger.exec(['nmap', ...how, '-S', from, '-e', nodeLink, this.address], { timeoutMs: 60_000 });
  }

  /** Whether a new connection from a stranger gets any answer: refused is one. */
  async answers(from: string = attackerAddress, port = 9): Promise<boolean> {
    const { stderr } = await this.#stranger.exec(
      ['curl', '-sS', '--interface', from, '--connect-timeout', '0.5', `http://${this.address}:${port}/`],
      { allowFailure: true },
    );
    return !/timed out|Timeout/i.test(stderr);
  }

  /** Program and mode on its interface, as the kernel tells it; undefined when there is none. */
  async xdp(): Promise<{ readonly id: number; readonly mode: number } | undefined> {
    const { stdout } = await this.real.host.exec(['ip', '-j', 'link', 'show', 'dev', nodeLink]);
    const [shown] = JSON.parse(stdout) as { xdp?: { mode: number; prog: { id: number } } }[];
    return shown?.xdp && { id: shown.xdp.prog.id, mode: shown.xdp.mode };
  }

  /** What of Portcullis is in its kernel and on its disk: interfaces with XDP, pins, files of the state folder. */
  async remains(): Promise<readonly string[]> {
    const links = JSON.parse((await this.real.host.exec(['ip', '-j', 'link'])).stdout) as { ifname: string }[];
    const attached = links.filter((link) => 'xdp' in link).map(({ ifname }) => `xdp on ${ifname}`);
    const find = ['find', pinPath, statePath, '-mindepth', '1'];
    const { stdout } = await this.real.exec(find, { allowFailure: true });
    return [...attached, ...stdout.split('\n').filter(Boolean)];
  }

  /** The agent of its pod, as the node sees it. @throws Error when none runs, or more than one */
  async agentPid(): Promise<number> {
    const { stdout } = await this.real.exec(['pgrep', '-f', 'portcullis-agent.mjs run'], { allowFailure: true });
    const pids = stdout.trim().split('\n').filter(Boolean);
    if (pids.length !== 1) throw new Error(`${this.name} runs ${pids.length} agents`);
    return Number(pids[0]);
  }
}
