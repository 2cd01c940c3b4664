import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ServiceOptions {
  readonly name: string;
  readonly argv: readonly string[];
  /** Gets `<name>.log`, which is appended to at each start. */
  readonly folder: string;
  /** File of the network namespace to run in, this process's own when absent. */
  readonly netns?: string | undefined;
}

/** A program that can be stopped, started again and frozen. The kernel ends it with the process that started it. */
export class Service {
  readonly name: string;
  readonly logFile: string;
  readonly #argv: readonly string[];
  readonly #folder: string;
  #child: ChildProcess | undefined;
  #ended: Promise<unknown> = Promise.resolve();

  constructor({ name, argv, folder, netns }: ServiceOptions) {
    this.name = name;
    this.logFile = join(folder, `${name}.log`);
    this.#folder = folder;
    // Also after SIGKILL of a test runner nothing may be left running.
    const dieWithParent = ['setpriv', '--pdeathsig', 'KILL', '--'];
    this.#argv = [...(netns === undefined ? [] : ['nsenter', `--net=${netns}`, '--']), ...dieWithParent, ...argv];
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number | undefined {
    return this.isRunning ? this.#child!.pid : undefined;
  }

  /** Resolves at the end of the run that was started last. */
  get ended(): Promise<unknown> {
    return this.#ended;
  }

  start(): void {
    if (this.isRunning) return;
    const log = openSync(this.logFile, 'a');
    try {
      this.#child = spawn(this.#argv[0]!, this.#argv.slice(1), {
        cwd: this.#folder,
        stdio: ['ignore', log, log],
        // Ctrl-C in a terminal goes to the test runner, which stops these in order.
        detached: true,
      });
    } finally {
      closeSync(log);
    }
    this.#ended = once(this.#child, 'exit').catch(() => {});
  }

  /** Sends a signal and waits for the end; SIGKILL follows after `graceMs`. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', graceMs = 10_000): Promise<void> {
    this.signal(signal);
    // A frozen process would keep a SIGTERM for later.
    this.signal('SIGCONT');
    const timer = setTimeout(() => this.signal('SIGKILL'), graceMs);
    await this.#ended;
    clearTimeout(timer);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.isRunning) this.#child!.kill(signal);
  }

  /** Runs `action` while every thread of it stands still. */
  whileFrozen(action: () => void): void {
    this.signal('SIGSTOP');
    try {
      // The signal takes effect a little after it was sent.
      while (this.#threadStates().some((state) => !'TZX'.includes(state)));
      action();
    } finally {
      this.signal('SIGCONT');
    }
  }

  #threadStates(): readonly string[] {
    const folder = `/proc/${this.pid}/task`;
    // The state follows the name, which may hold anything but ends with the last parenthesis.
    return readdirSync(folder).map(
      (task) => /\) (\w) [^)]*$/.exec(readFileSync(`${folder}/${task}/stat`, 'utf8'))![1]!,
    );
  }

  /** The end of what it has written. */
  logTail(maxCharacters = 4_000): string {
    try {
      return readFileSync(this.logFile, 'utf8').slice(-maxCharacters);
    } catch {
      return '';
    }
  }
}
