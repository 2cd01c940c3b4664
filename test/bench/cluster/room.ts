import { join } from 'node:path';
import type { KubeClient } from '../../../kube/client.ts';
import { openKubeClient } from '../../../kube/http-client.ts';
import type { KubeObject } from '../../../kube/objects.ts';
import { type Resource, resources } from '../../../kube/resources.ts';
import { ControlPlane } from '../../cluster/control-plane/control-plane.ts';
import { installPortcullis } from '../../cluster/control-plane/install.ts';
import { OperatorReplica } from '../../cluster/world-operator.ts';
import { waitFor } from '../../support/wait-for.ts';
import { AgentHost } from './agent-host.ts';
import { type Connection, connectionsTo, cpuSeconds, memoryOf, requestsOf, sum, waitSeconds } from './counters.ts';
import { policyObject, policyOf } from './policies.ts';

export interface ScaleOptions {
  readonly agents: number;
  /** 10 when absent. */
  readonly policies?: number;
  /** Processes for the agents; one for 60 when absent. */
  readonly processes?: number;
  /** Agents start at random times within it; 30 ms for each when absent. */
  readonly spreadMs?: number;
}

/** All counters at one moment. */
export interface Reading {
  /** CLOCK_MONOTONIC. */
  readonly atMs: number;
  readonly requests: ReadonlyMap<string, number>;
  /** One for each agent, unless one was opened anew. */
  readonly connections: readonly Connection[];
  readonly operatorBytes: number;
  readonly cpu: Readonly<Record<'apiServer' | 'etcd' | 'leader' | 'follower' | 'agents', number>>;
  /** Seconds for which they, as `cpu`, wanted to run and could not. */
  readonly waited: number;
}

const namespace = 'portcullis-system';
const pods: Resource = { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true };
/** The path of a service account's subresource, which takes a new object as a collection does. */
const agentTokens: Resource = {
  group: '',
  version: 'v1',
  plural: 'serviceaccounts/portcullis-agent/token',
  kind: 'TokenRequest',
  namespaced: true,
};

export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** A control plane, an operator that leads and one that follows, and many agents without a kernel. */
export class ScaleRoom implements AsyncDisposable {
  readonly plane: ControlPlane;
  /** The administrator's. */
  readonly client: KubeClient;
  readonly nodes: readonly string[];
  readonly policies: readonly string[];
  readonly #operators: OperatorReplica[] = [];
  readonly #hosts: AgentHost[] = [];
  #restarts = 0;
  #ownReads = 0;
  #keeper: NodeJS.Timeout | undefined;
  /** By policy: when an agent got which generation. */
  readonly #arrivals = new Map<string, Map<string, { readonly generation: number; readonly atMs: number }>>();

  private constructor(plane: ControlPlane, client: KubeClient, agents: number, policies: number) {
    this.plane = plane;
    this.client = client;
    this.nodes = Array.from({ length: agents }, (_, index) => `node-${String(index).padStart(4, '0')}`);
    this.policies = Array.from({ length: policies }, (_, index) => policyOf(index));
  }

  /** Returns when every policy is in force on every node, as its status says. */
  static async create(options: ScaleOptions): Promise<ScaleRoom> {
    const plane = await ControlPlane.start();
    let room: ScaleRoom | undefined;
    try {
      await installPortcullis(plane, join(import.meta.dirname, '..', '..', '..'));
      const client = await openKubeClient({ kubeconfig: plane.kubeconfig, userAgent: 'scale' });
      room = new ScaleRoom(plane, client, options.agents, options.policies ?? 10);
      await room.#start(options);
      return room;
    } catch (error) {
      if (room === undefined) await plane.stop();
      else await room[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #start({ agents, processes = Math.ceil(agents / 60), spreadMs = 30 * agents }: ScaleOptions): Promise<void> {
    const kubeconfigs = await inParallel(this.nodes, 8, (node, index) => this.#makeNode(node, index));
    for (const index of this.policies.keys()) await this.#applyPolicy(index);
    // The first one leads.
    for (const name of ['leader', 'follower']) {
      const operator = await OperatorReplica.create(this.plane, name);
      this.#operators.push(operator);
      operator.start();
      await waitFor(() => operator.isReady(), 60_000, { what: `the ${name} to be ready`, intervalMs: 200 });
    }
    // One that loses its lead ends, as a machine that is too busy may make it; a kubelet starts it again.
    this.#keeper = setInterval(() => {
      for (const operator of this.#operators) {
        if (operator.isRunning) continue;
        this.#restarts++;
        operator.start();
      }
    }, 200);
    for (let number = 0; number < processes; number++) {
      const host = new AgentHost(({ node, atMs, news }) => {
        for (const [policy, generation] of Object.entries(news)) this.#arrived(policy, node, generation, atMs);
      });
      this.#hosts.push(host);
      const mine = kubeconfigs.map((kubeconfig, index) => ({ nodeName: this.nodes[index]!, index, kubeconfig }));
      host.tell({
        type: 'start',
        agents: mine.filter(({ index }) => index % processes === number),
        interfaces: this.policies.length,
        spreadMs,
      });
    }
    for (const policy of this.policies) await this.#untilProgrammed(policy, 1, 120_000 + spreadMs);
  }

  #arrived(policy: string, node: string, generation: number, atMs: number): void {
    const byNode = this.#arrivals.get(policy) ?? new Map();
    this.#arrivals.set(policy, byNode);
    byNode.set(node, { generation, atMs });
  }

  /** A Node, the agent's pod on it and a token bound to that. Returns the path of a kubeconfig. */
  async #makeNode(name: string, index: number): Promise<string> {
    const second = 64 + (index >> 8);
    await this.client.create(resources.nodes, {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name, labels: { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux' } },
      spec: { podCIDR: `10.${second}.${index & 255}.0/24`, podCIDRs: [`10.${second}.${index & 255}.0/24`] },
      status: {
        addresses: [{ type: 'InternalIP', address: `100.${second}.${index & 255}.10` }],
        conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: '' }],
      },
    } as never);
    const pod = `portcullis-agent-${index}`;
    const { metadata } = await this.client.create<KubeObject>(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: pod, namespace },
      spec: {
        nodeName: name,
        serviceAccountName: 'portcullis-agent',
        automountServiceAccountToken: false,
        containers: [{ name: 'agent', image: 'registry.invalid/never-pulled' }],
      },
    } as never);
    const { status } = await this.client.create<KubeObject & { status: { token: string } }>(agentTokens, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { name: '', namespace },
      spec: {
        audiences: [],
        expirationSeconds: 7200,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod, uid: metadata.uid },
      },
    } as never);
    return this.plane.kubeconfigForToken(join(this.plane.folder, 'agents', name), status.token).kubeconfig;
  }

  async #applyPolicy(number: number, distinctTargets?: number): Promise<number> {
    const { metadata } = await this.client.apply<KubeObject>(
      resources.portScanPolicies,
      policyObject(number, distinctTargets),
      { fieldManager: 'scale', force: true },
    );
    return metadata.generation!;
  }

  /** Waits for the status of a policy, which the operator writes; returns when that was. */
  async #untilProgrammed(policy: string, generation: number, timeoutMs: number): Promise<number> {
    let seen: unknown;
    const failed = () => this.#hosts.find((host) => host.failures.length > 0)?.failures[0];
    await waitFor(
      async () => {
        if (failed() !== undefined) return true;
        const { status } = await this.policy(policy);
        seen = status?.nodes;
        return status?.observedGeneration === generation && status.nodes?.programmed === this.nodes.length;
      },
      timeoutMs,
      { what: `all nodes to have ${policy} in force`, intervalMs: 250 },
    ).catch((error: Error) => {
      const said = this.troubles().slice(0, 20).join('\n');
      throw new Error(`${error.message}: ${JSON.stringify(seen)}\n${said}`, { cause: error });
    });
    if (failed() !== undefined) throw new Error(`an agent failed: ${failed()}`);
    return monotonicMs();
  }

  /**
   * Changes a policy. Gives the times from the API server's answer until each agent had the snapshot, and until the status
   * said that all nodes have it in force.
   */
  async change(number: number, distinctTargets: number): Promise<{ arrivalsMs: number[]; programmedMs: number }> {
    const policy = policyOf(number);
    const sentMs = monotonicMs();
    const generation = await this.#applyPolicy(number, distinctTargets);
    const arrived = () =>
      [...(this.#arrivals.get(`PortScanPolicy/${policy}`)?.values() ?? [])].filter(
        (each) => each.generation === generation,
      );
    await waitFor(() => arrived().length === this.nodes.length, 60_000, { what: `all agents to have ${policy}` });
    const programmedAtMs = await this.#untilProgrammed(policy, generation, 120_000);
    return {
      arrivalsMs: arrived()
        .map(({ atMs }) => atMs - sentMs)
        .sort((a, b) => a - b),
      programmedMs: programmedAtMs - sentMs,
    };
  }

  /** Each of the first `count` nodes is scanned by a new source every `everyMs`; 0 ends that. */
  scan(count: number, everyMs: number): void {
    const nodes = this.nodes.slice(0, count);
    for (const host of this.#hosts) host.tell({ type: 'scan', nodes, everyMs });
  }

  async read(): Promise<Reading> {
    const atMs = monotonicMs();
    const hosts = new Set(this.#hosts.map(({ pid }) => pid));
    const connections = await connectionsTo(Number(new URL(this.plane.server).port));
    const { etcd, 'kube-apiserver': apiServer } = this.plane.pids as Record<'etcd' | 'kube-apiserver', number>;
    const [leader, follower] = await waitFor(() => this.#operatorPids(), 10_000, { what: 'both operators to run' });
    const pids = [apiServer, etcd, leader, follower, ...hosts];
    const cpu = {
      apiServer: cpuSeconds(apiServer),
      etcd: cpuSeconds(etcd),
      leader: cpuSeconds(leader),
      follower: cpuSeconds(follower),
      agents: sum([...hosts].map(cpuSeconds)),
    };
    return {
      atMs,
      requests: requestsOf(await this.metrics()),
      connections: connections.filter(({ pid }) => hosts.has(pid)),
      operatorBytes: this.#operators[0]!.relay.bytes.toClients,
      cpu,
      waited: sum(pids.map(waitSeconds)),
    };
  }

  async policy(name: string): Promise<PolicyObject> {
    this.#ownReads++;
    return await this.client.get<PolicyObject>(resources.portScanPolicies, name);
  }

  /** How often a policy was read by this room, and not by an agent. */
  get ownReads(): number {
    return this.#ownReads;
  }

  /** Of the API server. */
  async metrics(): Promise<string> {
    return await this.client.raw<string>('/metrics');
  }

  operatorMemory(): Readonly<Record<'leader' | 'follower', { readonly rssMiB: number; readonly peakMiB: number }>> {
    const [leader, follower] = this.#operatorPids() ?? [];
    return { leader: memoryOf(leader!), follower: memoryOf(follower!) };
  }

  #operatorPids(): readonly [number, number] | undefined {
    const pids = this.#operators.flatMap(({ pid }) => pid ?? []);
    return pids.length === 2 ? (pids as unknown as readonly [number, number]) : undefined;
  }

  apiServerMemory() {
    return memoryOf(this.plane.pids['kube-apiserver']!);
  }

  /** Attempts of all agents to write their reports, by what came of them, and what they complain of. */
  async counts(): Promise<{ readonly writes: Readonly<Record<string, number>>; readonly findings: readonly string[] }> {
    const all = await Promise.all(this.#hosts.map((host) => host.counts()));
    const writes: Record<string, number> = {};
    for (const counts of all) {
      for (const [result, count] of Object.entries(counts.writes)) writes[result] = (writes[result] ?? 0) + count;
    }
    return { writes, findings: all.flatMap(({ findings }) => findings) };
  }

  /** What any of the processes has complained of, shortened. */
  troubles(): readonly string[] {
    const lines = [
      ...this.#hosts.flatMap(({ log, failures }) => [...failures, ...log.split('\n')]),
      ...this.#operators.flatMap(({ output }) =>
        output.split('\n').filter((line) => /"level":"(warn|error|fatal)"/.test(line)),
      ),
    ];
    return lines.filter((line) => line !== '').map((line) => line.slice(0, 600));
  }

  /** Operators that ended and were started again: what was measured of them meanwhile is worth nothing. */
  get restarts(): number {
    return this.#restarts;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#keeper);
    await Promise.allSettled(this.#hosts.map((host) => host.stop()));
    await Promise.allSettled(this.#operators.map((operator) => operator[Symbol.asyncDispose]()));
    await this.client.close().catch(() => {});
    await this.plane.stop();
  }
}

type PolicyObject = KubeObject & {
  readonly metadata: {
    readonly managedFields: readonly { readonly subresource?: string; readonly fieldsV1: unknown }[];
  };
  readonly status?: { readonly observedGeneration?: number; readonly nodes?: { readonly programmed: number } };
};

async function inParallel<T, R>(items: readonly T[], workers: number, work: (item: T, index: number) => Promise<R>) {
  const results = new Array<R>(items.length);
  const queue = items.entries();
  const worker = async () => {
    for (const [index, item] of queue) results[index] = await work(item, index);
  };
  await Promise.all(Array.from({ length: workers }, worker));
  return results;
}
