import { join } from 'node:path';
import type { Namespace, RunningCommand } from '../support/namespaces.ts';
import { waitFor } from '../support/wait-for.ts';
import type { GuardedNode } from './guarded-node.ts';

/** Of the service that each node has. */
export const servicePort = 8080;
const server = join(import.meta.dirname, '..', 'life', 'tcp-server-child.ts');
const visitor = join(import.meta.dirname, 'visitor-child.ts');

export interface Visits {
  readonly made: number;
  /** That got no answer within two seconds. */
  readonly failed: number;
  readonly slowestMs: number;
}

/**
 * Somebody whom nothing blocks: he asks a service on each node, twenty times a second, with a new connection each time. What
 * drops too much is seen by him.
 */
export class Visitor {
  readonly #command: RunningCommand;

  private constructor(command: RunningCommand) {
    this.#command = command;
  }

  static async start(stranger: Namespace, from: string, nodes: readonly GuardedNode[]): Promise<Visitor> {
    for (const node of nodes) {
      const command = node.real.host.spawnNode([server, 'echo', `${servicePort}`]);
      await waitFor(() => command.stdout.includes('listening'), 20_000, { what: `the service of ${node.name}` });
    }
    const targets = nodes.map(({ address }) => `${address}:${servicePort}`);
    return new Visitor(stranger.spawnNode([visitor, from, ...targets]));
  }

  /** A place in what he has told so far. */
  get mark(): number {
    return this.#command.stdout.length;
  }

  /** What became of his visits to a node since a mark. */
  since(mark: number, { address }: { readonly address: string }): Visits {
    const lines = this.#command.stdout
      .slice(mark)
      .split('\n')
      .map((line) => line.split(' '))
      .filter(([target, , ms]) => target === `${address}:${servicePort}` && ms !== undefined);
    return {
      made: lines.length,
      failed: lines.filter(([, result]) => result !== 'answered').length,
      slowestMs: Math.max(0, ...lines.map(([, , ms]) => Number(ms))),
    };
  }
}
