import { describe, expect, it } from 'vitest';
import { FakeClock } from '../kube/testing/fake-clock.ts';
import { Loops, type WatchedLoop } from './loops.ts';

type Changing = { -readonly [K in keyof WatchedLoop]: WatchedLoop[K] };

function setUp() {
  const clock = new FakeClock();
  const nodes: Changing = { name: 'nodes', hasSynced: true, lastEventAtMs: 0, state: { phase: 'watching' } };
  const ranges: Changing = {
    name: 'servicecidrs',
    hasSynced: false,
    lastEventAtMs: undefined,
    state: { phase: 'listing' },
  };
  return { clock, nodes, ranges, loops: new Loops(clock, [nodes, ranges], [nodes]) };
}

describe('a replica', () => {
  it('is ready when all that is needed was read, be it the leader or not', () => {
    const { loops, nodes } = setUp();
    expect(loops.notReady()).toBe('');
    nodes.hasSynced = false;
    nodes.state = { phase: 'waiting', reason: 'forbidden', message: 'nodes is forbidden' };
    expect(loops.notReady()).toBe('not read yet: nodes (nodes is forbidden)');
    expect(loops.notLive()).toBe('');
  });

  it('is not alive when a loop has ended that should run', async () => {
    const { loops } = setUp();
    await expect(loops.track('election', Promise.reject(new Error('x')))).rejects.toThrow('x');
    expect(loops.notLive()).toBe('ended: election');
    expect(loops.notReady()).toBe('ended: election');
  });

  it('does not mind the ends of loops when it is told to stop', async () => {
    const { loops } = setUp();
    loops.stopping();
    await loops.track('election', Promise.resolve());
    expect(loops.notLive()).toBe('');
  });

  it('is not alive when a watch hangs that should have found out by itself', async () => {
    const { loops, clock, ranges } = setUp();
    await clock.advance(16 * 60_000);
    expect(loops.notLive()).toBe('stuck: nodes, servicecidrs');
    ranges.lastEventAtMs = clock.nowMs();
    expect(loops.notLive()).toBe('stuck: nodes');
  });

  it('is alive while the API server is away: to start it anew would help nobody', async () => {
    const { loops, clock, nodes, ranges } = setUp();
    nodes.state = { phase: 'waiting', reason: 'refused', message: 'ECONNREFUSED' };
    ranges.state = { phase: 'listing', reason: 'refused', message: 'ECONNREFUSED' };
    await clock.advance(3_600_000);
    expect(loops.notLive()).toBe('');
  });
});
