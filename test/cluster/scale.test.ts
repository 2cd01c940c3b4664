import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { difference, sum } from '../bench/cluster/counters.ts';
import { span } from '../bench/cluster/measure.ts';
import { ScaleRoom } from '../bench/cluster/room.ts';

const agents = 30;
/** Of an agent: what it may write at once after quiet. */
const burst = 3;
const intervalSeconds = 30;

// `make bench-cluster` does the same with 300 agents, and measures times. Here all bounds are counts: a busy machine makes
// everything later, and must not make anything more.
describe('many agents at one API server', () => {
  let room: ScaleRoom;

  beforeAll(async () => {
    room = await ScaleRoom.create({ agents });
  }, 300_000);
  afterAll(() => room?.[Symbol.asyncDispose](), 60_000);

  test('each agent has one connection, and reads each policy once', async () => {
    const { connections, requests } = await room.read();
    expect(connections).toHaveLength(agents);
    const reads = requests.get('GET portscanpolicies') ?? 0;
    // The room itself asks for statuses while it waits: what agents read is counted below.
    expect(reads).toBeGreaterThanOrEqual(agents * room.policies.length);
  });

  test('a change of a policy reaches all of them, by about a read and a report each', async () => {
    // What the start left to be told is told.
    await sleep(6000);
    const before = await room.read();
    const reads = room.ownReads;
    await room.change(3, 20);
    const after = await room.read();
    const requests = difference(after.requests, before.requests);
    const agentReads = (requests.get('GET portscanpolicies') ?? 0) - (room.ownReads - reads);
    expect(agentReads).toBeGreaterThanOrEqual(agents);
    // On a busy machine some time out and are tried again: fewer than two each is what tells one from many.
    expect(agentReads).toBeLessThan(2 * agents);
    expect(requests.get('APPLY nodereports')).toBeLessThan(2 * agents);
    // It is told while it goes on, in growing distances.
    expect(requests.get('APPLY portscanpolicies/status')).toBeLessThanOrEqual(6 + seconds(before, after) / 10);
  });

  test('the metadata of a policy, which each of its statuses sends to every agent, stays small', async () => {
    const [policy] = room.policies;
    const { metadata } = await room.policy(policy!);
    // Who set which field of the status is one entry of it.
    const own = metadata.managedFields.find((entry) => entry.subresource === 'status');
    expect(own?.fieldsV1).toEqual({ 'f:status': {} });
    expect(JSON.stringify(metadata).length).toBeLessThan(1024);
  });

  test('who scans all nodes without end makes no agent write more than its bucket gives', async () => {
    const before = await room.read();
    const counted = await room.counts();
    room.scan(agents, 500);
    await sleep(40_000);
    room.scan(0, 0);
    const after = await room.read();
    const counts = await room.counts();
    const requests = difference(after.requests, before.requests);
    const passed = seconds(before, after);
    const perAgent = burst + Math.ceil(passed / intervalSeconds);
    const reports = requests.get('APPLY nodereports') ?? 0;
    expect(reports).toBeGreaterThanOrEqual(agents);
    expect(reports).toBeLessThanOrEqual(agents * perAgent);
    expect(counts.writes.refused).toBe(counted.writes.refused);
    const statuses = requests.get('APPLY portscanpolicies/status') ?? 0;
    expect(statuses).toBeLessThanOrEqual(room.policies.length * (6 + Math.ceil(passed / 10)));
    // To each agent: the metadata of what was written of statuses, and the short answers to its own reports.
    const { toAgent } = span(before, after);
    const allowed = statuses * 1200 + perAgent * 1500 + 8 * 1500;
    expect(toAgent.max * passed).toBeLessThan(allowed);
  });

  test('neither operator grows beyond 200 MiB, nor agents complain', async () => {
    const { leader, follower } = room.operatorMemory();
    expect(leader.peakMiB).toBeLessThan(200);
    expect(follower.peakMiB).toBeLessThan(200);
    expect((await room.counts()).findings).toEqual([]);
    expect(sum(Object.values((await room.counts()).writes))).toBeGreaterThan(agents);
  });
});

const seconds = (before: { readonly atMs: number }, after: { readonly atMs: number }): number =>
  (after.atMs - before.atMs) / 1000;
