import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { nodePath, RunningCommand } from '../../support/command.ts';
import { waitFor } from '../../support/wait-for.ts';
import type { ClusterAddress } from './cluster.ts';
import { freePort } from './free-port.ts';

export interface RelayOptions {
  /** File of the network namespace whose clients it serves, at 127.0.0.1; this process's own when absent. */
  readonly netns?: string;
  /** A free one when absent. In a namespace of a test's own any is free. */
  readonly port?: number;
}

const childScript = join(import.meta.dirname, 'relay-child.ts');
let count = 0;

/**
 * A way to an API server that the test holds in its hand: it brings the server into a network namespace, at 127.0.0.1, where its
 * certificate holds, and cuts, stalls or slows what goes through. Bytes are forwarded as they come, TLS is between the ends.
 */
export class Relay implements AsyncDisposable {
  /** `https://127.0.0.1:6443`, for clients in the namespace. */
  readonly server: string;
  readonly #listener: Server;
  readonly #children: readonly RunningCommand[];
  readonly #connections = new Set<Connection>();
  readonly #control = { isCut: false, delayMs: 0, resumed: undefined as PromiseWithResolvers<void> | undefined };
  readonly #bytes = { toClients: 0, toServer: 0 };

  private constructor(server: string, listener: Server, target: number | string, children: readonly RunningCommand[]) {
    this.server = server;
    this.#listener = listener;
    this.#children = children;
    listener.on('connection', (client: Socket) => {
      if (this.#control.isCut) {
        breakOff(client);
        return;
      }
      const upstream =
        typeof target === 'number' ? connect({ port: target, host: '127.0.0.1', noDelay: true }) : connect(target);
      const connection = new Connection(client, upstream, this.#control, this.#bytes);
      this.#connections.add(connection);
      connection.closed.then(() => this.#connections.delete(connection));
    });
  }

  /** @throws Error when the port is taken */
  static async start(cluster: ClusterAddress, { netns, port }: RelayOptions = {}): Promise<Relay> {
    const socket = (role: string) => join(cluster.folder, `relay-${process.pid}-${count++}-${role}`);
    const serverPort = Number(new URL(cluster.server).port);
    const children: RunningCommand[] = [];
    try {
      let target: number | string = serverPort;
      if (cluster.netns !== undefined) {
        target = socket('server');
        children.push(await startChild(cluster.netns, target, `${serverPort}`));
      }
      const clientPort = port ?? (await freePort());
      const listener = createServer({ allowHalfOpen: true, noDelay: true });
      if (netns === undefined) {
        listener.listen(clientPort, '127.0.0.1');
        await once(listener, 'listening');
      } else {
        const path = socket('client');
        listener.listen(path);
        await once(listener, 'listening');
        children.push(await startChild(netns, `${clientPort}`, path));
      }
      return new Relay(`https://127.0.0.1:${clientPort}`, listener, target, children);
    } catch (error) {
      for (const child of children) child.kill();
      throw error;
    }
  }

  /** Open connections are reset (where `netns` is given, the client sees them closed), new ones too, until `mend`. */
  cut(): void {
    this.#control.isCut = true;
    this.resetConnections();
  }

  mend(): void {
    this.#control.isCut = false;
  }

  /** What is open is reset; what connects anew gets through. */
  resetConnections(): void {
    for (const connection of this.#connections) connection.reset();
  }

  /** Connections stay open, and new ones are taken, but nothing comes through until `resume`. */
  stall(): void {
    this.#control.resumed ??= Promise.withResolvers<void>();
  }

  resume(): void {
    this.#control.resumed?.resolve();
    this.#control.resumed = undefined;
  }

  /** Everything arrives this much later, each way. */
  delay(delayMs: number): void {
    this.#control.delayMs = delayMs;
  }

  get openConnections(): number {
    return this.#connections.size;
  }

  /** Since the start, TLS included. */
  get bytes(): { readonly toClients: number; readonly toServer: number } {
    return { ...this.#bytes };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.resume();
    this.#listener.close();
    this.resetConnections();
    for (const child of this.#children) child.kill();
    await Promise.allSettled(this.#children.map((child) => child.ended));
  }
}

interface Control {
  readonly delayMs: number;
  readonly resumed: PromiseWithResolvers<void> | undefined;
}

class Connection {
  readonly closed: Promise<void>;
  readonly #ends: readonly [Socket, Socket];

  constructor(client: Socket, upstream: Socket, control: Control, bytes: { toClients: number; toServer: number }) {
    this.#ends = [client, upstream];
    const ways = [
      forward(client, upstream, control, (count) => {
        bytes.toServer += count;
      }),
      forward(upstream, client, control, (count) => {
        bytes.toClients += count;
      }),
    ];
    this.closed = Promise.allSettled(ways).then(() => this.reset());
  }

  reset(): void {
    for (const end of this.#ends) breakOff(end);
  }
}

/** One piece after the other, so that a delay or a stall keeps the order and holds back the sender. */
async function forward(from: Socket, to: Socket, control: Control, count: (bytes: number) => void): Promise<void> {
  to.on('error', () => breakOff(from));
  try {
    for await (const piece of from as AsyncIterable<Buffer>) {
      if (control.delayMs > 0) await sleep(control.delayMs);
      while (control.resumed) await control.resumed.promise;
      if (to.destroyed) break;
      count(piece.length);
      if (!to.write(piece)) await Promise.race([once(to, 'drain'), once(to, 'close')]);
    }
    to.end();
  } catch {
    // One end broke: so must the other.
    breakOff(to);
  }
}

/** By a reset where that is to be had: unix sockets, between this process and a child of it, know none. */
function breakOff(socket: Socket): void {
  try {
    socket.resetAndDestroy();
  } catch {
    socket.destroy();
  }
}

async function startChild(netns: string, listen: string, target: string): Promise<RunningCommand> {
  const argv = ['nsenter', `--net=${netns}`, '--', 'setpriv', '--pdeathsig', 'KILL', '--', nodePath, childScript];
  const child = new RunningCommand([...argv, listen, target]);
  try {
    await waitFor(() => !child.isRunning || child.stdout.includes('listening'), 20_000, { what: 'a relay to listen' });
    if (!child.isRunning) throw new Error(`a relay for port ${listen} ended: ${child.stderr}`);
  } catch (error) {
    child.kill();
    throw error;
  }
  return child;
}
