import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ClusterFactsController } from '../../operator/controllers/cluster-facts/controller.ts';
import { waitFor } from '../support/wait-for.ts';
import { ControlPlane } from './control-plane/control-plane.ts';
import { installPortcullis } from './control-plane/install.ts';
import { complaints, type OperatorParts, startOperatorParts } from './operator-parts.ts';

/** Its own: what other files leave in the shared one would be facts, too. */
let plane: ControlPlane;

beforeAll(async () => {
  plane = await ControlPlane.start();
  await installPortcullis(plane, join(import.meta.dirname, '..', '..'));
});

afterAll(async () => {
  await plane?.stop();
});

const start = (...flags: string[]): Promise<OperatorParts<[ClusterFactsController]>> =>
  startOperatorParts(plane, {
    flags: ['--facts-interval=200ms', ...flags],
    controllers: (context): [ClusterFactsController] => [new ClusterFactsController(context)],
  });

async function facts(): Promise<Record<string, { prefixes: string[]; [field: string]: unknown }>> {
  const found = await plane.list('clusterfacts');
  return Object.fromEntries(found.map(({ metadata, spec }) => [metadata.name, spec]));
}

async function versions(): Promise<Record<string, string>> {
  const found = await plane.list('clusterfacts');
  return Object.fromEntries(found.map(({ metadata }) => [metadata.name, metadata.resourceVersion]));
}

async function untilFacts(what: string, holds: (all: Awaited<ReturnType<typeof facts>>) => boolean): Promise<void> {
  let last: unknown;
  const probe = async () => {
    const all = await facts();
    last = all;
    return holds(all);
  };
  await waitFor(probe, 20_000, { what, intervalMs: 200 }).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(last)}`);
  });
}

test('what is known of a real cluster is published in slices', async () => {
  await plane.createNode('facts-a', { addresses: ['192.0.2.1', '2001:db8::1'], podCIDRs: ['10.244.0.0/24'] });
  await plane.createNode('facts-b', { addresses: ['192.0.2.9'], podCIDRs: ['10.244.1.0/24'] });
  await using operator = await start('--never-block=203.0.113.0/24');
  await untilFacts('all slices', (all) => all.cluster !== undefined);
  const all = await facts();
  expect(all).toMatchObject({
    'nodes-0': { holds: 'Nodes', count: 3, prefixes: ['192.0.2.1/32', '192.0.2.9/32', '2001:db8::1/128'] },
    'pod-ranges-0': { holds: 'PodRanges', count: 1, prefixes: ['10.244.0.0/23'] },
    'configured-0': { holds: 'Configured', count: 1, prefixes: ['203.0.113.0/24'] },
    cluster: { holds: 'Cluster', count: 0, prefixes: [], nodeCount: 2, complete: true },
  });
  // As the control plane of the tests sets it up.
  await untilFacts('ranges of services', (found) => found['service-ranges-0']?.prefixes[0] === '10.96.0.0/24');
  const slices = await plane.list('endpointslices', ['-n', 'default']);
  const endpoints = slices.flatMap(({ endpoints }) =>
    endpoints.flatMap(({ addresses }: { addresses: string[] }) => addresses),
  );
  expect(all['api-server-0']?.prefixes).toEqual(endpoints.map((address: string) => `${address}/32`));
  expect(operator.controllers[0].factsState()).toMatchObject({ podRangesKnown: true, serviceRangesKnown: true });
  expect(complaints(operator.log)).toEqual([]);
});

test('another replica that takes over writes nothing where nothing has changed', async () => {
  const before = await versions();
  await using operator = await start('--never-block=203.0.113.0/24');
  await waitFor(() => operator.controllers[0].factsState(), 10_000);
  await plane.createNode('facts-c', { podCIDRs: ['10.244.9.0/24'] });
  await untilFacts('the new node', (all) => all['pod-ranges-0']?.prefixes.includes('10.244.9.0/24') === true);
  await untilFacts('the number of nodes', (all) => all.cluster?.nodeCount === 4);
  const after = await versions();
  const changed = Object.keys(after).filter((name) => after[name] !== before[name]);
  expect(changed.sort()).toEqual(['cluster', 'pod-ranges-0']);
});

test('a node that is gone stays for a while, and what the administrator takes back does not', async () => {
  {
    await using operator = await start();
    await untilFacts('configured prefixes gone', (all) => all['configured-0']?.prefixes.length === 0);
    await plane.delete('node', 'facts-b');
    await waitFor(() => operator.context.shared.nodes.items.size === 2, 10_000);
    await plane.createNode('facts-d', { addresses: ['192.0.2.77'], podCIDRs: ['10.244.4.0/24'] });
    await untilFacts('the next node', (all) => all['nodes-0']?.prefixes.includes('192.0.2.77/32') === true);
    expect((await facts())['nodes-0']?.prefixes).toContain('192.0.2.9/32');
  }
  await using _operator = await start('--facts-keep=1s');
  await untilFacts('the old node gone', (all) => all['nodes-0']?.prefixes.includes('192.0.2.9/32') === false);
  expect((await facts())['pod-ranges-0']?.prefixes).toEqual(['10.244.0.0/24', '10.244.4.0/24', '10.244.9.0/24']);
});

test('a node that claims the world does not get it, and one without ranges makes the facts incomplete', async () => {
  await plane.createNode('facts-evil', { addresses: ['0.0.0.0', '198.51.100.66'], podCIDRs: ['0.0.0.0/0'] });
  await using operator = await start();
  await untilFacts('incomplete', (all) => all['nodes-0']?.prefixes.includes('198.51.100.66/32') === true);
  // It was complete, and a new node has a minute to get its ranges.
  expect((await facts()).cluster?.complete).toBe(true);
  expect(operator.controllers[0].factsState()).toMatchObject({ nodesWithoutPodRanges: 1, examples: ['facts-evil'] });
  const everything = Object.values(await facts()).flatMap(({ prefixes }) => prefixes);
  expect(everything.filter((prefix) => /\/[0-7]$/.test(prefix) || prefix.startsWith('0.'))).toEqual([]);
  const refused = operator.log.filter(({ message }) => message.includes('not believed'));
  expect(refused.map(({ fields }) => fields)).toEqual([
    { object: 'Node/facts-evil', value: '0.0.0.0', reason: 'NotUsable' },
    { object: 'Node/facts-evil', value: '0.0.0.0/0', reason: 'TooWide' },
  ]);
  expect(await operator.registry.metrics()).toContain('portcullis_operator_facts_refused{reason="TooWide"} 1');
});

test('what somebody changed or deleted by hand is put right, what somebody added under another name is left alone', async () => {
  await using _operator = await start();
  await untilFacts('known', (all) => all['nodes-0'] !== undefined);
  const spec = { holds: 'Nodes', count: 1, prefixes: ['198.18.0.0/15'] };
  const added = { apiVersion: 'portcullis.dev/v1alpha1', kind: 'ClusterFacts', metadata: { name: 'by-hand' }, spec };
  await plane.apply([added, { ...added, metadata: { name: 'nodes-0' } }, { ...added, metadata: { name: 'nodes-7' } }]);
  await plane.delete('clusterfacts', 'pod-ranges-0');
  await untilFacts('as it was', (all) => {
    const isRight =
      all['nodes-0']?.prefixes.includes('192.0.2.1/32') && !all['nodes-0'].prefixes.includes('198.18.0.0/15');
    return isRight === true && all['nodes-7'] === undefined && all['pod-ranges-0'] !== undefined;
  });
  expect((await facts())['by-hand']?.prefixes).toEqual(['198.18.0.0/15']);
});
