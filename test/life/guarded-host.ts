import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BlockDocument } from '../../agent/report/block-document.ts';
import type { StatusDocument } from '../../agent/report/status.ts';
import { agentScript, type LogLine } from '../support/agent.ts';
import { Arrivals } from '../support/arrivals.ts';
import type { CommandResult } from '../support/command.ts';
import { type Namespace, nodePath, type RunningCommand, TestNet, waitFor } from '../support/namespaces.ts';

export const victimAddress = '192.0.2.1';
export const attackerAddress = '192.0.2.2';
/** Scans nobody. */
export const bystanderAddress = '192.0.2.3';
/** For sources that a test blocks by hand or lists. */
export const otherAddresses = ['192.0.2.4', '192.0.2.5'] as const;
const sources = [attackerAddress, bystanderAddress, ...otherAddresses];
const counterOf = (source: string): string => `from_${source.replaceAll('.', '_')}`;
export const victimLink = 'guard0';
export const metricsUrl = 'http://127.0.0.1:9469/metrics';
/** What the policies of these tests ask for: few targets, so that a scan is a handful of packets. */
export const distinctTargets = 5;

/** Parts of a PortScanPolicy's spec that a test wants otherwise. */
export interface SpecChanges {
  readonly priority?: number;
  readonly mode?: 'Enforce' | 'Monitor';
  readonly nodeSelector?: unknown;
  readonly interfaces?: unknown;
  readonly detection?: Readonly<Record<string, unknown>>;
  readonly block?: Readonly<Record<string, unknown>>;
  readonly allow?: readonly unknown[];
  readonly connectionLog?: 'None' | 'All';
}

export function portScanPolicy(name: string, changes: SpecChanges = {}): unknown {
  const { detection, block, ...rest } = changes;
  return {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'PortScanPolicy',
    metadata: { name },
    spec: {
      mode: 'Enforce',
      interfaces: { names: [victimLink] },
      detection: { distinctTargets, ...detection },
      block: { duration: '10m', unprovenDuration: '5m', ...block },
      ...rest,
    },
  };
}

export function ipBlocklist(name: string, entries: readonly unknown[], changes: object = {}): unknown {
  return {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'IpBlocklist',
    metadata: { name },
    spec: { interfaces: { names: [victimLink] }, entries, ...changes },
  };
}

/** An agent that runs, or ran, on the host. */
export class AgentProcess {
  readonly command: RunningCommand;

  constructor(command: RunningCommand) {
    this.command = command;
  }

  get log(): readonly LogLine[] {
    return this.command.stdout
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as LogLine);
  }

  events(event: string): readonly LogLine[] {
    return this.log.filter((line) => line.event === event);
  }

  /** Findings it told, whether they still hold or not. */
  findings(code: string): readonly LogLine[] {
    return this.events('finding').filter((line) => line.code === code);
  }

  /** Waits for a line; says what the agent wrote when it does not come. */
  async until(matches: (line: LogLine) => boolean, what: string, timeoutMs = 20_000): Promise<LogLine> {
    const found = () => this.log.find(matches);
    const ended = this.command.ended.then(() => {
      const line = found();
      if (line === undefined) throw new Error(`${what}: the agent ended before`);
      return line;
    });
    try {
      return await Promise.race([waitFor(found, timeoutMs, { what }), ended]);
    } catch (error) {
      throw new Error(`${(error as Error).message}; the agent wrote:\n${this.command.stderr}${this.command.stdout}`);
    }
  }

  /** The first time it told a finding. */
  async finding(code: string): Promise<LogLine> {
    return await this.until((line) => line.event === 'finding' && line.code === code, `the finding ${code}`, 5_000);
  }

  async enforcing(): Promise<this> {
    await this.until((line) => line.event === 'enforcing', 'the agent to enforce');
    return this;
  }

  /** How often policies were applied, the first time included. Needs --log-level debug. */
  get applied(): number {
    return this.events('applied').length + this.events('enforcing').length;
  }

  /** As a crash: no chance to write anything down. */
  async crash(): Promise<void> {
    await this.command.stop('SIGKILL');
  }

  async stop(): Promise<CommandResult> {
    return await this.command.stop('SIGTERM');
  }
}

/**
 * A host with an agent's folders, and two others on its network that send what a test makes them send:
 * `await using host = await GuardedHost.create()`.
 */
export class GuardedHost implements AsyncDisposable {
  readonly net: TestNet;
  readonly victim: Namespace;
  readonly attacker: Namespace;
  readonly policies: string;
  readonly statusFile: string;
  pinPath: string;
  readonly #arrivals: Arrivals;

  private constructor(net: TestNet, victim: Namespace, attacker: Namespace, arrivals: Arrivals) {
    this.#arrivals = arrivals;
    this.net = net;
    this.victim = victim;
    this.attacker = attacker;
    const folder = net.folder();
    this.policies = join(folder, 'policies');
    mkdirSync(this.policies);
    this.statusFile = join(folder, 'status.json');
    this.pinPath = net.pinPath();
  }

  static async create(): Promise<GuardedHost> {
    const net = await TestNet.create();
    try {
      const victim = await net.namespace('victim');
      const attacker = await net.namespace('attacker');
      await net.veth(
        { namespace: victim, name: victimLink, addresses: [`${victimAddress}/24`, '2001:db8::1/64'] },
        {
          namespace: attacker,
          name: 'out0',
          addresses: [...sources.map((source) => `${source}/24`), '2001:db8::2/64'],
        },
      );
      const arrivals = await Arrivals.count(
        victim,
        Object.fromEntries(sources.map((source) => [counterOf(source), `ip saddr ${source}`])),
      );
      return new GuardedHost(net, victim, attacker, arrivals);
    } catch (error) {
      await net[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Writes an object whole, as a tool that renames does. */
  write(name: string, object: unknown): void {
    const file = join(this.policies, `${name}.yaml`);
    const text = typeof object === 'string' ? object : JSON.stringify(object, undefined, 2);
    writeFileSync(`${file}.tmp`, text);
    renameSync(`${file}.tmp`, file);
  }

  remove(name: string): void {
    rmSync(join(this.policies, `${name}.yaml`));
  }

  /** Starts an agent without waiting for anything. */
  launch(args: readonly string[] = []): AgentProcess {
    // What an earlier agent reported must not be taken for what this one does.
    rmSync(this.statusFile, { force: true });
    const own = ['--policies', this.policies, '--pin-path', this.pinPath, '--status-file', this.statusFile];
    return new AgentProcess(this.victim.spawnNode([agentScript, 'run', ...own, ...args]));
  }

  async start(args: readonly string[] = []): Promise<AgentProcess> {
    return await this.launch(args).enforcing();
  }

  /** Runs one of the agent's commands on the host. */
  async ask(args: readonly string[], pinPath: string = this.pinPath): Promise<CommandResult> {
    return await this.victim.exec([nodePath, agentScript, ...args, '--pin-path', pinPath], { allowFailure: true });
  }

  /** What is blocked, as the command tells it. */
  async blocks(): Promise<readonly BlockDocument[]> {
    const { code, stdout, stderr } = await this.ask(['blocked', '-o', 'json']);
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as readonly BlockDocument[];
  }

  /** The status file, undefined before it was written. */
  status(): StatusDocument | undefined {
    try {
      return JSON.parse(readFileSync(this.statusFile, 'utf8')) as StatusDocument;
    } catch {
      return undefined;
    }
  }

  async metrics(): Promise<string> {
    return (await this.victim.exec(['curl', '-sSf', metricsUrl])).stdout;
  }

  /** Packets of a source that came past XDP since the start. */
  reached(from: string = attackerAddress): Promise<number> {
    return this.#arrivals.packets(counterOf(from));
  }

  /** One SYN to each of `count` ports, beginning with `first`. */
  async scan(count: number, { first = 1000, from = attackerAddress, to = victimAddress } = {}): Promise<void> {
    // hping3 ends with 1 when nothing answers.
    await this.attacker.exec(
      ['hping3', '-q', '-n', '-S', '-a', from, '-p', `++${first}`, '-c', `${count}`, '-i', 'u2000', to],
      { allowFailure: true },
    );
  }

  /** Whether a new connection from `from` to the host gets any answer: refused is one. */
  async answers(from: string = attackerAddress, port = 9): Promise<boolean> {
    const to = from.includes(':') ? '[2001:db8::1]' : victimAddress;
    const { stderr } = await this.attacker.exec(
      ['curl', '-s', '-S', '--interface', from, '--connect-timeout', '0.4', `http://${to}:${port}/`],
      { allowFailure: true },
    );
    return !/timed out|Timeout/i.test(stderr);
  }

  /** Program and mode on an interface of a namespace, as the kernel tells it. */
  async xdp(
    link: string = victimLink,
    namespace: Namespace = this.victim,
  ): Promise<{ readonly id: number; readonly mode: 'native' | 'generic' } | undefined> {
    const { code, stdout } = await namespace.exec(['ip', '-j', 'link', 'show', 'dev', link], { allowFailure: true });
    if (code !== 0) return undefined;
    const [shown] = JSON.parse(stdout) as { xdp?: { mode: number; prog: { id: number } } }[];
    // XDP_ATTACHED_DRV is 1 and XDP_ATTACHED_SKB is 2, include/uapi/linux/if_link.h.
    return shown?.xdp && { id: shown.xdp.prog.id, mode: shown.xdp.mode === 1 ? 'native' : 'generic' };
  }

  /** Packets that the attacker's end has sent. */
  async sent(): Promise<number> {
    const { stdout } = await this.attacker.exec(['cat', '/proc/net/dev']);
    const fields = /out0:\s*(.*)/.exec(stdout)![1]!.trim().split(/\s+/);
    return Number(fields[9]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.net[Symbol.asyncDispose]();
  }
}

/** A series of a scrape; undefined when it is not there. */
export function metric(text: string, series: string): number | undefined {
  const line = text.split('\n').find((each) => each.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}
