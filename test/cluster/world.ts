import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { type CommandResult, run } from '../support/command.ts';
import { type Namespace, TestNet, waitFor } from '../support/namespaces.ts';
import type { AnyObject } from './control-plane/cluster.ts';
import { ControlPlane, type ControlPlaneOptions } from './control-plane/control-plane.ts';
import { installPortcullis } from './control-plane/install.ts';
import { strangers, WorldNode, type WorldNodeOptions } from './world-node.ts';
import { OperatorReplica } from './world-operator.ts';

export { attackerAddress, bystanderAddress, strangers } from './world-node.ts';

export interface WorldOptions {
  /** Nodes with an agent that runs: node-a, node-b and so on; 3 when absent. */
  readonly nodes?: number;
  /** Operators that run; 2 when absent. */
  readonly operators?: number;
  /** Further flags of every agent. */
  readonly agentArgs?: readonly string[];
  /** Further flags of every operator. */
  readonly operatorArgs?: readonly string[];
  readonly controlPlane?: ControlPlaneOptions;
}

const root = join(import.meta.dirname, '..', '..');
const startTimeoutMs = 60_000;

/**
 * A cluster of its own: an API server, operators, nodes with their agents, all as real processes with real tokens, and somebody
 * who scans. `await using world = await World.create()`, or `useWorld` for all tests of a file.
 */
export class World implements AsyncDisposable {
  readonly plane: ControlPlane;
  readonly net: TestNet;
  readonly attacker: Namespace;
  readonly nodes: WorldNode[] = [];
  readonly operators: OperatorReplica[] = [];
  readonly #options: WorldOptions;

  private constructor(plane: ControlPlane, net: TestNet, attacker: Namespace, options: WorldOptions) {
    this.plane = plane;
    this.net = net;
    this.attacker = attacker;
    this.#options = options;
  }

  static async create(options: WorldOptions = {}): Promise<World> {
    const plane = await ControlPlane.start(options.controlPlane);
    let net: TestNet | undefined;
    try {
      await installPortcullis(plane, root);
      net = await TestNet.create();
      const attacker = await net.namespace('attacker');
      await attacker.ip(...strangers.map((address) => `addr add ${address}/32 dev lo`));
      const world = new World(plane, net, attacker, options);
      const plugins = join(plane.folder, 'plugins');
      mkdirSync(plugins);
      symlinkSync(join(root, 'bin', 'kubectl-portcullis.mjs'), join(plugins, 'kubectl-portcullis'));
      const { nodes = 3, operators = 2 } = options;
      for (let i = 0; i < operators; i++) await world.addOperator();
      for (let i = 0; i < nodes; i++) await world.addNode();
      for (const node of world.nodes) node.start();
      await world.until(
        'the operators to be ready',
        async () => {
          for (const operator of world.operators) if (!(await operator.isReady())) return false;
          return true;
        },
        startTimeoutMs,
      );
      await Promise.all(world.nodes.map(({ agent }) => agent!.enforcing()));
      return world;
    } catch (error) {
      await net?.[Symbol.asyncDispose]();
      await plane.stop();
      throw error;
    }
  }

  /** Makes a Node with a namespace of its own. Its agent does not run before `start()`. */
  async addNode(options: WorldNodeOptions = {}): Promise<WorldNode> {
    const { plane, net, attacker } = this;
    const index = this.nodes.length;
    const args = [...(this.#options.agentArgs ?? []), ...(options.args ?? [])];
    const node = await WorldNode.create({ plane, net, attacker, index, ...options, args });
    this.nodes.push(node);
    return node;
  }

  /** Starts another replica. */
  async addOperator(): Promise<OperatorReplica> {
    const index = this.operators.length;
    const operator = await OperatorReplica.create(this.plane, `operator-${index}`, this.#options.operatorArgs);
    this.operators.push(operator);
    operator.start();
    return operator;
  }

  /** The replica that the Lease names; undefined while none does, or while it does not run. */
  async leader(): Promise<OperatorReplica | undefined> {
    const lease = await this.plane.get('lease', 'portcullis-operator', 'portcullis-system');
    const holder: string = lease?.spec.holderIdentity ?? '';
    return this.operators.find((operator) => operator.isRunning && operator.identifiesAs(holder));
  }

  /** The attacker has a link to each node. */
  linkTo({ name }: { readonly name: string }): string {
    return name;
  }

  /** Packets that the attacker sent to nodes since they were made. */
  async sentTo(nodes: readonly { readonly name: string }[]): Promise<number> {
    const { stdout } = await this.attacker.exec(['cat', '/proc/net/dev']);
    const names = new Set(nodes.map(({ name }) => name));
    return stdout
      .split('\n')
      .map((line) => line.trim().split(/[:\s]+/))
      .filter(([name]) => names.has(name!))
      .reduce((sum, fields) => sum + Number(fields[10]), 0);
  }

  /** Runs kubectl as the administrator and returns what it wrote; throws unless it ends with 0. */
  async kubectl(...args: readonly string[]): Promise<string> {
    return await this.plane.run(args);
  }

  /** Runs `kubectl portcullis`, as the administrator when no other kubeconfig is given. */
  async plugin(args: readonly string[], kubeconfig = this.plane.kubeconfig): Promise<CommandResult> {
    const PATH = [join(this.plane.folder, 'plugins'), process.env.PATH].join(':');
    return await run([this.plane.kubectlPath, 'portcullis', ...args], {
      allowFailure: true,
      timeoutMs: 60_000,
      env: { PATH, KUBECONFIG: kubeconfig, KUBECACHEDIR: join(this.plane.folder, 'kubectl-cache'), KUBERC: 'off' },
    });
  }

  /** A kubeconfig for somebody with a role of deploy/user-roles.yaml, such as portcullis-oncall, and a real token. */
  async kubeconfigOf(role: string): Promise<string> {
    const serviceAccount = `somebody-${role}`;
    await this.plane.createServiceAccount('default', serviceAccount);
    await this.plane.apply({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: serviceAccount },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
      subjects: [{ kind: 'ServiceAccount', name: serviceAccount, namespace: 'default' }],
    });
    const token = await this.plane.tokenFor({ namespace: 'default', serviceAccount });
    return this.plane.kubeconfigForToken(join(this.plane.folder, serviceAccount), token).kubeconfig;
  }

  /** The status of a policy, {} before it has one. */
  async policyStatus(name: string): Promise<AnyObject> {
    return ((await this.plane.get('portscanpolicy', name))?.status ?? {}) as AnyObject;
  }

  async listStatus(name: string): Promise<AnyObject> {
    return ((await this.plane.get('ipblocklist', name))?.status ?? {}) as AnyObject;
  }

  /** Waits until `look` gives something truthy, and says what it gave last when that was in vain. */
  async until<T>(what: string, look: () => T | Promise<T>, timeoutMs = 30_000): Promise<Exclude<T, false | undefined>> {
    return (await waitFor(look, timeoutMs, { what, intervalMs: 100 })) as Exclude<T, false | undefined>;
  }

  /** The end of what every program has written. */
  logs(maxCharacters = 6_000): string {
    const programs: (readonly [name: string, text: string])[] = [
      ...this.operators.map((operator) => [operator.name, operator.output] as const),
      ...this.nodes.map((node) => [node.name, node.output] as const),
    ];
    return programs.map(([name, text]) => `--- ${name}\n${text.slice(-maxCharacters)}`).join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.operators.map((operator) => operator[Symbol.asyncDispose]()));
    await Promise.all(this.nodes.map((node) => node[Symbol.asyncDispose]()));
    await this.net[Symbol.asyncDispose]();
    await this.plane.stop();
  }
}

/**
 * One world for all tests of a file. When a test fails, what all programs wrote is printed.
 * @returns the world; only to be called while a test runs
 */
export function useWorld(options: WorldOptions = {}): () => World {
  let world: World | undefined;
  beforeAll(async () => {
    // As in global-setup.ts: scripts/run-tests.ts found that this machine can have no control plane.
    if (process.env.PORTCULLIS_SKIP_CLUSTER === undefined) world = await World.create(options);
  }, 180_000);
  afterAll(() => world?.[Symbol.asyncDispose]());
  beforeEach(({ onTestFailed }) => {
    onTestFailed(async () => {
      const objects = await world?.plane.kubectl(['get', 'portcullis', '-o', 'yaml']);
      console.log(`${world?.logs()}\n--- objects\n${objects?.stdout.slice(0, 60_000)}`);
    });
  });
  return () => world!;
}
