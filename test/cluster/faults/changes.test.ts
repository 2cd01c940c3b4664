/**
 * What people change, under blocked sources that never stop: each change arrives and is told of, and nothing passes but what
 * the change itself lets in.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { AnyObject } from '../control-plane/cluster.ts';
import { attackerAddress, bystanderAddress, useWorld } from '../world.ts';
import { type Floods, floodAll, listedAddress } from './flood.ts';
import { apply, blockedIn, conditionsOf, policy, untilObject, untilProgrammed } from './objects.ts';

const crdFile = join(import.meta.dirname, '..', '..', '..', 'crds', 'portscanpolicies.yaml');
const field = 'spec.detection.distinctTargets';

const here = useWorld({
  nodes: 2,
  operators: 1,
  agentArgs: ['--report-interval', '1s'],
  operatorArgs: ['--status-interval', '1s'],
});
let floods: Floods;
beforeAll(async () => {
  if (here() !== undefined) floods = await floodAll(here());
}, 120_000);

/** Replaces the schema of policies, and waits until it decides whether 1,000 targets are too many. */
async function useSchema(crd: AnyObject, accepts1000: boolean): Promise<void> {
  const { plane, until } = here();
  await plane.apply(crd);
  const probe = JSON.stringify(policy('probe', { detection: { distinctTargets: 1_000 } }));
  await until('the schema to be in use', async () => {
    const { code } = await plane.kubectl(['create', '--dry-run=server', '-f', '-'], { input: probe });
    return (code === 0) === accepts1000;
  });
}

test('an edited policy is in force on all nodes, and its blocks stay', async () => {
  await floods.during('a policy is edited', async () => {
    await apply(here(), policy('guard', { detection: { distinctTargets: 9, window: '5m' } }));
    const { status, metadata } = await untilProgrammed(here(), 'guard', { nodes: 2 });
    expect(metadata.generation).toBe(2);
    expect(blockedIn(status)[attackerAddress]).toEqual(['node-a', 'node-b']);
  });
  for (const node of here().nodes) expect(await node.answers(bystanderAddress)).toBe(true);
});

test('a policy that an older schema let in is refused by name of the field, and what was in force stays', async () => {
  const world = here();
  const [a] = world.nodes;
  const strict = parse(readFileSync(crdFile, 'utf8')) as AnyObject;
  const loose = structuredClone(strict);
  const { detection } = loose.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties;
  delete detection.properties.distinctTargets.maximum;

  await floods.during('a policy is made invalid', async () => {
    await useSchema(loose, true);
    const { metadata } = await apply(world, policy('guard', { detection: { distinctTargets: 1_000 } }));
    await useSchema(strict, false);
    const isRefused = ({ status }: AnyObject) => {
      const { Accepted, Programmed } = conditionsOf(status);
      const isAbout = Accepted?.observedGeneration === metadata.generation && Accepted.status === 'False';
      return isAbout && Programmed.status === 'False' && status.nodes.failed === 2;
    };
    const { status } = await untilObject(world, 'portscanpolicy', 'guard', isRefused);
    const { Accepted } = conditionsOf(status);
    expect(Accepted.reason).toBe('Invalid');
    expect(Accepted.message).toContain(field);
    expect(blockedIn(status)[attackerAddress]).toEqual(['node-a', 'node-b']);
    for (const node of world.nodes) {
      const { policies } = await world.until(`the report of ${node.name}`, async () => {
        const report = await node.report();
        return report?.policies[0]?.state === 'Invalid' && report;
      });
      expect(policies).toMatchObject([{ name: 'guard', state: 'Invalid', message: expect.stringContaining(field) }]);
    }
  });

  await floods.during('the agent of an invalid policy is restarted', async () => {
    await a!.kill();
    await a!.start().enforcing();
    const { status } = await untilObject(
      world,
      'nodereport',
      a!.name,
      ({ status }) => status.interfaces[0]?.policy === 'guard' && status.policies[0]?.state === 'Invalid',
    );
    expect(status.interfaces).toMatchObject([{ lists: ['bad'] }]);
    // That of generation 2 still detects, with its nine targets.
    await a!.scan({ from: bystanderAddress, ports: '2001-2100' });
    expect((await a!.arrivedPorts(bystanderAddress)).filter((port) => port > 2000).length).toBeLessThan(9);
    expect(await a!.answers(bystanderAddress)).toBe(false);
  });

  await floods.during('an agent comes that never knew a valid one', async () => {
    const late = await world.addNode();
    late.start();
    const isSeen = ({ status }: AnyObject) => status.policies[0]?.state === 'Invalid';
    await untilObject(world, 'nodereport', late.name, isSeen);
    // The list is whole, and holds.
    await world.until('the list on the late node', async () => !(await late.answers(listedAddress)));
    expect(await late.answers()).toBe(true);
    await untilObject(world, 'ipblocklist', 'bad', ({ status }) => status.summary === '3/3');
  });
});

test('a policy that is made valid again is in force on all nodes, the late one too', async () => {
  const world = here();
  const late = world.nodes[2]!;
  await floods.during('a policy is made valid', async () => {
    await apply(world, policy('guard'));
    const { status } = await untilProgrammed(world, 'guard', { nodes: 3 });
    expect(conditionsOf(status).Accepted).toMatchObject({ status: 'True', reason: 'Accepted' });
  });
  await floods.scanAndFlood(late);
  await floods.during('the late node is scanned', () =>
    untilObject(world, 'portscanpolicy', 'guard', ({ status }) => blockedIn(status)[attackerAddress]?.length === 3),
  );
});

test('a node that is no longer selected lets its scanners in, and keeps the others out when it is selected again', async () => {
  const world = here();
  const [, b] = world.nodes;
  await floods.during('all nodes get a label that is asked for', async () => {
    await world.kubectl('label', 'nodes', '--all', 'zone=eu');
    await apply(world, policy('guard', { nodeSelector: { matchLabels: { zone: 'eu' } } }));
    await untilProgrammed(world, 'guard', { nodes: 3 });
  });
  await floods.stop(b!, attackerAddress);
  await floods.during('a node is deselected', async () => {
    await world.kubectl('label', 'node', b!.name, 'zone=us', '--overwrite');
    await world.until('the scanner to be let in', () => b!.answers());
    const { status } = await untilProgrammed(world, 'guard', { nodes: 2 });
    expect(blockedIn(status)[attackerAddress]).toEqual(['node-a', 'node-c']);
  });
  await floods.during('a node is selected', async () => {
    await world.kubectl('label', 'node', b!.name, 'zone=eu', '--overwrite');
    await untilProgrammed(world, 'guard', { nodes: 3 });
    await b!.scan({ ports: '3001-3100' });
    expect((await b!.arrivedPorts()).filter((port) => port > 3000).length).toBeLessThan(15);
    expect(await b!.answers()).toBe(false);
    await floods.start(b!, attackerAddress);
    const isAll = ({ status }: AnyObject) => blockedIn(status)[attackerAddress]?.length === 3;
    await untilObject(world, 'portscanpolicy', 'guard', isAll);
  });
});

test('an agent that is killed leaves all in force, and takes it up again', async () => {
  const world = here();
  const [a] = world.nodes;
  const before = await a!.xdp();
  await floods.during('an agent is killed and comes back', async () => {
    await a!.kill();
    expect(await a!.xdp()).toEqual(before);
    await world.plane.run(['patch', 'portscanpolicy', 'guard', '--type=merge', '-p', '{"spec":{"priority":7}}']);
    await a!.start().enforcing();
    const { status } = await untilProgrammed(world, 'guard', { nodes: 3 });
    expect(blockedIn(status)[attackerAddress]).toEqual(['node-a', 'node-b', 'node-c']);
  });
});

test('a policy that is deleted lifts its blocks everywhere, and a list stays as it was', async () => {
  const world = here();
  for (const node of world.nodes) await floods.stop(node, attackerAddress);
  await floods.during('a policy is deleted', async () => {
    await world.kubectl('delete', 'portscanpolicy', 'guard');
    for (const node of world.nodes) {
      await world.until(`the scanner to be let in by ${node.name}`, () => node.answers());
      await untilObject(world, 'nodereport', node.name, ({ status }) => status.policies.length === 0);
    }
  });
  for (const node of world.nodes) await floods.stop(node, listedAddress);
  await world.kubectl('delete', 'ipblocklist', 'bad');
  for (const node of world.nodes)
    await world.until(`nothing to be left on ${node.name}`, async () => (await node.xdp()) === undefined);
});
