import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandOptions, type CommandResult, RunningCommand, run } from '../../support/command.ts';
import { waitFor } from '../../support/wait-for.ts';
import { Service } from '../control-plane/service.ts';
import { nodePath } from './build.ts';

const init = join(import.meta.dirname, 'node-init.sh');
const readyTimeoutMs = 20_000;

export interface NodeSpaceOptions {
  /** Also its host name. */
  readonly name: string;
  /** What outlives the node's end: its disk. */
  readonly folder: string;
  /** File of its network namespace, which is kept from one start to the next one. */
  readonly netns: string;
}

/** Mounts, processes and a host name of a node's own, in a network namespace that is there already. */
export class NodeSpace {
  readonly #name: string;
  readonly #folder: string;
  readonly #outer: Service;
  #initPid: number | undefined;

  constructor({ name, folder, netns }: NodeSpaceOptions) {
    this.#name = name;
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
    const own = ['--mount', '--pid', '--uts', '--mount-proc', '--propagation', 'private'];
    // The end of unshare, or of who started it, is that of everything in here.
    const argv = ['unshare', ...own, '--fork', '--kill-child=SIGKILL', '/bin/sh', init, folder, name];
    this.#outer = new Service({ name: `${name}-init`, argv, folder, netns });
  }

  get isRunning(): boolean {
    return this.#outer.isRunning && this.#initPid !== undefined;
  }

  async start(): Promise<void> {
    const ready = join(this.#folder, 'ready');
    rmSync(ready, { force: true });
    this.#outer.start();
    await waitFor(() => !this.#outer.isRunning || existsSync(ready), readyTimeoutMs, {
      what: `the namespaces of ${this.#name}`,
    });
    const pid = this.#outer.pid;
    if (pid === undefined) throw new Error(`${this.#name} did not start:\n${this.#outer.logTail()}`);
    this.#initPid = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim());
  }

  /** What runs a command in here: `[...space.enter(), 'kubelet', ...]`. What was started so ends with the nsenter before it. */
  enter(): readonly string[] {
    if (this.#initPid === undefined) throw new Error(`${this.#name} does not run`);
    const enter = ['nsenter', '--target', `${this.#initPid}`, '--mount', '--net', '--pid', '--uts', '--'];
    return [...enter, 'setpriv', '--pdeathsig', 'KILL', '--', 'env', `PATH=${nodePath}`];
  }

  spawn(argv: readonly string[], options: Omit<CommandOptions, 'timeoutMs'> = {}): RunningCommand {
    return new RunningCommand([...this.enter(), ...argv], options);
  }

  exec(
    argv: readonly string[],
    options: CommandOptions & { readonly allowFailure?: boolean } = {},
  ): Promise<CommandResult> {
    return run([...this.enter(), ...argv], options);
  }

  /** SIGKILL to every process but the first one. Mounts, and with them BPF pins, stay. */
  async killProcesses(): Promise<void> {
    // Ends itself too, as far as the kernel lets it: its own end says nothing.
    await this.exec(['/bin/sh', '-c', 'kill -KILL -1'], { allowFailure: true });
  }

  /** Ends all of it at once, as a power cut does. */
  async kill(): Promise<void> {
    this.#initPid = undefined;
    await this.#outer.stop('SIGKILL');
    rmSync(join(this.#folder, 'ready'), { force: true });
  }

  /** See node-init.sh. */
  disk(path: '/var/lib' | '/var/log'): string {
    return join(this.#folder, path.slice(1).replace('/', '-'));
  }

  /** Without waiting, for a process that exits. */
  killNow(): void {
    this.#outer.signal('SIGKILL');
  }
}
