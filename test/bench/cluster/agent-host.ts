import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { nodePath } from '../../support/command.ts';
import type { FromAgents, ToAgents } from './agents-protocol.ts';

type Counts = Extract<FromAgents, { type: 'counts' }>;
type Snapshot = Extract<FromAgents, { type: 'snapshot' }>;

const maxKeptLog = 1024 * 1024;

/** A process with some simulated agents. */
export class AgentHost {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #log = '';
  readonly failures: string[] = [];

  constructor(onSnapshot: (snapshot: Snapshot) => void) {
    this.#child = fork(join(import.meta.dirname, 'agents-child.ts'), {
      execPath: nodePath,
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#ended = once(this.#child, 'exit');
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#log = (this.#log + text).slice(-maxKeptLog);
    });
    this.#child.on('message', (message: FromAgents) => {
      if (message.type === 'snapshot') onSnapshot(message);
      if (message.type === 'failed') this.failures.push(message.message);
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** What its agents have logged: warnings and errors. */
  get log(): string {
    return this.#log;
  }

  tell(message: ToAgents): void {
    this.#child.send(message);
  }

  async counts(): Promise<Counts> {
    const { promise, resolve, reject } = Promise.withResolvers<Counts>();
    const onMessage = (message: FromAgents) => {
      if (message.type === 'counts') resolve(message);
    };
    this.#child.on('message', onMessage);
    this.#child.once('exit', () => reject(new Error(`agents ended: ${this.#log.slice(-2000)}`)));
    this.tell({ type: 'count' });
    try {
      return await promise;
    } finally {
      this.#child.off('message', onMessage);
    }
  }

  /** Returns whether it ended by itself. */
  async stop(): Promise<boolean> {
    if (this.#child.connected) this.tell({ type: 'stop' });
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 20_000);
    await this.#ended;
    clearTimeout(timer);
    return this.#child.signalCode === null;
  }
}
