import { beforeAll, expect, test } from 'vitest';
import { type Floods, floodAll, listedAddress } from '../cluster/faults/flood.ts';
import { distinctTargets, untilProgrammed } from '../cluster/faults/objects.ts';
import { attackerAddress } from '../cluster/world-node.ts';
import { namespace, type ReleaseWorld } from './release.ts';

export function uninstallTests(here: () => ReleaseWorld): void {
  let floods: Floods;

  beforeAll(async () => {
    const world = here();
    if (world === undefined) return;
    // Where this part runs alone.
    if ((await world.agentPods()).size === 0) await world.install('portcullis');
    floods = await floodAll(world);
  }, 300_000);

  test('with uninstall.detach=false leaves all attached, and a release of another name takes it over', async () => {
    const world = here();
    await floods.during('a release makes room for another one', async () => {
      await world.upgrade('portcullis', world.images, ['--set', 'uninstall.detach=false']);
      const ended = await world.uninstall('portcullis', ['--wait']);
      expect(ended, ended.stderr).toMatchObject({ code: 0 });
      // Helm waits for its own objects, and not for the pods that go with them.
      await world.until('the agents to be gone', async () => (await world.agentPods()).size === 0);
      for (const node of world.nodes) expect(await node.xdp(), node.name).toBeDefined();
      await world.install('another');
      for (const node of world.nodes) await world.untilReported(node, 0);
      await untilProgrammed(world, 'guard', { nodes: 2 });
    });
  });

  test('leaves nothing attached, and keeps CRDs and policies', async () => {
    const world = here();
    const uninstallMs = performance.now();
    await floods.end();
    const ended = await world.uninstall('another', ['--wait']);
    console.log(
      `figure: helm uninstall --wait took ${Math.round(performance.now() - uninstallMs)} ms\n${ended.stdout}`,
    );
    expect(ended, ended.stderr).toMatchObject({ code: 0 });
    for (const node of world.nodes) {
      // A pod may be gone from the API server a moment before its process is.
      await world.until(`nothing to be left on ${node.name}`, async () => (await node.remains()).length === 0);
      expect((await node.real.exec(['bpftool', 'net', 'show'])).stdout).not.toMatch(/^eth0\(/m);
      for (const source of [attackerAddress, listedAddress]) expect(await node.answers(source), source).toBe(true);
    }
    const crds = (await world.plane.list('crds')).map(({ metadata }) => metadata.name);
    expect(crds.filter((name) => name.endsWith('.portcullis.dev'))).toHaveLength(6);
    expect(await world.plane.get('portscanpolicy', 'guard')).toBeDefined();
    expect(await world.plane.get('ipblocklist', 'bad')).toBeDefined();
    const namesOf = async (query: string) =>
      (await world.shell(`kubectl get ${query} -o name`)).split('\n').filter((name) => name.includes('portcullis'));
    await world.until('the pods to be gone', async () => (await namesOf(`pods -n ${namespace}`)).length === 0);
    expect(
      await namesOf(`all,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets -n ${namespace}`),
    ).toEqual([]);
    const clusterWide =
      'clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings';
    expect(await namesOf(clusterWide)).toEqual([]);
  });

  test('names a node that is down, and detaches the others, after install - uninstall - install', async () => {
    const world = here();
    const [a, b] = world.nodes;
    await world.install('third');
    await untilProgrammed(world, 'guard', { nodes: 2 });
    for (const node of world.nodes) {
      const before = (await node.arrivedPorts()).length;
      await node.scan({ ports: '4001-4100' });
      expect((await node.arrivedPorts()).length - before, `ports of ${node.name} reached`).toBe(distinctTargets - 1);
    }

    await b.real.kill();
    await world.until('the node to be taken for dead', async () => !(await b.real.isReady()), 120_000);
    const ended = await world.uninstall('third');
    const said = ended.stdout + ended.stderr;
    console.log(said);
    expect(ended.code, said).toBe(0);
    expect(said).toContain(b.name);
    await world.until('the agent to be gone', async () => (await world.agentPods()).get(a.name) === undefined);
    await world.until(`nothing to be left on ${a.name}`, async () => (await a.remains()).length === 0);
    for (const source of [attackerAddress, listedAddress]) expect(await a.answers(source), source).toBe(true);
  });
}
