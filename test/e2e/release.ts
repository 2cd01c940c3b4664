import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { AnyObject } from '../cluster/control-plane/cluster.ts';
import type { ControlPlane } from '../cluster/control-plane/control-plane.ts';
import type { FloodedNode } from '../cluster/faults/flood.ts';
import { helm, runHelm } from '../cluster/real-nodes/helm.ts';
import { RealCluster } from '../cluster/real-nodes/real-cluster.ts';
import { nodeLink } from '../cluster/real-nodes/real-node.ts';
import { strangers } from '../cluster/world-node.ts';
import { type BuiltImages, builtImages } from '../images/built-images.ts';
import { Arrivals } from '../support/arrivals.ts';
import { type CommandResult, run } from '../support/command.ts';
import type { Namespace } from '../support/namespaces.ts';
import { waitFor } from '../support/wait-for.ts';
import { GuardedNode } from './guarded-node.ts';

export const namespace = 'portcullis-system';
export const daemonSet = 'daemonset/portcullis-agent';
const root = join(import.meta.dirname, '..', '..');
/** Of one command of helm: a rollout on a busy machine. */
const helmTimeout = ['--timeout', '3m'];

/** A cluster of real nodes, the images of these sources on each, and what an administrator does to the chart's release. */
export class ReleaseWorld implements AsyncDisposable {
  readonly cluster: RealCluster;
  readonly images: BuiltImages;
  readonly nodes: readonly [GuardedNode, GuardedNode];
  readonly #sent: Arrivals;

  private constructor(
    cluster: RealCluster,
    images: BuiltImages,
    nodes: readonly [GuardedNode, GuardedNode],
    sent: Arrivals,
  ) {
    this.cluster = cluster;
    this.images = images;
    this.nodes = nodes;
    this.#sent = sent;
  }

  static async create(): Promise<ReleaseWorld> {
    const images = await builtImages();
    const cluster = await RealCluster.start({ nodeGraceSeconds: 12 });
    try {
      const real = [await cluster.addNode(), await cluster.addNode()] as const;
      await importAll(cluster, images);
      const { stranger } = cluster;
      const nodes = [await GuardedNode.create(real[0], stranger), await GuardedNode.create(real[1], stranger)] as const;
      const flooding = `ip saddr { ${strangers.join(', ')} }`;
      const sent = await Arrivals.count(
        cluster.router,
        Object.fromEntries(nodes.map(({ name, address }) => [counterTo(name), `${flooding} ip daddr ${address}`])),
      );
      const plugins = join(cluster.plane.folder, 'plugins');
      mkdirSync(plugins);
      symlinkSync(join(root, 'bin', 'kubectl-portcullis.mjs'), join(plugins, 'kubectl-portcullis'));
      symlinkSync(cluster.plane.kubectlPath, join(plugins, 'kubectl'));
      return new ReleaseWorld(cluster, images, nodes, sent);
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  get plane(): ControlPlane {
    return this.cluster.plane;
  }

  /** Strangers who scan and flood. */
  get attacker(): Namespace {
    return this.cluster.stranger;
  }

  linkTo(): string {
    return nodeLink;
  }

  async sentTo(nodes: readonly FloodedNode[]): Promise<number> {
    const counts = await Promise.all(nodes.map(({ name }) => this.#sent.packets(counterTo(name))));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** Puts the images of a build on every node. */
  async importImages(images: BuiltImages): Promise<void> {
    await importAll(this.cluster, images);
  }

  /** Installs the chart as README.md says, and waits as `helm --wait` does. Returns what helm wrote. */
  async install(release: string, flags: readonly string[] = []): Promise<string> {
    const inNamespace = ['-n', namespace, '--create-namespace'];
    return await this.#helm(['install', release, this.images.chart, ...inNamespace, '--wait', ...flags]);
  }

  async upgrade(release: string, images: BuiltImages, flags: readonly string[] = []): Promise<string> {
    return await this.#helm(['upgrade', release, images.chart, '-n', namespace, '--wait', ...flags]);
  }

  async rollback(release: string, revision: number): Promise<string> {
    return await this.#helm(['rollback', release, `${revision}`, '-n', namespace, '--wait']);
  }

  /** Returns how it ended, whatever that is. */
  async uninstall(release: string, flags: readonly string[] = []): Promise<CommandResult> {
    return await helm(this.plane, ['uninstall', release, '-n', namespace, ...helmTimeout, ...flags]);
  }

  /** Runs a line of a shell as an administrator, with kubectl and its plugin at hand. Returns what a terminal shows. */
  async shell(line: string): Promise<string> {
    const { plane } = this;
    const result = await run(['nsenter', `--net=${plane.netns}`, '--', 'sh', '-ec', `exec 2>&1\n${line}`], {
      timeoutMs: 90_000,
      allowFailure: true,
      env: {
        PATH: [join(plane.folder, 'plugins'), process.env.PATH].join(':'),
        KUBECONFIG: plane.kubeconfig,
        KUBECACHEDIR: join(plane.folder, 'kubectl-cache'),
        KUBERC: 'off',
      },
    });
    if (result.code !== 0) throw new Error(`${line}: ended with ${result.signal ?? result.code}\n${result.stdout}`);
    return result.stdout;
  }

  async until<T>(what: string, look: () => T | Promise<T>, timeoutMs = 60_000): Promise<Exclude<T, false | undefined>> {
    return (await waitFor(look, timeoutMs, { what, intervalMs: 100 })) as Exclude<T, false | undefined>;
  }

  async report(node: GuardedNode): Promise<AnyObject | undefined> {
    return (await this.plane.get('nodereport', node.name))?.status as AnyObject | undefined;
  }

  /** Waits for the report of an agent that was started after `sinceMs`, and enforces. */
  async untilReported(node: GuardedNode, sinceMs: number, version = this.images.version): Promise<AnyObject> {
    // Reports tell whole seconds.
    const isSo = (report: AnyObject | undefined) =>
      report?.state === 'Enforcing' &&
      report.agent.version === version &&
      Date.parse(report.agent.startedAt) >= Math.floor(sinceMs / 1_000) * 1_000;
    return await this.until(
      `the report of ${node.name}`,
      async () => {
        const report = await this.report(node);
        return isSo(report) && report;
      },
      120_000,
    );
  }

  /** The agents' pods that are not on their way out, by their nodes. */
  async agentPods(): Promise<ReadonlyMap<string, AnyObject>> {
    const pods = await this.plane.list('pods', ['-n', namespace, '-l', 'app.kubernetes.io/name=portcullis-agent']);
    const staying = pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    return new Map(staying.map((pod) => [pod.spec.nodeName as string, pod]));
  }

  async untilAgentsAreReady(nodes: readonly GuardedNode[] = this.nodes): Promise<void> {
    await this.until(
      'the agents to be ready',
      async () => {
        const pods = await this.agentPods();
        return nodes.every(({ name }) => pods.get(name)?.status.containerStatuses?.[0]?.ready === true);
      },
      120_000,
    );
  }

  /** What nodes and pods have written, for a test that failed. */
  async logs(): Promise<string> {
    const look = async (...args: readonly string[]) => {
      const { stdout, stderr } = await this.plane.kubectl(args);
      return `--- kubectl ${args.join(' ')}\n${stdout}${stderr}`.slice(-12_000);
    };
    return [
      await look('get', 'pods,jobs', '-A', '-o', 'wide'),
      await look('get', 'events', '-n', namespace, '--sort-by=.lastTimestamp'),
      await look('get', 'portcullis', '-o', 'yaml'),
      await look('logs', '-n', namespace, '-l', 'app.kubernetes.io/part-of=portcullis', '--prefix', '--tail=40'),
    ].join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster.stop();
  }

  async #helm(args: readonly string[]): Promise<string> {
    return await runHelm(this.plane, [...args, ...helmTimeout]);
  }
}

const counterTo = (node: string): string => `to_${node.replaceAll('-', '_')}`;

async function importAll(cluster: RealCluster, { agent, operator }: BuiltImages): Promise<void> {
  for (const image of [agent, operator]) await cluster.importImage(image);
}
