/**
 * An API server that is away, slow, cut off or put back to an older state, and a leader that is killed, under blocked sources
 * that never stop: nodes go on by themselves, and all of it comes together again. The programs that end are started again, as a
 * kubelet does.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AnyObject } from '../control-plane/cluster.ts';
import { attackerAddress, bystanderAddress, strangers, useWorld } from '../world.ts';
import { type Floods, floodAll, listedAddress } from './flood.ts';
import {
  apply,
  blockedIn,
  blocklist,
  conditionsOf,
  distinctTargets,
  policy,
  untilObject,
  untilProgrammed,
} from './objects.ts';

const lateAddress = strangers[3];
/** Reports and watches wait at most 30 s between two attempts. */
const backAgainMs = 60_000;

const here = useWorld({
  nodes: 2,
  operators: 2,
  agentArgs: ['--report-interval', '1s'],
  // Few requests, so that a leader that writes many statuses can be met at it.
  operatorArgs: ['--status-interval', '1s', '--requests-per-second', '10', '--requests-burst', '10'],
});
let floods: Floods;
let mayRestart = true;
let kubelet: NodeJS.Timeout | undefined;
beforeAll(async () => {
  if (here() === undefined) return;
  kubelet = setInterval(() => {
    if (mayRestart) for (const operator of here().operators) operator.start();
  }, 1_000);
  floods = await floodAll(here());
}, 120_000);
afterAll(() => clearInterval(kubelet));

const onBoth = ['node-a', 'node-b'];
const reachedAbove = (ports: readonly number[], first: number) => ports.filter((port) => port >= first);

test('a leader that is killed while it writes is followed by one that loses nothing', async () => {
  const world = here();
  const { plane } = world;
  const names = Array.from({ length: 30 }, (_, i) => `many-${i}`);
  const write = (reason: string) =>
    plane.apply(
      names.map((name) =>
        policy(name, {
          nodeSelector: { matchLabels: { role: 'none' } },
          allow: [{ cidr: '198.51.100.1/32', reason }],
        }),
      ),
    );
  const told = async () =>
    (await plane.list('portscanpolicies')).filter(
      ({ metadata: { generation }, status }) => status?.observedGeneration === generation,
    ).length;
  const all = names.length + 1;
  const before = await plane.get('portscanpolicy', 'guard');

  await floods.during('the leader is killed while it writes', async () => {
    await write('first');
    await world.until('all to have a status', async () => (await told()) === all);
    const leader = await world.until('a leader', () => world.leader());
    const { leaseTransitions } = (await plane.get('lease', 'portcullis-operator', 'portcullis-system'))!.spec;
    await write('second');
    const killedAt = await world.until('some to be told of', async () => {
      const count = await told();
      return count > 1 && count;
    });
    mayRestart = false;
    await leader.kill();
    expect(killedAt, 'statuses written when it was killed').toBeLessThan(all);
    await write('third');
    const next = await world.until('another leader', () => world.leader());
    mayRestart = true;
    expect(next.name).not.toBe(leader.name);
    await world.until('all to be told of', async () => (await told()) === all, 60_000);
    const lease = (await plane.get('lease', 'portcullis-operator', 'portcullis-system'))!.spec;
    expect(lease.leaseTransitions).toBe(leaseTransitions + 1);
  });

  for (const { metadata, spec, status } of await plane.list('portscanpolicies')) {
    if (metadata.name === 'guard') continue;
    expect(spec.allow[0].reason).toBe('third');
    const { Accepted, Programmed } = conditionsOf(status);
    expect(Accepted).toMatchObject({ status: 'True', observedGeneration: metadata.generation });
    expect(Programmed).toMatchObject({ reason: 'NoNodesSelected', observedGeneration: metadata.generation });
  }
  // What did not change is as the one before left it.
  const after = await plane.get('portscanpolicy', 'guard');
  for (const type of ['Accepted', 'Programmed'])
    expect(conditionsOf(after!.status)[type]).toEqual(conditionsOf(before!.status)[type]);
  expect(blockedIn(after!.status)).toEqual(blockedIn(before!.status));
  await plane.run(['delete', 'portscanpolicy', ...names]);
});

test('an API server that is away for a minute: nodes go on, also after a restart, and tell afterwards', async () => {
  const world = here();
  const { plane } = world;
  const [a, b] = world.nodes as [(typeof world.nodes)[0], (typeof world.nodes)[0]];
  await floods.during('the API server is away', async () => {
    const startedMs = performance.now();
    await plane.stopApiServer('SIGKILL');
    await b.kill();
    await b.start().enforcing();
    expect((await b.blocks()).map(({ source }) => source)).toContain(attackerAddress);
    for (const node of [a, b]) {
      await node.scan({ from: lateAddress, ports: '4001-4100' });
      expect(reachedAbove(await node.arrivedPorts(lateAddress), 4001)).toHaveLength(distinctTargets - 1);
      expect(await node.answers(lateAddress)).toBe(false);
    }
    const isAway = ({ event, code }: AnyObject) => event === 'finding' && code === 'ApiServerAway';
    await a.agent!.until(isAway, 'the finding', 60_000);
    await sleep(Math.max(0, 60_000 - (performance.now() - startedMs)));
    for (const node of [a, b]) expect(node.agent!.command.isRunning).toBe(true);
  });

  const backMs = performance.now();
  await floods.during('the API server is back', async () => {
    await plane.startApiServer();
    const hasLate = ({ status }: AnyObject) => blockedIn(status)[lateAddress]?.length === 2;
    const { status } = await untilObject(world, 'portscanpolicy', 'guard', hasLate, backAgainMs);
    console.log(`figure: blocks of the outage are told ${Math.round(performance.now() - backMs)} ms after its end`);
    expect(blockedIn(status)).toEqual({ [attackerAddress]: onBoth, [lateAddress]: onBoth });
    await apply(world, policy('guard', { priority: 1 }));
    await untilProgrammed(world, 'guard', { nodes: 2, timeoutMs: backAgainMs });
    const isGone = ({ event, code }: AnyObject) => event === 'finding-gone' && code === 'ApiServerAway';
    await a.agent!.until(isGone, 'the finding to be gone', backAgainMs);
  });
}, 240_000);

test('an etcd that was put back to an older state: what it asks for holds, and what is changed then arrives', async () => {
  const world = here();
  const { plane } = world;
  const [a, b] = world.nodes as [(typeof world.nodes)[0], (typeof world.nodes)[0]];
  await apply(world, blocklist('restored', [{ cidr: `${lateAddress}/32` }]));
  await untilObject(world, 'ipblocklist', 'restored', ({ status }) => status?.summary === '2/2');
  await plane.run(['delete', 'sourceexceptions', '--all']);

  await floods.during('etcd is put back to an older state', async () => {
    const snapshot = plane.snapshotEtcd();
    const { generation } = (await plane.get('portscanpolicy', 'guard'))!.metadata;
    await plane.run(['delete', 'ipblocklist', 'restored']);
    await apply(world, blocklist('vanishing', [{ cidr: `${bystanderAddress}/32` }]));
    await apply(world, policy('guard', { detection: { distinctTargets: 40 } }));
    await untilProgrammed(world, 'guard', { nodes: 2 });
    for (const node of [a, b])
      await world.until('the bystander to be blocked', async () => !(await node.answers(bystanderAddress)));

    // One node sees how it was put back; to the other the policy has the same uid and generation as before, and another spec.
    a.relay.cut();
    await plane.restoreEtcd(snapshot);
    const changed = await apply(world, policy('guard', { detection: { distinctTargets: 5 } }));
    expect(changed.metadata.generation).toBe(generation + 1);
    a.relay.mend();
    const restoredMs = performance.now();
    for (const node of [a, b]) {
      await world.until(
        `the bystander to be let in by ${node.name}`,
        () => node.answers(bystanderAddress),
        backAgainMs,
      );
      await untilObject(
        world,
        'nodereport',
        node.name,
        ({ status }) =>
          status.lists.some(({ name, state }: AnyObject) => name === 'restored' && state === 'Programmed'),
        backAgainMs,
      );
      expect(await node.answers(lateAddress)).toBe(false);
    }
    const { status } = await untilProgrammed(world, 'guard', { nodes: 2, timeoutMs: backAgainMs });
    console.log(`figure: all is as the restored store asks ${Math.round(performance.now() - restoredMs)} ms later`);
    expect(blockedIn(status)[attackerAddress]).toEqual(onBoth);
    for (const node of [a, b]) {
      await node.scan({ from: bystanderAddress, ports: '5001-5100' });
      // He was answered on a port before, which counts as one of the targets.
      expect(reachedAbove(await node.arrivedPorts(bystanderAddress), 5001).length).toBeLessThan(5);
      expect(await node.answers(bystanderAddress)).toBe(false);
    }
  });

  const changedMs = performance.now();
  await floods.during('a policy is edited after that', async () => {
    await apply(world, policy('guard', { detection: { distinctTargets: 7 } }));
    await untilProgrammed(world, 'guard', { nodes: 2 });
    console.log(`figure: a change after the restore is in force after ${Math.round(performance.now() - changedMs)} ms`);
  });
  await plane.run(['delete', 'ipblocklist', 'restored']);
}, 240_000);

test('connections that are reset each second for a minute: changes arrive all the same', async () => {
  const world = here();
  const relays = [...world.nodes, ...world.operators].map(({ relay }) => relay);
  const cutter = setInterval(() => {
    for (const relay of relays) relay.resetConnections();
  }, 1_000);
  try {
    await floods.during('connections are reset each second', async () => {
      const startedMs = performance.now();
      for (let round = 1; performance.now() - startedMs < 60_000; round++) {
        await apply(world, blocklist('reset', [{ cidr: `203.0.113.${100 + round}/32` }]));
        await sleep(5_000);
      }
      const { metadata } = await apply(world, policy('guard', { priority: 2 }));
      const isSeen = ({ status }: AnyObject) =>
        status.policies.some(
          ({ name, generation }: AnyObject) => name === 'guard' && generation === metadata.generation,
        );
      for (const node of world.nodes) await untilObject(world, 'nodereport', node.name, isSeen, backAgainMs);
      const seconds = Math.round((performance.now() - startedMs) / 1000);
      console.log(`figure: a policy is in force and reported on both nodes while resets went on for ${seconds} s`);
    });
  } finally {
    clearInterval(cutter);
  }
  await floods.during('connections hold again', async () => {
    await untilProgrammed(world, 'guard', { nodes: 2, timeoutMs: backAgainMs });
    const list = await world.plane.get('ipblocklist', 'reset');
    const isTold = ({ status }: AnyObject) =>
      status?.summary === '2/2' && status.observedGeneration === list!.metadata.generation;
    await untilObject(world, 'ipblocklist', 'reset', isTold, backAgainMs);
    for (const node of world.nodes) expect(node.agent!.command.isRunning).toBe(true);
  });
}, 240_000);

test('an API server that takes seconds for each answer, or stands still in turns, is waited for', async () => {
  const world = here();
  const relays = [...world.nodes, ...world.operators].map(({ relay }) => relay);
  await floods.during('everything from the API server comes two seconds late', async () => {
    for (const relay of relays) relay.delay(2_000);
    await apply(world, policy('guard', { priority: 3 }));
    await untilProgrammed(world, 'guard', { nodes: 2, timeoutMs: backAgainMs });
    for (const relay of relays) relay.delay(0);
  });
  await floods.during('the API server stands still in turns', async () => {
    await apply(world, policy('guard', { priority: 4 }));
    for (let turn = 0; turn < 4; turn++) {
      world.plane.pauseApiServer();
      await sleep(1_500);
      world.plane.resumeApiServer();
      await sleep(500);
    }
    await untilProgrammed(world, 'guard', { nodes: 2, timeoutMs: backAgainMs });
  });
  expect(await world.nodes[0]!.answers(listedAddress)).toBe(false);
}, 180_000);
