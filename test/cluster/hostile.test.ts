/**
 * Somebody who holds what he should not: the token of a node's agent, or a role that lets him write objects. What he has may be
 * misused, and no more: others stay enforced and told of, no process grows or falls, and the API server is not written to death.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, test } from 'vitest';
import { openKubeClient } from '../../kube/http-client.ts';
import { resources } from '../../kube/resources.ts';
import type { AnyObject } from './control-plane/cluster.ts';
import { useWorld } from './world.ts';

const statusIntervalMs = 1000;
const here = useWorld({ nodes: 1, operators: 1, operatorArgs: ['--status-interval', `${statusIntervalMs}ms`] });
const stolen = 'stolen';
const policies = Array.from({ length: 10 }, (_, i) => `web-${i}`);
let stolenUid: string;
let stolenKubeconfig: string;

const policy = (name: string, spec: object = {}): AnyObject => ({
  apiVersion: 'portcullis.dev/v1alpha1',
  kind: 'PortScanPolicy',
  metadata: { name },
  spec: { mode: 'Enforce', ...spec },
});

beforeAll(async () => {
  const { plane } = here();
  stolenUid = await plane.createNode(stolen);
  const token = await plane.tokenFor({
    namespace: 'portcullis-system',
    serviceAccount: 'portcullis-agent',
    node: stolen,
  });
  stolenKubeconfig = plane.kubeconfigForToken(join(plane.folder, stolen), token).kubeconfig;
  await plane.apply(policies.map((name) => policy(name)));
});

/** What a schema lets through at most, in words that hurt terminals and whoever counts characters in another way. */
function hostileReport(turn: number, more: object = {}): AnyObject {
  const nasty = `\u001b[2J\u202e\n${'\u{1f600}'.repeat(240)}`;
  const nowMs = Date.now() + turn * 86_400_000;
  const time = (ms: number) => new Date(ms).toISOString();
  return {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'NodeReport',
    metadata: {
      name: stolen,
      ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: stolen, uid: stolenUid }],
      ...more,
    },
    status: {
      observedAt: time(nowMs),
      state: turn % 2 === 0 ? 'Detached' : 'Enforcing',
      agent: { version: nasty.slice(0, 60), startedAt: time(0) },
      policies: [...policies, ...policies, '__proto__', 'constructor', 'no-such-policy'].map((name, i) => ({
        name,
        generation: i % 3,
        state: (['Failed', 'Programmed', 'Conflicted', 'Pending'] as const)[(turn + i) % 4],
        message: `${turn % 7} ${nasty}`,
        blocked: 2 ** 52,
        packetsDropped: 2 ** 53 - 1,
      })),
      lists: [],
      blocks: {
        blocked: 2 ** 40,
        newest: Array.from({ length: 20 }, (_, i) => ({
          source: `198.51.100.${(turn * 20 + i) % 250}`,
          policy: policies[i % 10],
          state: 'Blocked',
          probes: 2 ** 50,
          since: time(253e12),
          until: time(253e12),
          secondsLeft: 2 ** 50,
          packetsDropped: 2 ** 53 - 1,
        })),
      },
      findings: Array.from({ length: 20 }, (_, i) => ({
        code: i % 2 === turn % 2 ? 'TableFull' : 'ForeignXdpProgram',
        severity: 'error',
        message: nasty,
        object: `PortScanPolicy/${policies[i % 10]}`,
        interface: `eth${turn % 5}`,
      })),
    },
  };
}

const metric = (text: string, name: string): number =>
  text
    .split('\n')
    .filter((line) => line.startsWith(name) && !line.startsWith('#'))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);

async function figures() {
  const text = await here().operators[0]!.metrics();
  return {
    statusWrites: metric(text, 'portcullis_operator_status_writes_total'),
    events: metric(text, 'portcullis_kube_events_written_total'),
    cpuSeconds: metric(text, 'process_cpu_seconds_total'),
    rssBytes: metric(text, 'process_resident_memory_bytes'),
  };
}

function bound() {
  const world = here();
  const { plane, nodes, operators } = world;
  return {
    ...{ plane, nodes, operators },
    until: world.until.bind(world),
    plugin: world.plugin.bind(world),
    kubeconfigOf: world.kubeconfigOf.bind(world),
  };
}

test('a stolen token that writes its report 50 times a second', async () => {
  const { plane, until, plugin } = bound();
  await until('every policy to be in force on the other node', async () => {
    const found = (await plane.list('portscanpolicies')) as AnyObject[];
    return found.every(({ status }) => status?.nodes?.selected === 2 && status.nodes.noReport === 1);
  });
  const client = await openKubeClient({ kubeconfig: stolenKubeconfig, userAgent: 'thief' });
  const before = await figures();
  const startedMs = performance.now();
  let writes = 0;
  const refused = new Map<string, number>();
  for (let turn = 0; performance.now() - startedMs < 5_000; turn++) {
    try {
      await client.apply(resources.nodeReports, hostileReport(turn) as never, { fieldManager: 'thief', force: true });
      writes++;
    } catch (error) {
      refused.set((error as Error).message, (refused.get((error as Error).message) ?? 0) + 1);
    }
    await sleep(Math.max(0, startedMs + turn * 20 - performance.now()));
  }
  const seconds = (performance.now() - startedMs) / 1000;
  const after = await figures();
  await client.close();
  expect([...refused]).toEqual([]);
  expect(writes).toBeGreaterThan(20);
  // Six at once for each policy, and one an interval; more only where the storm lasted longer.
  const mostWrites = policies.length * (6 + (seconds * 1000) / statusIntervalMs + 1);
  expect(after.statusWrites - before.statusWrites).toBeLessThan(mostWrites);
  // One of a kind for each policy and node, and one more for what it counted meanwhile.
  expect(after.events - before.events).toBeLessThan(2 * (policies.length + 4));
  expect(after.rssBytes - before.rssBytes).toBeLessThan(60e6);
  console.log(`figure: ${writes} hostile reports in ${seconds.toFixed(1)} s: ${JSON.stringify({ before, after })}`);

  // What was written is what the operator means to say, so it says it once.
  await sleep(4 * statusIntervalMs);
  const quiet = await figures();
  await sleep(4 * statusIntervalMs);
  expect((await figures()).statusWrites).toBe(quiet.statusWrites);

  const seen = (await plane.list('portscanpolicies')) as AnyObject[];
  for (const { status } of seen) {
    expect(status.nodes).toMatchObject({ selected: 2 });
    for (const block of status.blocks) {
      expect(block.nodes).toEqual([stolen]);
      expect(Date.parse(block.since)).toBeLessThan(Date.now() + 5_000);
    }
    expect(JSON.stringify(status)).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}]|\\u/u);
  }
  const { stdout } = await plugin(['status']);
  expect(stdout.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}]/u);
  expect(stdout.split('\n').length).toBeLessThan(60);
});

test('a stolen token puts nothing large on its report, which everybody reads', async () => {
  const client = await openKubeClient({ kubeconfig: stolenKubeconfig, userAgent: 'thief' });
  const write = (more: object) =>
    client.apply(resources.nodeReports, hostileReport(0, more) as never, { fieldManager: 'thief', force: true });
  const labels = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`l${i}`, 'x'.repeat(60)]));
  await expect(write({ labels })).rejects.toMatchObject({ status: 403 });
  await expect(write({ annotations: { note: 'x'.repeat(200_000) } })).rejects.toMatchObject({ status: 403 });
  await expect(write({ labels: { team: 'net' }, annotations: { note: 'x' } })).resolves.toBeDefined();
  await client.close();
});

test('objects as large as the store takes keep no agent and no operator from the others', async () => {
  const { until, nodes, operators, kubeconfigOf } = bound();
  const client = await openKubeClient({ kubeconfig: await kubeconfigOf('portcullis-edit'), userAgent: 'thief' });
  const labels = Object.fromEntries(
    Array.from({ length: 9_000 }, (_, i) => [`l${i}-${'k'.repeat(50)}`, 'v'.repeat(60)]),
  );
  const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
  const exception = (name: string): AnyObject => ({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'SourceException',
    metadata: { name, labels },
    spec: { source: '198.51.100.1/32', expiresAt },
  });
  const list = (name: string): AnyObject => ({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'IpBlocklist',
    metadata: { name, labels },
    spec: { entries: [{ cidr: '192.0.2.0/24' }] },
  });
  for (let i = 0; i < 6; i++) {
    await client.create(resources.sourceExceptions, exception(`fat-${i}`) as never);
    if (i < 2) await client.create(resources.ipBlocklists, list(`fat-${i}`) as never);
  }
  const [node] = nodes;
  const [operator] = operators;
  await node!.kill();
  await operator!.kill();
  node!.start();
  operator!.start();
  await node!.agent!.enforcing();
  await until('the operator to be ready', () => operator!.isReady().catch(() => false), 60_000);
  await until('the report of all lists', async () => (await node!.report())?.lists.length === 2, 60_000);
  const { rssBytes } = await figures();
  console.log(
    `figure: with 8 objects of 1 MB ${Math.round(rssBytes / 1e6)} MB operator, ${rss(node!.agent!.command.pid)} MB agent`,
  );
  await client.close();
});

const rss = (pid: number | undefined): number =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1000);
