import type { GuardedNode } from '../../e2e/guarded-node.ts';
import { namespace, type ReleaseWorld } from '../../e2e/release.ts';
import { RunningCommand } from '../../support/command.ts';
import { waitFor } from '../../support/wait-for.ts';

/** All in ms since it began. */
export interface InstallRound {
  /** A program is attached on every node. */
  readonly enforcingMs: number;
  /** Every node has reported that the policy is in force. */
  readonly reportedMs: number;
  readonly helmMs: number;
}

export interface ReplacementRound {
  /** The program of the next agent has taken over. */
  readonly enforcingMs: number;
  readonly reportedMs: number;
  readonly readyMs: number;
}

const timeoutMs = 180_000;

/** `helm install --wait` of the chart with its default values, on nodes that have the images and a cluster that has a policy. */
export async function measureInstall(world: ReleaseWorld): Promise<InstallRound> {
  using reports = new Told(world, ['get', 'nodereports', '-w', '-o', `jsonpath=${reportPath}`]);
  const startedMs = performance.now();
  const since = () => Math.round(performance.now() - startedMs);
  const [helmMs, enforcingMs, reportedMs] = await Promise.all([
    world.install('portcullis').then(since),
    Promise.all(world.nodes.map((node) => waitFor(() => node.xdp(), timeoutMs))).then(since),
    Promise.all(world.nodes.map((node) => reports.until((line) => isInForce(line, node)))).then(since),
  ]);
  return { enforcingMs, reportedMs, helmMs };
}

/** An agent's pod is deleted, as by a rolling update: what is attached goes on meanwhile. */
export async function measureReplacement(world: ReleaseWorld, node: GuardedNode): Promise<ReplacementRound> {
  await world.untilAgentsAreReady();
  const pod = (await world.agentPods()).get(node.name)!.metadata.name as string;
  const before = (await node.xdp())!.id;
  const { startedAt } = (await world.report(node))!.agent;
  using reports = new Told(world, ['get', 'nodereport', node.name, '-w', '-o', `jsonpath=${reportPath}`]);
  using pods = new Told(world, [
    ...['get', 'pods', '-n', namespace, '-l', 'app.kubernetes.io/name=portcullis-agent', '-w'],
    ...['-o', 'jsonpath={.metadata.name} {.spec.nodeName} {.status.containerStatuses[0].ready}{"\\n"}'],
  ]);
  await reports.until((line) => isInForce(line, node));
  const startedMs = performance.now();
  const since = () => Math.round(performance.now() - startedMs);
  const [, enforcingMs, reportedMs, readyMs] = await Promise.all([
    world.plane.run(['delete', 'pod', pod, '-n', namespace, '--wait=false']),
    waitFor(async () => (await node.xdp())?.id !== before, timeoutMs).then(since),
    reports.until((line) => isInForce(line, node) && !line.includes(startedAt)).then(since),
    pods.until((line) => !line.startsWith(`${pod} `) && line.endsWith(` ${node.name} true`)).then(since),
  ]);
  return { enforcingMs, reportedMs, readyMs };
}

const reportPath =
  '{.metadata.name} {.status.state} {.status.interfacesTotal} {.status.policies[0].state} {.status.agent.startedAt}{"\\n"}';
const isInForce = (line: string, { name }: { readonly name: string }): boolean =>
  line.startsWith(`${name} Enforcing 1 Programmed `);

/** What a watch of kubectl tells, a line an object: in time, where asking again and again would itself take a processor. */
class Told implements Disposable {
  readonly #watch: RunningCommand;

  constructor({ plane }: ReleaseWorld, args: readonly string[]) {
    this.#watch = new RunningCommand(['nsenter', `--net=${plane.netns}`, '--', plane.kubectlPath, ...args], {
      env: { KUBECONFIG: plane.kubeconfig, KUBECACHEDIR: `${plane.folder}/kubectl-cache`, KUBERC: 'off' },
    });
  }

  async until(isIt: (line: string) => boolean): Promise<void> {
    await waitFor(() => this.#watch.stdout.split('\n').some(isIt), timeoutMs, { what: `${this.#watch}` });
  }

  [Symbol.dispose](): void {
    this.#watch.kill();
  }
}
