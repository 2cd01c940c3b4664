import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BlockDocument } from '../../agent/report/block-document.ts';
import type { CommandResult, RunningCommand } from './command.ts';
import { type Namespace, nodePath, type TestNet } from './namespaces.ts';
import { waitFor } from './wait-for.ts';

export const agentScript = join(import.meta.dirname, '..', '..', 'bin', 'portcullis-agent.mjs');

/** One line of the agent's log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly event?: string };

export interface AgentOptions {
  /** Objects of the policy directory, by the name of their file without its ending. */
  readonly policies: Readonly<Record<string, unknown>>;
  /** Further flags of `run`. */
  readonly args?: readonly string[];
  /** How long it may take to enforce; 20 s when absent. */
  readonly startTimeoutMs?: number;
  /** Text of the resolv.conf that this agent alone sees; the machine's own when absent. */
  readonly resolvConf?: string;
}

/** A PortScanPolicy; parts of its spec that are left out are the API's defaults, but for the mode, which has none. */
export function portScanPolicy(interfaces: readonly string[], spec: object = {}): unknown {
  return {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'PortScanPolicy',
    metadata: { name: 'guard' },
    spec: { mode: 'Enforce', interfaces: { names: interfaces }, ...spec },
  };
}

/** An agent in a namespace of a TestNet, with folders of its own that go with the net. */
export class Agent {
  readonly command: RunningCommand;
  readonly #namespace: Namespace;
  readonly #policies: string;
  readonly #pinPath: string;

  private constructor(command: RunningCommand, namespace: Namespace, policies: string, pinPath: string) {
    this.command = command;
    this.#namespace = namespace;
    this.#policies = policies;
    this.#pinPath = pinPath;
  }

  /** Starts an agent and waits until it enforces; throws with what it wrote when it does not. */
  static async start(net: TestNet, namespace: Namespace, options: AgentOptions): Promise<Agent> {
    const folder = net.folder();
    const policies = join(folder, 'policies');
    mkdirSync(policies);
    for (const [name, object] of Object.entries(options.policies)) writePolicy(policies, name, object);
    const pinPath = net.pinPath();
    const argv = [nodePath, agentScript, 'run', '--policies', policies, '--pin-path', pinPath, ...(options.args ?? [])];
    if (options.resolvConf !== undefined) {
      const file = join(folder, 'resolv.conf');
      writeFileSync(file, options.resolvConf);
      // A mount namespace of its own: the machine's file stays what it is.
      argv.unshift('unshare', '--mount', 'sh', '-c', `mount --bind ${file} /etc/resolv.conf && exec "$0" "$@"`);
    }
    const agent = new Agent(namespace.spawn(argv), namespace, policies, pinPath);
    await agent.until(({ event }) => event === 'enforcing', 'the agent to enforce', options.startTimeoutMs);
    return agent;
  }

  /** All lines it has logged so far. */
  get log(): readonly LogLine[] {
    return this.command.stdout
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as LogLine);
  }

  events(event: string): readonly LogLine[] {
    return this.log.filter((line) => line.event === event);
  }

  /** Waits for a line. Throws with all that the agent wrote when it ends or does not write it in time. */
  async until(matches: (line: LogLine) => boolean, what: string, timeoutMs = 20_000): Promise<LogLine> {
    try {
      await waitFor(() => !this.command.isRunning || this.log.some(matches), timeoutMs, { what });
      const line = this.log.find(matches);
      if (line === undefined) throw new Error(`${what}: the agent ended before`);
      return line;
    } catch (error) {
      throw new Error(`${(error as Error).message}; the agent wrote:\n${this.command.stderr}${this.command.stdout}`);
    }
  }

  /** Writes a policy file whole, as a tool that renames does. */
  write(name: string, object: unknown): void {
    writePolicy(this.#policies, name, object);
  }

  remove(name: string): void {
    rmSync(join(this.#policies, `${name}.yaml`));
  }

  /** Runs one of the agent's commands beside it. */
  async ask(...args: readonly string[]): Promise<CommandResult> {
    return await this.#namespace.exec([nodePath, agentScript, ...args, '--pin-path', this.#pinPath], {
      allowFailure: true,
      // On an emulated CPU starting Node.js alone takes seconds.
      timeoutMs: 120_000,
    });
  }

  /** What is blocked, as `blocked -o json` tells it. */
  async blocks(): Promise<readonly BlockDocument[]> {
    const { code, stdout, stderr } = await this.ask('blocked', '-o', 'json');
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as readonly BlockDocument[];
  }

  /** A series of a scrape, by its name with labels; undefined when it is not there. */
  async metric(series: string): Promise<number | undefined> {
    const { stdout } = await this.#namespace.exec(['curl', '-sSf', 'http://127.0.0.1:9469/metrics']);
    const line = stdout.split('\n').find((each) => each.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<CommandResult> {
    return await this.command.stop(signal);
  }
}

function writePolicy(folder: string, name: string, object: unknown): void {
  const file = join(folder, `${name}.yaml`);
  // JSON is YAML too. The agent reads no file that ends in .tmp.
  writeFileSync(`${file}.tmp`, typeof object === 'string' ? object : JSON.stringify(object, undefined, 2));
  renameSync(`${file}.tmp`, file);
}
