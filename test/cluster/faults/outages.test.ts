/**
 * An API server that is away, slow, cut off or put back to an older state, a leader that is killed, tokens that expire and a clock
 * that is set, under blocked sources that never stop: nodes go on by themselves, and all of it comes together again. Programs that
 * end are started again, as a kubelet does. Most of the time is spent waiting, so two clusters go through it side by side.
 */
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AnyObject } from '../control-plane/cluster.ts';
import { attackerAddress, bystanderAddress, strangers, useWorld, type World } from '../world.ts';
import type { WorldNode } from '../world-node.ts';
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
import { SteppedClock } from './stepped-clock.ts';

const lateAddress = strangers[3];
/** Of the attacker's namespace too, for a list that an older state has. */
const restoredAddress = '203.0.113.11';
/** Reports and watches wait at most 30 s between two attempts, of which one more may fail while the server starts. */
const backAgainMs = 90_000;
/** Within a cluster one after the other. */
const inTurn = { concurrent: false, timeout: 240_000 };
const shortBlockMs = 30_000;
const onBoth = ['node-a', 'node-b'];
const reachedAbove = (ports: readonly number[], first: number) => ports.filter((port) => port >= first);

/** Two nodes, two operators, and the policy `guard` and the list `bad` under the floods of a source that each keeps off. */
function useFloodedWorld() {
  const world = useWorld({
    nodes: 2,
    operators: 2,
    agentArgs: ['--report-interval', '1s'],
    operatorArgs: [
      // Few requests, so that a leader that writes many statuses can be met at it.
      ...['--status-interval', '1s', '--requests-per-second', '10', '--requests-burst', '10'],
      ...['--lease-duration', '10s', '--lease-renew-deadline', '8s', '--lease-retry-period', '1s'],
    ],
  });
  const kubelet = { timer: undefined as NodeJS.Timeout | undefined, mayRestart: true };
  let floods: Floods;
  beforeAll(async () => {
    if (world() === undefined) return;
    kubelet.timer = setInterval(() => {
      if (kubelet.mayRestart) for (const operator of world().operators) operator.start();
    }, 1_000);
    floods = await floodAll(world());
  }, 120_000);
  afterAll(() => clearInterval(kubelet.timer));
  return { here: world as () => World, kubelet, floods: () => floods };
}

describe.concurrent('trouble with the API server', () => {
  const { here, kubelet, floods } = useFloodedWorld();

  test('a leader that is killed while it writes is followed by one that loses nothing', inTurn, async () => {
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
    const told = async (reason: string) =>
      (await plane.list('portscanpolicies')).filter(
        ({ metadata: { generation }, spec, status }) =>
          spec.allow[0]?.reason === reason && status?.observedGeneration === generation,
      ).length;
    const lease = async () => (await plane.get('lease', 'portcullis-operator', 'portcullis-system'))!.spec;
    const before = await plane.get('portscanpolicy', 'guard');

    await floods().during('the leader is killed while it writes', async () => {
      await write('first');
      await world.until('all to have a status', async () => (await told('first')) === names.length);
      const leader = await world.until('a leader', () => world.leader());
      const { leaseTransitions } = await lease();
      const writing = write('second');
      await world.until('some to be told of', async () => (await told('second')) > 0);
      kubelet.mayRestart = false;
      try {
        await leader.kill();
        await writing;
        expect(await told('second'), 'statuses that it had written').toBeLessThan(names.length);
        await write('third');
        const next = await world.until('another leader', () => world.leader());
        expect(next.name).not.toBe(leader.name);
      } finally {
        kubelet.mayRestart = true;
      }
      await world.until('all to be told of', async () => (await told('third')) === names.length, 60_000);
      expect((await lease()).leaseTransitions).toBe(leaseTransitions + 1);
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

  test(
    'an API server that is away for a minute: nodes go on, also after a restart, and tell afterwards',
    inTurn,
    async () => {
      const world = here();
      const { plane } = world;
      const [a, b] = world.nodes as [WorldNode, WorldNode];
      await floods().during('the API server is away', async () => {
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
      await floods().during('the API server is back', async () => {
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
    },
  );

  test(
    'an etcd that was put back to an older state: what it asks for holds, and what is changed then arrives',
    inTurn,
    async () => {
      const world = here();
      const { plane } = world;
      const [a, b] = world.nodes as [WorldNode, WorldNode];
      await world.attacker.ip(`addr add ${restoredAddress}/32 dev lo`);
      await apply(world, blocklist('restored', [{ cidr: `${restoredAddress}/32` }]));
      for (const node of [a, b])
        if (await node.answers(lateAddress)) await node.scan({ from: lateAddress, ports: '1-100' });
      await untilObject(world, 'ipblocklist', 'restored', ({ status }) => status?.summary === '2/2');
      await plane.run(['delete', 'sourceexceptions', '--all']);

      await floods().during('etcd is put back to an older state', async () => {
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
        const changed = await apply(
          world,
          policy('guard', { detection: { distinctTargets: 5 }, allow: [{ cidr: `${lateAddress}/32` }] }),
        );
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
          // The report was put back too, and says so before the node has read the list again.
          const isBlocked = async () => !(await node.answers(restoredAddress));
          await world.until(`the restored list on ${node.name}`, isBlocked, backAgainMs);
          // A node may report the generation that it had before: what the policy allows now tells that it was read again.
          await world.until(`the policy on ${node.name}`, () => node.answers(lateAddress), backAgainMs);
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
      await floods().during('a policy is edited after that', async () => {
        await apply(world, policy('guard', { detection: { distinctTargets: 7 } }));
        await untilProgrammed(world, 'guard', { nodes: 2 });
        console.log(
          `figure: a change after the restore is in force after ${Math.round(performance.now() - changedMs)} ms`,
        );
      });
      await plane.run(['delete', 'ipblocklist', 'restored']);
    },
  );

  test('tokens that expire are missed by nobody: what is renewed is read again', inTurn, async () => {
    const world = here();
    const { plane } = world;
    const [a, b] = world.nodes as [WorldNode, WorldNode];
    const agent = { namespace: 'portcullis-system', serviceAccount: 'portcullis-agent', node: a.name };
    const operator = { namespace: 'portcullis-system', serviceAccount: 'portcullis-operator' };
    const give = async (lifetimeSeconds: number) => {
      writeFileSync(a.tokenFile, await plane.tokenFor({ ...agent, lifetimeSeconds }));
      for (const { tokenFile } of world.operators)
        writeFileSync(tokenFile, await plane.tokenFor({ ...operator, lifetimeSeconds }));
    };
    const isTurnedAway = () => a.agent!.events('api-server').some(({ reason }) => reason === 'unauthorized');

    await floods().during('tokens are expired', async () => {
      // A minute more is granted to clocks that differ: these are taken for five seconds.
      await give(-55);
      a.relay.resetConnections();
      // And ten seconds more for a token that was seen.
      await world.until(
        'the agent to be turned away',
        async () => {
          a.relay.resetConnections();
          await sleep(3_000);
          return isTurnedAway();
        },
        40_000,
      );
      const { metadata } = await apply(world, policy('guard', { priority: 8 }));
      const isSeen = ({ status }: AnyObject) => status.policies[0]?.generation === metadata.generation;
      await untilObject(world, 'nodereport', b.name, isSeen);
      expect(isSeen((await plane.get('nodereport', a.name))!)).toBe(false);
      expect(a.agent!.command.isRunning).toBe(true);
    });
    await floods().during('tokens are renewed', async () => {
      await give(3_600);
      const { status } = await untilProgrammed(world, 'guard', { nodes: 2, timeoutMs: backAgainMs });
      expect(blockedIn(status)[attackerAddress]).toEqual(onBoth);
    });
  });
});

describe.concurrent('trouble on the way and on the node', () => {
  const { here, floods } = useFloodedWorld();

  test('connections that are reset each second for a minute: changes arrive all the same', inTurn, async () => {
    const world = here();
    const relays = [...world.nodes, ...world.operators].map(({ relay }) => relay);
    const cutter = setInterval(() => {
      for (const relay of relays) relay.resetConnections();
    }, 1_000);
    try {
      await floods().during('connections are reset each second', async () => {
        const startedMs = performance.now();
        const { metadata } = await apply(world, policy('guard', { priority: 2 }));
        const isSeen = ({ status }: AnyObject) =>
          status.policies.some(
            ({ name, generation }: AnyObject) => name === 'guard' && generation === metadata.generation,
          );
        const seen = Promise.all(
          world.nodes.map(async ({ name }) => {
            await untilObject(world, 'nodereport', name, isSeen, backAgainMs);
            return Math.round(performance.now() - startedMs);
          }),
        );
        for (let round = 1; performance.now() - startedMs < 60_000; round++) {
          await apply(world, blocklist('reset', [{ cidr: `203.0.113.${100 + round}/32` }]));
          await sleep(5_000);
        }
        console.log(
          `figure: a policy is in force and reported while resets go on after ${(await seen).join(' and ')} ms`,
        );
      });
    } finally {
      clearInterval(cutter);
    }
    await floods().during('connections hold again', async () => {
      await untilProgrammed(world, 'guard', { nodes: 2, timeoutMs: backAgainMs });
      const list = await world.plane.get('ipblocklist', 'reset');
      const isTold = ({ status }: AnyObject) =>
        status?.summary === '2/2' && status.observedGeneration === list!.metadata.generation;
      await untilObject(world, 'ipblocklist', 'reset', isTold, backAgainMs);
      for (const node of world.nodes) expect(node.agent!.command.isRunning).toBe(true);
    });
  });

  test(
    'an API server that takes seconds for each answer, or stands still in turns, is waited for',
    inTurn,
    async () => {
      const world = here();
      const relays = [...world.nodes, ...world.operators].map(({ relay }) => relay);
      await floods().during('everything from the API server comes a second late, each way', async () => {
        for (const relay of relays) relay.delay(1_000);
        await apply(world, policy('guard', { priority: 3 }));
        await untilProgrammed(world, 'guard', { nodes: 2, timeoutMs: backAgainMs });
        for (const relay of relays) relay.delay(0);
      });
      await floods().during('the API server stands still in turns', async () => {
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
    },
  );
  test(
    'a clock that is set by an hour: blocks end when they should, entries go by the new time, other nodes by theirs',
    inTurn,
    async () => {
      const world = here();
      const { plane } = world;
      const [a, b] = world.nodes as [WorldNode, WorldNode];
      const clock = new SteppedClock(world.net.folder());
      const hourMs = 3_600_000;
      const inMinutes = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString();
      const reported = async (node: WorldNode) => {
        const { policies, lists, blocks } = (await node.report())!;
        const sources = blocks.newest.map(({ source, since, until }: AnyObject) => ({ source, since, until }));
        return { policies, lists, sources };
      };
      const blockOf = async (source: string) => {
        const { blocks = [] } = await world.policyStatus('guard');
        const block = blocks.find((each: AnyObject) => each.source === source);
        return { sinceMs: Date.parse(block?.since), untilMs: Date.parse(block?.until) };
      };
      const step = async (offsetMs: number) => {
        const seen = a.agent!.events('clock-step').length;
        clock.set(offsetMs);
        await world.until('the step to be seen', () => a.agent!.events('clock-step').length > seen, 10_000);
      };

      await floods().during('an agent is restarted to have a clock of its own', async () => {
        await a.stop();
        await a.start([], clock.env).enforcing();
        await apply(
          world,
          policy('guard', { block: { duration: `${shortBlockMs}ms`, unprovenDuration: `${shortBlockMs}ms` } }),
        );
        await apply(
          world,
          blocklist('timed', [
            { cidr: `${bystanderAddress}/32`, expiresAt: inMinutes(30) },
            { cidr: `${lateAddress}/32`, expiresAt: inMinutes(-30) },
          ]),
        );
        await untilProgrammed(world, 'guard', { nodes: 2 });
        await untilObject(world, 'ipblocklist', 'timed', ({ status }) => status?.summary === '2/2');
        for (const node of [a, b]) {
          expect(await node.answers(bystanderAddress)).toBe(false);
          expect(await node.answers(lateAddress)).toBe(true);
        }
      });

      await floods().during('the clock is set an hour on', async () => {
        await a.scan({ from: lateAddress, ports: '6001-6100' });
        const blockedMs = performance.now();
        await untilObject(
          world,
          'portscanpolicy',
          'guard',
          ({ status }) => blockedIn(status)[lateAddress]?.length === 1,
        );
        const before = { late: await blockOf(lateAddress), attacker: await blockOf(attackerAddress) };
        const ofOther = await reported(b);
        await step(hourMs);
        await world.until('the entry to have expired by the new time', () => a.answers(bystanderAddress), 10_000);
        expect(await b.answers(bystanderAddress)).toBe(false);
        const isByNewTime = ({ status }: AnyObject) => Date.parse(status.observedAt) > Date.now() + hourMs / 2;
        await untilObject(world, 'nodereport', a.name, isByNewTime, 20_000);
        // Two intervals of the operator.
        await sleep(2_000);
        for (const [name, source] of [
          ['late', lateAddress],
          ['attacker', attackerAddress],
        ] as const) {
          const { sinceMs, untilMs } = await blockOf(source);
          expect(Math.abs(sinceMs - before[name].sinceMs), `since of ${source}`).toBeLessThan(5_000);
          expect(Math.abs(untilMs - before[name].untilMs), `until of ${source}`).toBeLessThan(5_000);
        }
        expect((await world.policyStatus('guard')).nodes).toMatchObject({ programmed: 2, stale: 0, failed: 0 });
        expect(await reported(b)).toEqual(ofOther);

        await sleep(Math.max(0, shortBlockMs - 8_000 - (performance.now() - blockedMs)));
        const isBlocked = async () => (await a.blocks()).some(({ source }) => source === lateAddress);
        expect(await isBlocked()).toBe(true);
        await world.until('the block to end', async () => !(await isBlocked()), 30_000);
        const lastedMs = performance.now() - blockedMs;
        console.log(
          `figure: a block of ${shortBlockMs} ms lasted ${Math.round(lastedMs)} ms while the clock was set by an hour`,
        );
        expect(lastedMs).toBeGreaterThan(shortBlockMs - 2_000);
        expect(lastedMs).toBeLessThan(shortBlockMs + 10_000);
        expect(await a.answers(lateAddress)).toBe(true);
      });

      await floods().during('the clock is set two hours back, and right again', async () => {
        await step(-hourMs);
        await world.until(
          'both entries to hold by the new time',
          async () => {
            const answers = [await a.answers(bystanderAddress), await a.answers(lateAddress)];
            return !answers.includes(true);
          },
          10_000,
        );
        expect(await b.answers(lateAddress)).toBe(true);
        await step(0);
        await world.until('the old entry to have expired again', () => a.answers(lateAddress), 10_000);
        expect(await a.answers(bystanderAddress)).toBe(false);
        const { status } = await untilProgrammed(world, 'guard', { nodes: 2 });
        expect(blockedIn(status)[attackerAddress]).toEqual(onBoth);
      });
      await plane.run(['delete', 'ipblocklist', 'timed']);
    },
  );
});
