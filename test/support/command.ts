import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** The project's own Node.js: a test runner may have been started under the machine's older one. */
export const nodePath = join(import.meta.dirname, '..', '..', 'node_modules', '.bin', 'node');

// Tools of an administrator are not always on the path of who runs the tests.
const path = `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`;
const maxKeptBytes = 16 * 1024 * 1024;

export interface CommandResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  /** Written to standard input, which is then closed. */
  readonly input?: string;
  /** SIGKILL after this long; 30 s when absent. */
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** A program that runs beside the test, in a process group of its own. */
export class RunningCommand {
  readonly child: ChildProcess;
  readonly #argv: readonly string[];
  #stdout = '';
  #stderr = '';
  readonly #ended: Promise<CommandResult>;

  constructor(argv: readonly string[], options: Omit<CommandOptions, 'timeoutMs'> = {}) {
    this.#argv = argv;
    const spawnOptions: SpawnOptions = {
      stdio: ['pipe', 'pipe', 'pipe'],
      // A group of its own lets stop() reach what the command itself started.
      detached: true,
      env: { ...process.env, PATH: path, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    };
    this.child = spawn(argv[0]!, argv.slice(1), spawnOptions);
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout = (this.#stdout + text).slice(-maxKeptBytes);
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-maxKeptBytes);
    });
    // A command that never reads its input closes the pipe; how it ended is what counts.
    this.child.stdin!.on('error', () => {}).end(options.input ?? '');
    this.#ended = once(this.child, 'close').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
      stdout: this.#stdout,
      stderr: this.#stderr,
    }));
    // Whoever awaits `ended` sees the error; who does not must not bring the test run down by it.
    this.#ended.catch(() => {});
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** What it has written so far. */
  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves when it has ended and all its output was read; rejects when it could not be started. */
  get ended(): Promise<CommandResult> {
    return this.#ended;
  }

  /** Sends `signal` to the whole group at once, without waiting. */
  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    if (this.pid === undefined) return;
    try {
      process.kill(-this.pid, signal);
    } catch {
      // Ended already.
    }
  }

  /** Asks it to end, insists after `graceMs`, and returns how it ended. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', graceMs = 5_000): Promise<CommandResult> {
    this.kill(signal);
    const timer = setTimeout(() => this.kill(), graceMs);
    try {
      return await this.#ended;
    } finally {
      clearTimeout(timer);
    }
  }

  toString(): string {
    return this.#argv.join(' ');
  }
}

/** Waits for a command. Throws when it does not end with 0, with its output; `allowFailure` returns it instead. */
export async function finish(
  command: RunningCommand,
  { timeoutMs = 30_000, allowFailure = false }: { readonly timeoutMs?: number; readonly allowFailure?: boolean } = {},
): Promise<CommandResult> {
  const timer = setTimeout(() => command.kill(), timeoutMs);
  let result: CommandResult;
  try {
    result = await command.ended;
  } finally {
    clearTimeout(timer);
  }
  if (result.code !== 0 && !allowFailure) {
    const how = result.signal
      ? `ended by ${result.signal}, at most ${timeoutMs} ms allowed`
      : `ended with ${result.code}`;
    throw new Error(`${command}: ${how}\n${result.stderr}${result.stdout}`);
  }
  return result;
}

/** Runs a command in this process's own namespaces. */
export function run(
  argv: readonly string[],
  options: CommandOptions & { readonly allowFailure?: boolean } = {},
): Promise<CommandResult> {
  return finish(new RunningCommand(argv, options), options);
}
