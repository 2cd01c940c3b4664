import { join } from 'node:path';
import { type Namespace, type RunningCommand, waitFor } from '../support/namespaces.ts';

/** Real kernel sockets of another program inside a namespace: what an ordinary client or server does. */
const script = (name: string): string => join(import.meta.dirname, `tcp-${name}-child.ts`);

export interface ConnectPlan {
  readonly hosts: readonly string[];
  readonly ports: readonly number[];
  /** The address to connect from; the kernel's choice when absent. */
  readonly from?: string;
  /** How often each port of each host is connected to; once when absent. */
  readonly rounds?: number;
  /** Attempts at once; 64 when absent. */
  readonly concurrency?: number;
  /** For one attempt; 3 s when absent. */
  readonly timeoutMs?: number;
}

/** Attempts by how they ended. */
export interface ConnectResult {
  /** Established, and closed by both ends. */
  readonly connected: number;
  readonly refused: number;
  readonly timedOut: number;
  readonly failed: number;
}

/** Starts a server on all addresses of a namespace, and waits until it listens. */
export async function serve(namespace: Namespace, mode: 'echo' | 'sink', ports: readonly number[]): Promise<void> {
  const server = namespace.spawnNode([script('server'), mode, ...ports.map(String)]);
  await waitFor(() => server.stdout.includes('listening'), 10_000, { what: `a server: ${server.stderr}` });
}

export async function connectAll(namespace: Namespace, plan: ConnectPlan): Promise<ConnectResult> {
  const command = namespace.spawnNode([script('connect'), JSON.stringify(plan)]);
  const { code, stdout, stderr } = await command.ended;
  if (code !== 0) throw new Error(`${command}: ended with ${code}\n${stderr}`);
  return JSON.parse(stdout) as ConnectResult;
}

/** Whether one new connection is established; false when nothing answers, refused is an error. */
export async function connects(namespace: Namespace, host: string, port: number, timeoutMs = 600): Promise<boolean> {
  const result = await connectAll(namespace, { hosts: [host], ports: [port], timeoutMs });
  if (result.connected + result.timedOut !== 1) throw new Error(`${host} port ${port}: ${JSON.stringify(result)}`);
  return result.connected === 1;
}

/** Sends bytes to a sink; how many it says have come, undefined when it did not say so in time. */
export async function send(
  namespace: Namespace,
  to: { readonly host: string; readonly port: number; readonly bytes: number; readonly timeoutMs: number },
): Promise<number | undefined> {
  const command = namespace.spawnNode([script('send'), to.host, ...[to.port, to.bytes, to.timeoutMs].map(String)]);
  const { code, stdout } = await command.ended;
  return code === 0 ? Number(stdout) : undefined;
}

/** An open connection to an echo server, over which lines go back and forth. */
export class Flow {
  readonly #command: RunningCommand;

  private constructor(command: RunningCommand) {
    this.#command = command;
  }

  static async open(namespace: Namespace, host: string, port: number): Promise<Flow> {
    const flow = new Flow(namespace.spawnNode([script('flow'), host, String(port)]));
    await flow.transfers();
    return flow;
  }

  /** One that says nothing at first, as a scanner's. */
  static async openSilently(namespace: Namespace, host: string, port: number, silentMs: number): Promise<Flow> {
    const command = namespace.spawnNode([script('flow'), host, String(port), String(silentMs)]);
    await waitFor(() => command.stdout.includes('connected'), 5_000, { what: `a connection by ${command}` });
    return new Flow(command);
  }

  /** Lines that have come back so far. */
  get echoed(): number {
    return Number(/echoed (\d+)\n[^\n]*$/.exec(this.#command.stdout)?.[1] ?? 0);
  }

  /** Waits until `lines` more have come back; throws when they do not. */
  async transfers(lines = 20, timeoutMs = 8_000): Promise<void> {
    const before = this.echoed;
    await waitFor(() => this.echoed >= before + lines, timeoutMs, {
      what: `${lines} lines after ${before} over ${this.#command} ${this.#command.stderr}`,
    });
  }

  /** Ends it as an ordinary client's end does. */
  async close(): Promise<void> {
    await this.#command.stop();
  }
}
