import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { RunningCommand } from '../../support/command.ts';
import type { Namespace } from '../../support/namespaces.ts';
import { attackerAddress, strangers } from '../world.ts';
import { blockedIn, blocklist, distinctTargets, type Place, policy, untilObject, untilProgrammed } from './objects.ts';

/** Stands on the list `bad`. */
export const listedAddress = strangers[2];

/** A node as a stranger sees it, and what came past XDP there. */
export interface FloodedNode {
  readonly name: string;
  readonly address: string;
  arrived(source?: string): Promise<number>;
  arrivedPorts(source?: string): Promise<readonly number[]>;
  scan(options?: { readonly ports?: string }): Promise<void>;
  answers(source?: string): Promise<boolean>;
}

/** A cluster, and the strangers who flood its nodes. */
export interface FloodedPlace extends Place {
  readonly nodes: readonly FloodedNode[];
  readonly attacker: Namespace;
  /** The attacker's interface that leads to a node. */
  linkTo(node: FloodedNode): string;
  /** Packets that were sent to these nodes since they were made. */
  sentTo(nodes: readonly FloodedNode[]): Promise<number>;
}

/** What the floods of these tests send, in packets a second: many more than any gap in enforcement could hide between. */
const perSecond = 250;

interface Stream {
  readonly node: FloodedNode;
  readonly source: string;
  readonly command: RunningCommand;
  /** Packets that had come past XDP when it was last known that no more may. */
  arrived: number;
}

/**
 * Blocked sources that never stop: each sends SYNs to one port, so that the traffic itself is no scan, and what comes past XDP is
 * counted behind it. `expectNonePassed` after each fault is then the proof that enforcement went on through all of it.
 */
export class Floods {
  readonly #place: FloodedPlace;
  readonly #streams = new Map<string, Stream>();

  constructor(place: FloodedPlace) {
    this.#place = place;
  }

  /** Begins when the source is blocked on the node. */
  async start(node: FloodedNode, source: string): Promise<void> {
    const argv = ['hping3', '-q', '-n', '-S', '-a', source, '-p', '1000', '-i', `u${1_000_000 / perSecond}`];
    const command = this.#place.attacker.spawn([...argv, '-I', this.#place.linkTo(node), node.address]);
    this.#streams.set(keyOf(node, source), { node, source, command, arrived: await node.arrived(source) });
    await this.expectNonePassed();
  }

  /** On a node whose agent has `guard` and `bad` in force. */
  async scanAndFlood(node: FloodedNode): Promise<void> {
    const before = (await node.arrivedPorts()).length;
    await node.scan({ ports: '1-100' });
    // At most: ports that it tried earlier are arrivals already.
    expect((await node.arrivedPorts()).length - before, `ports of ${node.name} reached`).toBeLessThan(distinctTargets);
    expect(await node.answers()).toBe(false);
    expect(await node.answers(listedAddress)).toBe(false);
    for (const source of [attackerAddress, listedAddress]) await this.start(node, source);
  }

  /** For a source that is about to be let in. */
  async stop(node: FloodedNode, source: string): Promise<void> {
    const key = keyOf(node, source);
    await this.#streams.get(key)?.command.stop('SIGKILL');
    this.#streams.delete(key);
  }

  async end(): Promise<void> {
    for (const { node, source } of [...this.#streams.values()]) await this.stop(node, source);
  }

  /** After a time in which packets of a stream were meant to pass: from now on they must not. */
  async blockedAgain(node: FloodedNode, source: string): Promise<void> {
    this.#streams.get(keyOf(node, source))!.arrived = await node.arrived(source);
  }

  /** Packets that were sent to the flooded nodes. */
  async sent(): Promise<number> {
    return await this.#place.sentTo([...new Set([...this.#streams.values()].map(({ node }) => node))]);
  }

  /** Runs a step while they go on, and a little longer; fails when a packet came through, or when none was sent. */
  async during<T>(what: string, step: () => Promise<T>): Promise<T> {
    const before = await this.sent();
    const startedMs = performance.now();
    const result = await step();
    await sleep(100);
    await this.expectNonePassed(what);
    const sent = (await this.sent()) - before;
    const seconds = (performance.now() - startedMs) / 1000;
    // A quarter of what they should send: the machine may be busy.
    expect(sent, `packets sent during: ${what}`).toBeGreaterThan((this.#streams.size * perSecond * seconds) / 4);
    console.log(`figure: ${what}: ${seconds.toFixed(1)} s, ${sent} packets of blocked sources sent, 0 passed`);
    return result;
  }

  async expectNonePassed(what = 'packets of blocked sources that passed'): Promise<void> {
    const passed: Record<string, number> = {};
    for (const [key, { node, source, command, arrived }] of this.#streams) {
      expect(command.isRunning, `the flood ${key}: ${command.stderr}`).toBe(true);
      passed[key] = (await node.arrived(source)) - arrived;
    }
    expect(passed, what).toEqual(Object.fromEntries([...this.#streams.keys()].map((key) => [key, 0])));
  }
}

const keyOf = (node: FloodedNode, source: string): string => `${source} to ${node.name}`;

/** Applies the policy `guard` and the list `bad`, lets the attacker scan each node, and lets both blocked sources flood them all. */
export async function floodAll(world: FloodedPlace): Promise<Floods> {
  await world.plane.apply([policy('guard'), blocklist('bad', [{ cidr: `${listedAddress}/32` }])]);
  await untilProgrammed(world, 'guard', { nodes: world.nodes.length });
  await untilObject(
    world,
    'ipblocklist',
    'bad',
    ({ status }) => status?.summary === `${world.nodes.length}/${world.nodes.length}`,
  );
  const floods = new Floods(world);
  for (const node of world.nodes) await floods.scanAndFlood(node);
  await untilObject(
    world,
    'portscanpolicy',
    'guard',
    ({ status }) => blockedIn(status)[attackerAddress]?.length === world.nodes.length,
  );
  return floods;
}
