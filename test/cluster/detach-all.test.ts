/** Uninstalling: `portcullis-operator detach-all` with the rights of the chart's hook, and agents that heed it or do not. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type CommandResult, nodePath, run } from '../support/command.ts';
import { operatorScript } from '../support/operator.ts';
import type { AnyObject } from './control-plane/cluster.ts';
import { detachAccount } from './detach-account.ts';
import { useWorld } from './world.ts';
import type { WorldNode } from './world-node.ts';

const namespace = 'portcullis-system';
const world = useWorld({
  nodes: 3,
  operators: 1,
  agentArgs: ['--report-interval', '1s'],
  operatorArgs: ['--facts-interval', '200ms', '--status-interval', '200ms'],
});
let kubeconfig: string;

beforeAll(async () => {
  const { plane } = world();
  kubeconfig = await detachAccount(plane, join(plane.folder, 'detach'));
  await plane.apply({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'PortScanPolicy',
    metadata: { name: 'guard' },
    spec: { mode: 'Enforce' },
  });
}, 60_000);

/** Every test begins with agents that run and have attached. */
beforeEach(async () => {
  const { plane, nodes } = world();
  await plane.delete('clusterfacts', 'detach');
  for (const node of nodes) {
    node.relay.mend();
    await plane.setNodeReady(node.name, true);
    if (!node.agent?.command.isRunning) node.start();
  }
  await attached(nodes);
}, 90_000);

const detachAll = (timeout: string): Promise<CommandResult> =>
  run(
    [
      nodePath,
      operatorScript,
      'detach-all',
      `--namespace=${namespace}`,
      `--timeout=${timeout}`,
      '--kubeconfig',
      kubeconfig,
    ],
    { allowFailure: true, timeoutMs: 90_000 },
  );
const wish = () => world().plane.get('clusterfacts', 'detach');
const lines = ({ stdout }: CommandResult) => stdout.trim().split('\n');

async function attached(nodes: readonly WorldNode[]): Promise<void> {
  for (const node of nodes) {
    await world().until(`${node.name} to be guarded`, async () => (await node.xdp()) !== undefined, 60_000);
    await world().until(`${node.name} to say so`, async () => (await node.report())?.state === 'Enforcing', 60_000);
  }
}

const detached = (node: WorldNode) =>
  world().until(`${node.name} to be detached`, async () => (await node.xdp()) === undefined, 60_000);

/** What a node is left with: nothing pinned, nothing kept. */
function expectNothingLeft(node: WorldNode): void {
  expect(existsSync(node.pinPath)).toBe(false);
  expect(readdirSync(node.state)).toEqual([]);
}

describe('detach-all', () => {
  it('ends when every agent has detached, says so, and agents that are stopped then leave nothing', async () => {
    const { nodes } = world();
    const result = await detachAll('60s');
    expect([result.code, result.stderr]).toEqual([0, '']);
    expect(lines(result).at(-1)).toBe('3 detached, 0 not, 0 without an answer');
    for (const node of nodes) {
      expect(await node.xdp()).toBeUndefined();
      expect(await node.report()).toMatchObject({ state: 'Detached', breakGlass: 'Uninstall', mode: 'None' });
    }
    await world().until('the policy to say so', async () =>
      (await world().policyStatus('guard')).conditions?.some(
        ({ type, reason }: AnyObject) => type === 'Degraded' && reason === 'Detached',
      ),
    );
    const { metadata } = (await wish())!;
    const again = await detachAll('60s');
    expect([again.code, lines(again).at(-1)]).toEqual([0, '3 detached, 0 not, 0 without an answer']);
    expect((await wish())!.metadata.resourceVersion).toBe(metadata.resourceVersion);
    for (const node of nodes) {
      await node.stop();
      expect(await node.xdp()).toBeUndefined();
      expectNothingLeft(node);
    }
  });

  it('names a node that is down, and does not wait for it', async () => {
    const [dead, ...others] = world().nodes as [WorldNode, ...WorldNode[]];
    await dead.kill();
    await world().plane.setNodeReady(dead.name, false);
    const result = await detachAll('60s');
    expect([result.code, result.stderr]).toEqual([0, '']);
    expect(lines(result).slice(-2)).toEqual([
      `${dead.name}: not detached; the Node is not ready; its report said Enforcing. On the node: rm -r /sys/fs/bpf/portcullis`,
      '2 detached, 0 not, 1 without an answer',
    ]);
    for (const node of others) expect(await node.xdp()).toBeUndefined();
    expect(await dead.xdp()).toBeDefined();
  });

  it('gives up on an agent that answers and does not detach; the wish stays, and is heard later', async () => {
    const [deaf] = world().nodes as [WorldNode];
    deaf.relay.cut();
    const result = await detachAll('5s');
    expect(result.code).toBe(1);
    expect(lines(result)).toContain(`${deaf.name}: not detached; its agent answers and says Enforcing`);
    expect(result.stderr).toContain('kubectl delete clusterfacts detach');
    expect(await wish()).toBeDefined();
    expect(await deaf.xdp()).toBeDefined();
    deaf.relay.mend();
    await detached(deaf);
  });

  it('in the wrong namespace says so, and wishes nothing', async () => {
    const result = await run(
      [nodePath, operatorScript, 'detach-all', '--namespace=default', '--kubeconfig', world().plane.kubeconfig],
      { allowFailure: true },
    );
    expect(result.code).toBe(1);
    expect(result.stdout).toContain('there is no ServiceAccount portcullis-agent in default');
    expect(result.stderr).toContain('Give theirs by --namespace');
    expect(await wish()).toBeUndefined();
  });
});

describe('an agent', () => {
  it('puts everything back when the wish is taken back', async () => {
    const { nodes, plane } = world();
    expect((await detachAll('60s')).code).toBe(0);
    await plane.delete('clusterfacts', 'detach');
    await attached(nodes);
    for (const node of nodes) {
      await node.stop();
      expect(await node.xdp()).toBeDefined();
      expect(readdirSync(node.state)).toContain('cluster.json');
    }
  });

  it('that crashes while everything is detached stays so, also without an API server', async () => {
    const [node] = world().nodes as [WorldNode];
    expect((await detachAll('60s')).code).toBe(0);
    await node.kill();
    node.relay.cut();
    const agent = node.start();
    await agent.until(({ event, reason }) => event === 'break-glass' && reason === 'Uninstall', 'the wish');
    // Longer than it waits for an API server before it enforces what it last knew.
    await sleep(3_000);
    expect(await node.xdp()).toBeUndefined();
    await node.stop();
    expect(await node.xdp()).toBeUndefined();
    expectNothingLeft(node);
  });
});

it("the next installation has another account: the old wish is nobody's, and its operator deletes it", async () => {
  const { nodes, plane, until } = world();
  expect((await detachAll('60s')).code).toBe(0);
  // Agents may outlive their account: they stay detached, and the operator leaves the wish alone.
  const account = await plane.get('serviceaccount', 'portcullis-agent', namespace);
  await plane.delete('serviceaccount', 'portcullis-agent', namespace);
  await plane.createNode('another', { addresses: ['100.80.99.10'], podCIDRs: ['10.244.99.0/24'] });
  await until('the facts about it', async () =>
    (await plane.get('clusterfacts', 'nodes-0'))?.spec.prefixes.includes('100.80.99.10/32'),
  );
  expect((await wish())?.spec.serviceAccountUid).toBe(account!.metadata.uid);
  // As when Helm is asked once more to remove what it could not remove.
  const late = await detachAll('60s');
  expect([late.code, lines(late)[0]]).toEqual([0, expect.stringContaining('nobody is left who could be told')]);
  for (const node of nodes) {
    expect(await node.xdp()).toBeUndefined();
    await node.stop();
  }

  await plane.createServiceAccount(namespace, 'portcullis-agent');
  for (const node of nodes) {
    const token = await plane.tokenFor({ namespace, serviceAccount: 'portcullis-agent', node: node.name });
    writeFileSync(node.tokenFile, token);
    node.start();
  }
  await attached(nodes);
  // Something that has it look again before its time.
  await plane.delete('node', 'another');
  await until('the old wish to be deleted', async () => (await wish()) === undefined, 90_000);
  for (const node of nodes) expect(node.agent!.events('break-glass')).toEqual([]);
});
