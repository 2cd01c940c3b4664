import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, test } from 'vitest';
import type { AnyObject } from '../cluster/control-plane/cluster.ts';
import { type Floods, floodAll, listedAddress } from '../cluster/faults/flood.ts';
import { blockedIn, conditionsOf, policy, untilObject, untilProgrammed } from '../cluster/faults/objects.ts';
import { attackerAddress, strangers } from '../cluster/world-node.ts';
import { type BuiltImages, builtImages } from '../images/built-images.ts';
import type { GuardedNode } from './guarded-node.ts';
import { daemonSet, namespace, type ReleaseWorld } from './release.ts';
import { Visitor } from './visits.ts';

const visitorAddress = strangers[1];
const lateAddress = strangers[3];
const release = 'portcullis';
/** kubelet, the sandbox and the agent have to start after a power cut, on a busy machine. */
const maxUnguardedMs = 60_000;

export function updateTests(here: () => ReleaseWorld): void {
  let next: BuiltImages;
  let floods: Floods;
  let visitor: Visitor;

  beforeAll(async () => {
    const world = here();
    if (world === undefined) return;
    next = await builtImages({ variant: 'next' });
    await world.importImages(next);
    // Where this part runs alone.
    if ((await world.agentPods()).size === 0) await world.install(release);
    floods = await floodAll(world);
    visitor = await Visitor.start(world.attacker, visitorAddress, world.nodes);
    await sleep(500);
    for (const node of world.nodes) expect(visitor.since(0, node).made).toBeGreaterThan(0);
  }, 900_000);

  /**
   * Runs a step under the floods of a blocked and of a listed source to each node: none of their packets may pass. The
   * visitor of the nodes, whom nothing blocks, must be answered all the while.
   */
  async function during<T>(what: string, step: () => Promise<T>): Promise<T> {
    const world = here();
    const mark = visitor.mark;
    const result = await floods.during(what, step);
    for (const node of world.nodes) {
      const visits = visitor.since(mark, node);
      console.log(
        `figure: ${what}: ${visits.made} visits to ${node.name}, ${visits.failed} failed, slowest ${visits.slowestMs} ms`,
      );
      expect(visits.made, `visits to ${node.name}`).toBeGreaterThan(0);
      expect(visits.failed, `visits to ${node.name} that failed`).toBe(0);
    }
    return result;
  }

  /** Each agent is one that was started since, and its node guards and tells as before. */
  async function untilAllGuard(sinceMs: number, version?: string): Promise<void> {
    const world = here();
    await world.untilAgentsAreReady();
    for (const node of world.nodes) await world.untilReported(node, sinceMs, version);
    await untilProgrammed(world, 'guard', { nodes: 2 });
    const isBlockedOnBoth = ({ status }: AnyObject) => blockedIn(status)[attackerAddress]?.length === 2;
    await untilObject(world, 'portscanpolicy', 'guard', isBlockedOnBoth);
  }

  /** A scan by somebody new is cut off by the agent that runs now. */
  async function expectScanIsCutOff(node: GuardedNode, from: string, firstPort: number): Promise<void> {
    await node.scan({ from, ports: `${firstPort}-${firstPort + 99}` });
    const reached = (await node.arrivedPorts(from)).filter((port) => port >= firstPort && port < firstPort + 100);
    expect(reached.length).toBeGreaterThan(0);
    expect(reached.length).toBeLessThan(15);
    expect(await node.answers(from)).toBe(false);
  }

  test('a rolling restart of all agents', async () => {
    const world = here();
    const before = await Promise.all(world.nodes.map((node) => node.xdp()));
    const sinceMs = Date.now();
    await during('a rolling restart', async () => {
      await world.shell(`kubectl -n ${namespace} rollout restart ${daemonSet}`);
      await world.shell(`kubectl -n ${namespace} rollout status ${daemonSet} --timeout=80s`);
      await untilAllGuard(sinceMs);
    });
    const after = await Promise.all(world.nodes.map((node) => node.xdp()));
    for (const [i, xdp] of after.entries()) expect(xdp!.mode).toBe(before[i]!.mode);
  });

  test('helm upgrade to a build with another layout of the tables, while its CRDs are not there yet', async () => {
    const world = here();
    const [a] = world.nodes;
    const sinceMs = Date.now();
    await during('an upgrade to another layout, under older CRDs', async () => {
      await world.upgrade(release, next, ['--set', 'crds.upgrade=false']);
      await world.untilAgentsAreReady();
      const pods = await world.agentPods();
      for (const { name } of world.nodes) expect(pods.get(name)!.spec.containers[0].image).toContain(next.version);
      await expectScanIsCutOff(a, lateAddress, 2001);
    });
    // Their reports have a field that the server does not know: they are refused, and nothing else is wrong.
    for (const node of world.nodes) {
      const { stdout } = await node.real.exec(['curl', '-sSf', '-m5', 'http://127.0.0.1:9469/metrics']);
      expect(stdout).toMatch(/^portcullis_build_info\{.*layout="2".*\} 1$/m);
      expect(Date.parse((await world.report(node))!.agent.startedAt)).toBeLessThan(sinceMs);
    }
    const crd = await world.plane.get('crd', 'nodereports.portcullis.dev');
    expect(JSON.stringify(crd)).not.toContain('"note"');
  });

  test('the CRDs that belong to it', async () => {
    const world = here();
    await during('an upgrade of the CRDs', async () => {
      await world.upgrade(release, next, ['--set', 'crds.upgrade=true']);
      await untilAllGuard(0, next.version);
    });
    for (const node of world.nodes)
      expect((await world.report(node))!.agent).toMatchObject({ note: 'next', layoutVersion: 2 });
    await during('a policy with a new field', async () => {
      const { metadata } = (await world.plane.get('portscanpolicy', 'guard'))!;
      await world.plane.apply(policy('guard', { note: 'later' }));
      const changed = await untilProgrammed(world, 'guard', { nodes: 2 });
      expect(changed.metadata.generation).toBe(metadata.generation + 1);
      expect(changed.spec.note).toBe('later');
    });
  });

  test('helm rollback to the build before, whose agents find tables and a policy that are newer than they are', async () => {
    const world = here();
    const [, b] = world.nodes;
    const sinceMs = Date.now();
    await during('a rollback to the first layout, under newer CRDs', async () => {
      await world.rollback(release, 1);
      await world.untilAgentsAreReady();
      for (const node of world.nodes) await world.untilReported(node, sinceMs);
      // The field that they do not know is named, and what they knew before stays in force.
      const { status } = await untilObject(
        world,
        'portscanpolicy',
        'guard',
        ({ status }) => conditionsOf(status).Accepted?.status === 'False',
      );
      expect(conditionsOf(status).Accepted.message).toContain('spec.note');
      await expectScanIsCutOff(b, lateAddress, 3001);
    });
    await during('the new field is taken out again', async () => {
      await world.plane.apply(policy('guard'));
      await untilAllGuard(sinceMs);
      // What the program before had blocked while no agent could read its tables is to be found once more.
      await expectScanIsCutOff(b, lateAddress, 3101);
    });
    const crd = await world.plane.get('crd', 'nodereports.portcullis.dev');
    expect(JSON.stringify(crd)).toContain('"note"');
  });

  test('a node whose programs are all killed, and start again', async () => {
    const world = here();
    const [a] = world.nodes;
    const sinceMs = Date.now();
    await during('all programs of a node are killed and started', async () => {
      await a.real.killPrograms();
      await a.real.startPrograms();
      await world.untilAgentsAreReady();
      await world.untilReported(a, sinceMs);
    });
  });

  test('a node that loses its power and comes back', async () => {
    const world = here();
    const [a, b] = world.nodes;
    const blockedFor = async () =>
      (await world.report(b))!.blocks.newest.map(({ source }: { source: string }) => source);
    expect(await blockedFor()).toContain(attackerAddress);
    // Blocks are saved every five seconds, and as agents end: what this one blocked last is on its disk.
    const mark = visitor.mark;
    await b.real.kill();
    // The kernel goes on, and takes a moment to let go of what nobody holds any more.
    await world.until('its program to be gone', async () => (await b.xdp()) === undefined);
    anotherBoot(b);
    const sources = [attackerAddress, listedAddress];
    const arrived = () => Promise.all(sources.map((source) => b.arrived(source)));
    const before = await arrived();
    const portsBefore = (await b.arrivedPorts(lateAddress)).length;
    const sinceMs = Date.now();
    const startedMs = performance.now();
    // The last moment at which packets of a blocked source were seen to pass.
    let lastPassedMs = startedMs;
    let seen = before;
    const watching = new AbortController();
    const watch = (async () => {
      while (!watching.signal.aborted) {
        const now = await arrived();
        if (now.some((count, i) => count !== seen[i])) lastPassedMs = performance.now();
        seen = now;
        await sleep(50);
      }
    })();
    await world.cluster.restartNode(b.real);
    const nodeReadyMs = performance.now();
    await world.untilAgentsAreReady();
    await world.untilReported(b, sinceMs);
    watching.abort();
    await watch;
    const passed = seen.map((count, i) => count - before[i]!);
    console.log(
      `figure: a node comes back after a power cut: its link up for ${Math.round(lastPassedMs - startedMs)} ms until it enforced ` +
        `(the Node was Ready after ${Math.round(nodeReadyMs - startedMs)} ms), in which ${passed.join(' and ')} packets of a blocked and a listed source passed`,
    );
    expect(lastPassedMs - startedMs).toBeLessThan(maxUnguardedMs);

    // Blocks came back out of the state folder: nobody has scanned again.
    for (const source of sources) await floods.blockedAgain(b, source);
    expect(await blockedFor()).toEqual(expect.arrayContaining([attackerAddress, lateAddress]));
    expect((await b.arrivedPorts(lateAddress)).length).toBe(portsBefore);
    expect(await b.answers(lateAddress)).toBe(false);
    const visits = visitor.since(mark, a);
    expect(visits.failed, `visits to ${a.name}, which had its power`).toBe(0);
    await during('the node is back', async () => {
      await untilProgrammed(world, 'guard', { nodes: 2 });
      await sleep(1_000);
    });
    await floods.end();
  });
}

/** The kernel's id of this boot is the machine's, and stays: without another one the agent would take its blocks for lifted ones. */
function anotherBoot(node: GuardedNode): void {
  const file = join(node.real.disk('/var/lib'), 'portcullis', 'blocks.json');
  const saved = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...saved, bootId: '00000000-0000-4000-8000-000000000000' }));
}
