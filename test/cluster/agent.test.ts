/** A real agent on a real network, with its policies from a real API server. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import {
  type AgentProcess,
  attackerAddress,
  bystanderAddress,
  distinctTargets,
  ipBlocklist,
  metric,
  otherAddresses,
  portScanPolicy,
  victimLink,
} from '../life/guarded-host.ts';
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
  const residentBytes = metric(await n.host.metrics(), 'process_resident_memory_bytes')!;
  console.log(`figure: the agent in a cluster has ${Math.round(residentBytes / 1e6)} MB resident`);
  expect(residentBytes).toBeLessThan(130e6);
  await agent.stop();
});

describe('without the API server', () => {
  test('an agent goes on, and so does one that is started again; the report tells what happened meanwhile', async () => {
    await using n = await node('agent-b');
    const first = launch(n);
    await first.enforcing();
    await apply(portScanPolicy('agent-b'), n);
    await apply(ipBlocklist('agent-b', [{ cidr: `${otherAddresses[0]}/32` }]), n);
    await until('both', async () => (await n.report())?.policiesProgrammed === 2);

    n.relay.cut();
    await n.host.scan(3 * distinctTargets);
    expect(await n.host.answers()).toBe(false);
    await first.stop();
    expect(await n.host.answers()).toBe(false);

    const second = launch(n);
    await second.enforcing();
    expect(await n.host.answers()).toBe(false);
    expect(await n.host.answers(otherAddresses[0])).toBe(false);
    expect(await n.host.answers(bystanderAddress)).toBe(true);
    // Not what an earlier agent left pinned alone: it detects what comes now.
    await n.host.scan(3 * distinctTargets, { from: otherAddresses[1] });
    expect(await n.host.answers(otherAddresses[1])).toBe(false);
    const before = await n.report();
    expect(before?.blocks.blocked).toBe(0);

    n.relay.mend();
    const after = await until('the report of it', async () => {
      const now = await n.report();
      return now?.blocks.blocked === 2 && now;
    });
    expect(after.agent.startedAt).not.toBe(before?.agent.startedAt);
    await second.stop();
  });

  test('an agent after a reboot enforces what was last known', async () => {
    await using n = await node('agent-c');
    const first = launch(n);
    await first.enforcing();
    await apply(portScanPolicy('agent-c'), n);
    await until('the program', () => n.host.xdp());
    await until('the report', async () => (await n.report())?.policiesProgrammed === 1);
    await first.stop();
    // What a reboot leaves: nothing pinned, and the state on disk.
    const { code, stderr } = await n.host.ask(['detach']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    n.relay.cut();
    const second = launch(n);
    await until('the program', () => n.host.xdp());
    await n.host.scan(3 * distinctTargets);
    expect(await n.host.reached()).toBe(distinctTargets - 1);
    await second.stop();
  });

  test('a fresh agent waits: alive, not ready, and it says for whom', async () => {
    await using n = await node('agent-d');
    n.relay.cut();
    const agent = launch(n);
    const ask = async (path: string) =>
      (await n.host.victim.exec(['curl', '-s', '-w', ' %{http_code}', `http://127.0.0.1:9469${path}`])).stdout;
    await until('an answer', async () => (await ask('/healthz')).endsWith(' 200'));
    expect(await ask('/readyz')).toMatch(/waiting for the API server https:.* 503$/s);
    n.relay.mend();
    await agent.enforcing();
    expect(await ask('/readyz')).toMatch(/ 200$/);
    await agent.stop();
  });
});

describe('break-glass', () => {
  test('by the annotation of the Node detaches everything, over restarts, until it is taken back', async () => {
    await using n = await node('agent-e');
    const annotate = (value: string) =>
      cluster.run(['annotate', '--overwrite', 'node', n.name, `portcullis.dev/break-glass${value}`]);
    const first = launch(n);
    await first.enforcing();
    await apply(portScanPolicy('agent-e'), n);
    await until('the program', () => n.host.xdp());
    await n.host.scan(3 * distinctTargets);
    expect(await n.host.answers()).toBe(false);

    await annotate('=detach');
    await until('everything to be detached', async () => (await n.host.xdp()) === undefined);
    expect(await n.host.answers()).toBe(true);
    const report = await until('the report', async () => {
      const now = await n.report();
      return now?.state === 'Detached' && now;
    });
    expect(report).toMatchObject({ breakGlass: 'NodeAnnotation', mode: 'None' });
    expect(first.events('break-glass')).toMatchObject([{ reason: 'NodeAnnotation' }]);
    expect(metric(await n.host.metrics(), 'portcullis_break_glass')).toBe(1);

    // Known from the state, without anybody to ask.
    await first.stop();
    n.relay.cut();
    const second = launch(n);
    await second.until(({ event }) => event === 'break-glass', 'break-glass');
    await sleep(3_000);
    expect(await n.host.xdp()).toBeUndefined();
    n.relay.mend();

    await annotate('-');
    await until('the program', () => n.host.xdp());
    expect(second.events('break-glass-over')).toHaveLength(1);
    await until('the report', async () => (await n.report())?.state === 'Enforcing');
    expect(metric(await n.host.metrics(), 'portcullis_break_glass')).toBe(0);
    // What was learned before is not lost.
    expect(await n.host.answers()).toBe(false);
    await second.stop();
  });

  test('by a file works without an API server, and before an agent attaches anything', async () => {
    await using n = await node('agent-f');
    const first = launch(n);
    await first.enforcing();
    await apply(portScanPolicy('agent-f'), n);
    await until('the program', () => n.host.xdp());
    n.relay.cut();
    writeFileSync(n.breakGlassFile, '');
    await until('everything to be detached', async () => (await n.host.xdp()) === undefined);
    rmSync(n.breakGlassFile);
    await until('the program', () => n.host.xdp());

    await first.crash();
    expect(await n.host.xdp()).toBeDefined();
    writeFileSync(n.breakGlassFile, '');
    const second = launch(n);
    await until('what the first left to be detached', async () => (await n.host.xdp()) === undefined);
    await sleep(3_000);
    expect(await n.host.xdp()).toBeUndefined();
    n.relay.mend();
    await until('the report', async () => (await n.report())?.breakGlass === 'File');
    rmSync(n.breakGlassFile);
    await until('the program', () => n.host.xdp());
    await until('the report', async () => (await n.report())?.state === 'Enforcing');
    await second.stop();
  });
});

test('a Node that is relabelled, deleted and made again gets what is for it, and its report again', async () => {
  await using n = await node('agent-i');
  const agent = launch(n);
  await agent.enforcing();
  await apply(portScanPolicy('agent-i'), n);
  await until('the program', () => n.host.xdp());
  await cluster.run(['label', 'node', n.name, `${selected}-`]);
  await until('the program to be gone', async () => (await n.host.xdp()) === undefined);
  await cluster.run(['label', 'node', n.name, `${selected}=${n.name}`]);
  await until('the program', () => n.host.xdp());

  await cluster.delete('node', n.name);
  await until('the finding', async () =>
    (await n.report())?.findings?.some(({ code }: AnyObject) => code === 'NodeNotFound'),
  );
  // It enforces on: the machine is still there.
  expect(await n.host.xdp()).toBeDefined();
  await cluster.delete('nodereport', n.name);
  const uid = await cluster.createNode(n.name, { labels: { [selected]: n.name } });
  await until('the report', async () => {
    const report = await cluster.get('nodereport', n.name);
    return (
      report?.metadata.ownerReferences?.[0]?.uid === uid && policyOf(report?.status, 'agent-i')?.state === 'Programmed'
    );
  });
  await agent.stop();
});

test('a refused token is told as what it is, and a new one is taken without a restart', async () => {
  await using n = await node('agent-g');
  const token = readFileSync(n.tokenFile, 'utf8');
  writeFileSync(n.tokenFile, 'not.a.token');
  const agent = launch(n);
  await agent.until(({ event, reason }) => event === 'api-server' && reason === 'unauthorized', 'the refusal');
  writeFileSync(n.tokenFile, token);
  await agent.enforcing();
  await agent.stop();
});

test('commands of the agent work beside one in a cluster', async () => {
  await using n = await node('agent-h');
  const agent = launch(n);
  await agent.enforcing();
  await apply(portScanPolicy('agent-h'), n);
  await until('the program', () => n.host.xdp());
  await n.host.scan(3 * distinctTargets);
  const status = await n.host.ask(['status']);
  expect(status.stdout).toContain('agent-h');
  expect(await n.host.blocks()).toMatchObject([{ source: attackerAddress }]);
  expect((await n.host.ask(['unblock', attackerAddress])).code).toBe(0);
  expect(await n.host.answers()).toBe(true);
  await until('the status file', async () => n.host.status()?.policies[0]?.generation === 1);
  await agent.stop();
});
