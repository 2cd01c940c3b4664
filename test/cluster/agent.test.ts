/** A real agent on a real network, with its policies from a real API server. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { type AgentProcess, attackerAddress, distinctTargets, ipBlocklist, portScanPolicy, victimLink } from '../life/guarded-host.ts';
import { waitFor } from '../support/wait-for.ts';
import { ClusterNode } from './cluster-node.ts';
import type { AnyObject } from './control-plane/cluster.ts';
import { useControlPlane } from './use-control-plane.ts';

const cluster = useControlPlane();
const selected = 'agent.test/node';
const made: [kind: string, name: string][] = [];
afterAll(async () => {
  for (const [kind, name] of made) await cluster.delete(kind, name);
});

/** Applies an object that only nodes of this file's tests are selected by. */
async function apply(object: unknown, node: ClusterNode): Promise<void> {
  const { kind, metadata, spec, ...rest } = object as AnyObject;
  made.push([kind, metadata.name]);
  const selector = kind === 'SourceException' ? {} : { nodeSelector: { matchLabels: { [selected]: node.name } } };
  await cluster.apply({ kind, metadata, spec: { ...spec, ...selector }, ...rest });
}

const agents: AgentProcess[] = [];
afterEach(() => void agents.splice(0));

function launch(node: ClusterNode, args: readonly string[] = []): AgentProcess {
  const agent = node.launch(['--report-interval', '1s', ...args]);
  agents.push(agent);
  return agent;
}

const node = (name: string) => ClusterNode.create(cluster, name, { labels: { [selected]: name } });

/** Waits, and tells what the agents wrote when it was in vain. */
async function until<T>(what: string, look: () => Promise<T | undefined | false>, timeoutMs = 30_000): Promise<T> {
  try {
    return (await waitFor(look, timeoutMs, { what, intervalMs: 100 })) as T;
  } catch (error) {
    const logs = agents.map(({ command }) => command.stderr + command.stdout);
    throw new Error(`${(error as Error).message}; the agents wrote:\n${logs.join('\n')}`);
  }
}

const policyOf = (report: AnyObject | undefined, name: string) =>
  report?.policies.find((each: AnyObject) => each.name === name);

test('a policy from the API server is attached, reported, cuts a scanner off, and an exception lets him in', async () => {
  await using n = await node('agent-a');
  const agent = launch(n);
  await agent.until(({ event }) => event === 'enforcing', 'the first snapshot');
  expect(await n.host.xdp()).toBeUndefined();

  await apply(portScanPolicy('agent-a'), n);
  await until('the program', () => n.host.xdp());
  const report = await until('the report', async () => {
    const now = await n.report();
    return policyOf(now, 'agent-a')?.state === 'Programmed' && now;
  });
  expect(report).toMatchObject({ state: 'Enforcing', interfaces: [{ name: victimLink, policy: 'agent-a' }] });
  const { metadata } = (await cluster.get('nodereport', n.name))!;
  expect(metadata.ownerReferences).toEqual([
    { apiVersion: 'v1', kind: 'Node', name: n.name, uid: (await cluster.get('node', n.name))!.metadata.uid },
  ]);

  await n.host.scan(3 * distinctTargets);
  expect(await n.host.reached()).toBe(distinctTargets - 1);
  const scannedMs = performance.now();
  const blocked = await until('the block in the report', async () => {
    const now = await n.report();
    return now?.blocks.blocked === 1 && now;
  });
  console.log(`figure: a block is in the NodeReport ${Math.round(performance.now() - scannedMs)} ms after the scan`);
  expect(blocked.blocks.newest).toMatchObject([{ source: attackerAddress, policy: 'agent-a', state: 'Blocked' }]);
  expect(await n.host.answers()).toBe(false);

  await apply(
    {
      apiVersion: 'portcullis.dev/v1alpha1',
      kind: 'SourceException',
      metadata: { name: 'agent-a' },
      spec: { source: `${attackerAddress}/32`, expiresAt: new Date(Date.now() + 600_000).toISOString() },
    },
    n,
  );
  await until('the attacker to be let in', () => n.host.answers());
  await until('the report without the block', async () => {
    const now = await n.report();
    return now?.blocks.blocked === 0 && now.exceptions.includes('agent-a');
  });
  expect(await n.host.blocks()).toEqual([]);
  await n.host.scan(3 * distinctTargets);
  expect(await n.host.answers()).toBe(true);
  expect(await n.host.blocks()).toEqual([]);

  await cluster.delete('sourceexception', 'agent-a');
  await until('the exception to be gone', async () => (await n.report())?.exceptions.length === 0);
  await n.host.scan(3 * distinctTargets, { first: 3000 });
  expect(await n.host.answers()).toBe(false);

  await cluster.delete('portscanpolicy', 'agent-a');
  await until('the program to be gone', async () => (await n.host.xdp()) === undefined);
  await until('the report', async () => (await n.report())?.policies.length === 0);
  await agent.stop();
});
