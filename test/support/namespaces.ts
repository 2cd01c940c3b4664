import { randomInt } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CommandOptions, type CommandResult, finish, nodePath, RunningCommand, run } from './command.ts';
import { createPinFolder, removeFolder, removeLeftovers, removeNamespace } from './leftovers.ts';

export { nodePath, RunningCommand } from './command.ts';
export { waitFor } from './wait-for.ts';

/** One end of a veth pair. */
export interface VethEnd {
  readonly namespace: Namespace;
  /** At most 15 bytes. */
  readonly name: string;
  /** With prefix length, both families: `192.0.2.1/24`, `2001:db8::1/64`. */
  readonly addresses?: readonly string[];
  readonly mac?: string;
}

export interface VethOptions {
  /** 1,500 when absent. */
  readonly mtu?: number;
  /**
   * Whether GRO, segmentation and checksum offload stay on, as on a container's own interface. Off when absent: what is sent
   * is then what a wire would carry.
   */
  readonly offloads?: boolean;
}

/** A network namespace of a TestNet. The mount namespace stays the machine's, so that bpffs is the same inside. */
export class Namespace {
  readonly name: string;
  readonly #track: (command: RunningCommand) => RunningCommand;

  constructor(name: string, track: (command: RunningCommand) => RunningCommand) {
    this.name = name;
    this.#track = track;
  }

  /** For `nsenter --net=` and `setns`. */
  get path(): string {
    return `/run/netns/${this.name}`;
  }

  /** Starts a command inside; it is killed at the end of the net at the latest. */
  spawn(argv: readonly string[], options: Omit<CommandOptions, 'timeoutMs'> = {}): RunningCommand {
    return this.#track(new RunningCommand(['nsenter', `--net=${this.path}`, '--', ...argv], options));
  }

  /** Starts a script of this repository under its own Node.js. */
  spawnNode(args: readonly string[], options: Omit<CommandOptions, 'timeoutMs'> = {}): RunningCommand {
    return this.spawn([nodePath, ...args], options);
  }

  /** Runs a command to its end; throws when that is not 0, unless `allowFailure`. */
  exec(
    argv: readonly string[],
    options: CommandOptions & { readonly allowFailure?: boolean } = {},
  ): Promise<CommandResult> {
    return finish(this.spawn(argv, options), options);
  }

  /** Many `ip` commands in one process: `link set lo up`, `route add ...`. */
  async ip(...commands: readonly string[]): Promise<void> {
    await this.exec(['ip', '-batch', '-'], { input: `${commands.join('\n')}\n` });
  }

  /** Sets `net.*` values of this namespace, by their names with dots or slashes. */
  async sysctl(settings: Readonly<Record<string, string | number>>): Promise<void> {
    const args = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
    await this.exec(['sysctl', '-qw', ...args]);
  }
}

/**
 * Network namespaces, veth pairs, pins and folders that exist for one test and are gone after it:
 * `await using net = await TestNet.create()`. What a killed run left behind goes when the next one starts. Needs root.
 */
export class TestNet implements AsyncDisposable {
  readonly #namespaces: Namespace[] = [];
  readonly #commands = new Set<RunningCommand>();
  readonly #folders: string[] = [];
  readonly #onExit = () => this.#removeAll();

  private constructor() {
    // A test runner that is stopped, or a failed assertion that ends the process, must leave the machine as it was.
    process.on('exit', this.#onExit);
  }

  static async create(): Promise<TestNet> {
    if (process.getuid?.() !== 0) throw new Error('network namespaces need root');
    removeLeftovers();
    return new TestNet();
  }

  /** A namespace with its loopback up, without duplicate address detection, which would delay IPv6 by a second. */
  async namespace(role: string): Promise<Namespace> {
    const name = await this.#addNamespace(role);
    const namespace = new Namespace(name, (command) => this.#track(command));
    this.#namespaces.push(namespace);
    await namespace.sysctl({
      'net.ipv6.conf.all.accept_dad': 0,
      'net.ipv6.conf.default.accept_dad': 0,
      'net.ipv6.conf.default.dad_transmits': 0,
      'net.ipv6.conf.default.router_solicitations': 0,
    });
    await namespace.ip('link set lo up');
    return namespace;
  }

  /** A veth pair between two namespaces, both ends up. */
  async veth(a: VethEnd, b: VethEnd, { mtu = 1_500, offloads = false }: VethOptions = {}): Promise<void> {
    const ends = [a, b].map((end) => `name ${end.name} ${end.mac ? `address ${end.mac} ` : ''}mtu ${mtu}`);
    await a.namespace.ip(`link add ${ends[0]} type veth peer ${ends[1]} netns ${b.namespace.name}`);
    for (const end of [a, b]) {
      if (!offloads)
        await end.namespace.exec(['ethtool', '-K', end.name, 'tx', 'off', 'gro', 'off', 'tso', 'off', 'gso', 'off']);
      await end.namespace.ip(
        `link set ${end.name} up`,
        ...(end.addresses ?? []).map(
          (address) => `addr add ${address} dev ${end.name}${address.includes(':') ? ' nodad' : ''}`,
        ),
      );
    }
  }

  /** An empty folder on bpffs of this net alone, for `--pin-path`. */
  pinPath(): string {
    const folder = createPinFolder();
    this.#folders.push(folder);
    return folder;
  }

  /** An empty folder on disk. */
  folder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'pc-test-'));
    this.#folders.push(folder);
    return folder;
  }

  /** Ends what was started inside, then removes the rest. Safe to call twice. */
  async [Symbol.asyncDispose](): Promise<void> {
    const running = [...this.#commands].filter((command) => command.isRunning);
    for (const command of running) command.kill();
    await Promise.allSettled(running.map((command) => command.ended));
    this.#removeAll();
    process.off('exit', this.#onExit);
  }

  #track(command: RunningCommand): RunningCommand {
    this.#commands.add(command);
    command.ended.finally(() => this.#commands.delete(command)).catch(() => {});
    return command;
  }

  async #addNamespace(role: string): Promise<string> {
    for (let attempt = 0; ; attempt++) {
      const name = `pc-${process.pid}-${randomInt(1_000_000)}-${role}`;
      const { code, stderr } = await run(['ip', 'netns', 'add', name], { allowFailure: true });
      if (code === 0) return name;
      // Two workers of one process may draw the same number; anything else does not go away by trying again.
      if (attempt === 10 || !stderr.includes('File exists')) throw new Error(`ip netns add ${name}: ${stderr.trim()}`);
    }
  }

  /** Synchronous, since it also runs when the process exits. */
  #removeAll(): void {
    for (const command of this.#commands) command.kill();
    for (const namespace of this.#namespaces.splice(0)) removeNamespace(namespace.name);
    for (const folder of this.#folders.splice(0)) removeFolder(folder);
  }
}
