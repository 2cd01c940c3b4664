import { join } from 'node:path';
import type { LogLine } from '../support/agent.ts';
import { nodePath, RunningCommand } from '../support/command.ts';
import type { Cluster } from './control-plane/cluster.ts';
import { freePort } from './control-plane/free-port.ts';
import { Relay } from './control-plane/relay.ts';

const namespace = 'portcullis-system';
const script = join(import.meta.dirname, '..', '..', 'bin', 'portcullis-operator.mjs');

/** One operator as a process, with a token and a way to the API server of its own. */
export class OperatorReplica implements AsyncDisposable {
  readonly name: string;
  /** Its way to the API server. */
  readonly relay: Relay;
  /** Read again from time to time: a new token there is how it is renewed. */
  readonly tokenFile: string;
  readonly #argv: readonly string[];
  readonly #port: number;
  #earlier = '';
  #command: RunningCommand | undefined;

  private constructor(parts: {
    name: string;
    relay: Relay;
    kubeconfig: string;
    tokenFile: string;
    port: number;
    args: readonly string[];
  }) {
    this.name = parts.name;
    this.relay = parts.relay;
    this.tokenFile = parts.tokenFile;
    this.#port = parts.port;
    const flags = ['--kubeconfig', parts.kubeconfig, '--metrics-address', `127.0.0.1:${parts.port}`, ...parts.args];
    // Also after SIGKILL of a test runner nothing may be left running.
    this.#argv = ['setpriv', '--pdeathsig', 'KILL', '--', nodePath, script, 'run', ...flags];
  }

  static async create(cluster: Cluster, name: string, args: readonly string[] = []): Promise<OperatorReplica> {
    const token = await cluster.tokenFor({ namespace, serviceAccount: 'portcullis-operator' });
    const relay = await Relay.start(cluster);
    const files = cluster.kubeconfigForToken(join(cluster.folder, name), token, relay.server);
    return new OperatorReplica({ name, relay, port: await freePort(), args, ...files });
  }

  /** Starts it, again too, without waiting for anything. */
  start(): void {
    if (this.isRunning) return;
    this.#earlier = this.output;
    this.#command = new RunningCommand(this.#argv);
  }

  get isRunning(): boolean {
    return this.#command?.isRunning ?? false;
  }

  get pid(): number | undefined {
    return this.isRunning ? this.#command!.pid : undefined;
  }

  /** All it has written, in all its runs. */
  get output(): string {
    return this.#earlier + (this.#command === undefined ? '' : this.#command.stderr + this.#command.stdout);
  }

  get log(): readonly LogLine[] {
    return this.output
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as LogLine);
  }

  /** Whether a holder of the Lease is the present run: each has an identity of its own, which it logs. */
  identifiesAs(holder: string): boolean {
    return holder !== '' && (this.#command?.stdout.includes(`"identity":${JSON.stringify(holder)}`) ?? false);
  }

  async isReady(): Promise<boolean> {
    return (await this.#get('/readyz')).ok;
  }

  async metrics(): Promise<string> {
    return await (await this.#get('/metrics')).text();
  }

  /** Ends it with a signal and waits; returns its exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    return (await this.#command?.stop(signal, 20_000))?.code ?? null;
  }

  /** At once, with no chance to release the Lease. */
  async kill(): Promise<void> {
    await this.stop('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
    await this.relay[Symbol.asyncDispose]();
  }

  async #get(path: string): Promise<Response> {
    return await fetch(`http://127.0.0.1:${this.#port}${path}`, { signal: AbortSignal.timeout(5_000) });
  }
}
