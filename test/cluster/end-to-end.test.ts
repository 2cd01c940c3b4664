/**
 * All of it at once, as an administrator sees it: an API server, two operators, three nodes with their agents, kubectl and its
 * plugin, and strangers who scan.
 */
import { afterEach, beforeAll, expect, test } from 'vitest';
import type { AnyObject } from './control-plane/cluster.ts';
import { attackerAddress, bystanderAddress, strangers, useWorld } from './world.ts';
import type { WorldNode } from './world-node.ts';

const here = useWorld({ nodes: 3, operators: 2 });
/** Of a PortScanPolicy that does not say. */
const distinctTargets = 15;
const promisedMs = 5_000;

const policy = (name: string, spec: object = {}): AnyObject => ({
  apiVersion: 'portcullis.dev/v1alpha1',
  kind: 'PortScanPolicy',
  metadata: { name },
  spec: { mode: 'Enforce', block: { duration: '10m', unprovenDuration: '10m' }, ...spec },
});

const byType = (status: AnyObject): AnyObject =>
  Object.fromEntries((status.conditions ?? []).map((condition: AnyObject) => [condition.type, condition]));

/** Applies by kubectl as a user does, and waits by kubectl until the nodes have it in force. */
async function applyAndWait(object: AnyObject): Promise<void> {
  const { plane, kubectl } = bound();
  await plane.run(['apply', '-f', '-'], { input: JSON.stringify(object) });
  const { name } = object.metadata;
  // The agents' reports come from a bucket that earlier tests have emptied.
  const wait = ['wait', '--for=condition=Programmed', '--timeout=60s', `portscanpolicy/${name}`];
  await plane.run(wait, { timeoutMs: 70_000 });
  expect(await kubectl('get', 'portscanpolicy', name, '-o', 'jsonpath={.status.summary}')).not.toBe('');
}

const roles = ['portcullis-view', 'portcullis-oncall', 'portcullis-edit'] as const;
type Role = (typeof roles)[number];
const kubeconfigs = {} as Record<Role, string>;
beforeAll(async () => {
  for (const role of roles) kubeconfigs[role] = await here().kubeconfigOf(role);
});

function bound() {
  const world = here();
  return {
    plane: world.plane,
    nodes: world.nodes as [WorldNode, WorldNode, WorldNode],
    kubectl: (...args: readonly string[]) => world.kubectl(...args),
    /** Runs the plugin as somebody with no more rights than a role has; it must end well. */
    plugin: async (role: Role, ...args: readonly string[]) => {
      const { code, stdout, stderr } = await world.plugin(args, kubeconfigs[role]);
      if (code !== 0) throw new Error(`kubectl portcullis ${args.join(' ')}: ended with ${code}\n${stderr}${stdout}`);
      return stdout;
    },
    until: world.until.bind(world),
    blocksOf: async (name: string) => ((await world.policyStatus(name)).blocks ?? []) as readonly AnyObject[],
  };
}

const isAbout = (source: string) => (block: AnyObject) => block.source === source;

afterEach(async () => {
  const { kubectl, nodes, until } = bound();
  await kubectl('delete', 'portscanpolicies,ipblocklists,sourceexceptions', '--all');
  await kubectl('label', 'nodes', '--all', 'role-');
  await kubectl('annotate', 'nodes', '--all', 'portcullis.dev/break-glass-');
  for (const node of nodes)
    await until(`the program of ${node.name} to be gone`, async () => (await node.xdp()) === undefined);
});

test('a scanner is cut off, told of within five seconds, let in, and blocked by hand', async () => {
  const { plane, nodes, kubectl, plugin, until, blocksOf } = bound();
  const [scanned, ...others] = nodes;
  await applyAndWait(policy('web'));
  expect(await here().leader()).toBeDefined();
  expect(await scanned.answers()).toBe(true);

  const [scannedMs, seen] = await Promise.all([
    scanned.scan().then(() => Date.now()),
    until('the block in the status of the policy', async () => {
      const block = (await blocksOf('web')).find(isAbout(attackerAddress));
      return block && { block, atMs: Date.now() };
    }),
  ]);
  const { block } = seen;
  const [own] = await scanned.blocks();
  const blockedMs = Date.parse(own!.since);
  console.log(
    `figure: a block is in the policy's status ${seen.atMs - blockedMs} ms after the probe that made it, ` +
      `${seen.atMs - scannedMs} ms after the end of the scan`,
  );
  expect(seen.atMs - blockedMs).toBeLessThan(promisedMs);
  expect(block).toMatchObject({ state: 'Blocked', nodes: [scanned.name], nodesTotal: 1, probes: distinctTargets });
  expect(block.ports.length).toBeGreaterThan(0);
  // By the operator's own clock, which here is the node's; it knows whole seconds.
  expect(Math.abs(Date.parse(block.since) - blockedMs)).toBeLessThan(promisedMs);
  expect(Math.abs(Date.parse(block.until) - Date.parse(own!.until))).toBeLessThan(promisedMs);

  const reached = await scanned.arrivedPorts();
  // The port of the connection before the scan is one of the targets.
  expect(reached).toHaveLength(distinctTargets - 1);
  expect(own!.ports).toEqual(expect.arrayContaining([...reached]));
  expect(await scanned.answers()).toBe(false);
  expect(await scanned.answers(bystanderAddress)).toBe(true);
  for (const other of others) {
    expect(await other.blocks()).toEqual([]);
    expect(await other.answers()).toBe(true);
  }

  const described = await kubectl('describe', 'portscanpolicy', 'web');
  for (const text of [attackerAddress, scanned.name, 'Until', 'Ports', 'Probes']) expect(described).toContain(text);
  const blocked = await plugin('portcullis-view', 'blocked');
  expect(blocked).toMatch(new RegExp(`^${attackerAddress}\\s+web\\s+${scanned.name}\\s+${distinctTargets}\\s`, 'm'));
  const explained = await plugin('portcullis-view', 'explain', attackerAddress);
  expect(explained).toContain(`${attackerAddress} is blocked on 1 of 3 nodes by web`);
  expect(explained).toMatch(
    new RegExp(`${attackerAddress}\\s+web\\s+${scanned.name}\\s+Blocked\\s+${distinctTargets}`),
  );
  const columns = await kubectl('get', 'portcullis');
  expect(columns).toMatch(/^portscanpolicy\S+\/web\s+Enforce\s+True\s+3\/3\s+1\s/m);
  for (const { name } of nodes)
    expect(columns).toMatch(
      new RegExp(`^nodereport\\S+/${name}\\s+Enforcing\\s+(Native|Generic)\\s+1\\s+[01]\\s+0\\s`, 'm'),
    );
  console.log([columns, blocked, explained, described].join('\n'));

  for (const { name } of nodes) {
    const { uid } = (await plane.get('node', name))!.metadata;
    const { metadata } = (await plane.get('nodereport', name))!;
    expect(metadata.ownerReferences).toEqual([{ apiVersion: 'v1', kind: 'Node', name, uid }]);
  }
  const events = await until('the Event', async () => {
    const text = await kubectl('events', '-A');
    return text.includes('ScanBlocked') && text;
  });
  expect(events).toMatch(/ScanBlocked\s+PortScanPolicy\/web\s+a source was blocked on/);
  // Who views the namespace default need not see whose address it was.
  expect(events).not.toContain(attackerAddress);
  console.log(events);

  const unblockMs = performance.now();
  const unblocking = plugin(
    'portcullis-oncall',
    'unblock',
    attackerAddress,
    '--for',
    '1h',
    '--reason',
    'a test of ours',
    '--wait',
    '60s',
  );
  await until('the scanner to be let in', () => scanned.answers());
  console.log(`figure: let in ${Math.round(performance.now() - unblockMs)} ms after unblock was started`);
  expect(await unblocking).toContain(`Let in on 1 node that had blocked it: ${scanned.name}`);
  console.log(`figure: unblock ended after ${Math.round(performance.now() - unblockMs)} ms`);
  expect((await scanned.report())?.blocks.newest.filter(isAbout(attackerAddress))).toEqual([]);
  await until('the status without the block', async () => (await blocksOf('web')).length === 0);
  await scanned.scan();
  expect((await scanned.arrivedPorts()).length).toBeGreaterThanOrEqual(1000);
  expect(await scanned.answers()).toBe(true);
  expect(await scanned.blocks()).toEqual([]);
  expect(await plugin('portcullis-view', 'explain', attackerAddress)).toContain('is let in');

  const refused = await here().plugin(['block', attackerAddress, '--for', '1h'], kubeconfigs['portcullis-oncall']);
  expect(refused).toMatchObject({ code: 3, stdout: '' });
  expect(refused.stderr).toContain('you may not patch ipblocklists');
  const blockMs = performance.now();
  const blocking = plugin(
    'portcullis-edit',
    'block',
    attackerAddress,
    '--for',
    '1h',
    '--reason',
    'a test of ours',
    '--wait',
    '60s',
  );
  for (const node of nodes) await until(`${node.name} to drop it`, async () => !(await node.answers()));
  console.log(`figure: dropped by all nodes ${Math.round(performance.now() - blockMs)} ms after block was started`);
  expect(await blocking).toContain('In force on 3/3 nodes.');
  console.log(`figure: block ended after ${Math.round(performance.now() - blockMs)} ms`);
  for (const node of nodes) expect(await node.answers(bystanderAddress)).toBe(true);
  expect(await kubectl('get', 'ipblocklists')).toMatch(/block-203\.0\.113\.7\s/);
});

test('a policy holds where its labels select, and says so where they select nothing', async () => {
  const { nodes, kubectl, until, plane } = bound();
  const source = strangers[2];
  const [edge, ...others] = nodes;
  await kubectl('label', 'node', edge.name, 'role=edge');
  await plane.apply(policy('nowhere', { nodeSelector: { matchLabels: { role: 'none' } } }));
  await applyAndWait(policy('edge', { nodeSelector: { matchLabels: { role: 'edge' } } }));
  const { nodes: counts, summary } = await here().policyStatus('edge');
  expect(counts).toMatchObject({ selected: 1, programmed: 1 });
  expect(summary).toBe('1/1');
  for (const node of nodes) await node.scan({ from: source, ports: '1-100' });
  expect(await edge.arrivedPorts(source)).toHaveLength(distinctTargets - 1);
  for (const other of others) {
    expect(await other.xdp()).toBeUndefined();
    expect(await other.arrivedPorts(source)).toHaveLength(100);
  }
  const { Accepted, Programmed } = await until('what nobody is selected by to say so', async () => {
    const conditions = byType(await here().policyStatus('nowhere'));
    return conditions.Programmed && conditions;
  });
  expect(Accepted).toMatchObject({ status: 'True', observedGeneration: 1 });
  expect(Programmed).toMatchObject({ status: 'False', reason: 'NoNodesSelected', observedGeneration: 1 });
});

test('break-glass on a node detaches there alone, and is told as an Event on the node', async () => {
  const { nodes, kubectl, until } = bound();
  const [, kept, detached] = nodes;
  await applyAndWait(policy('web'));
  await kubectl('annotate', 'node', detached.name, 'portcullis.dev/break-glass=detach');
  await until('the program to be gone', async () => (await detached.xdp()) === undefined);
  expect(await kept.xdp()).toBeDefined();
  const event = new RegExp(`Detached\\s+Node/${detached.name}\\s`);
  await until('the Event', async () => event.test(await kubectl('events', '-A')), 60_000);
  expect((await detached.report())?.state).toBe('Detached');
  await kubectl('annotate', 'node', detached.name, 'portcullis.dev/break-glass-');
  await until('the program to be back', () => detached.xdp());
});
