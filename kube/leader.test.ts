import fc from 'fast-check';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Clock, sleep } from './clock.ts';
import { LeaderElector, type LeaderOptions, LeadershipLost, leaderTimings } from './leader.ts';
import { leaderMetrics } from './leader-metrics.ts';
import { FakeClock } from './testing/fake-clock.ts';
import { FakeLeases, type Fate } from './testing/fake-leases.ts';

const hourMs = 3_600_000;
const name = 'portcullis-operator';

let clock: FakeClock;
let leases: FakeLeases;
let candidates: Candidate[];

beforeEach(() => {
  clock = new FakeClock();
  leases = new FakeLeases();
  candidates = [];
});

afterEach(async () => {
  for (const candidate of candidates) candidate.stop.abort();
  await clock.advance(60_000);
  expect(clock.timers).toBe(0);
});

/** One process that wants to lead. Its work takes as long to end as the test says. */
class Candidate {
  readonly stop = new AbortController();
  readonly elector: LeaderElector;
  readonly errors: unknown[] = [];
  readonly holders: string[] = [];
  fate: (verb: string) => Fate = () => ({});
  windDownMs = 0;
  leads = false;
  works = false;
  stoppedBy: unknown;
  outcome: 'stopped' | 'lost' | Error | undefined;
  reconnects = 0;

  constructor(identity: string, at: Clock = clock, options: Partial<LeaderOptions> = {}) {
    const client = leases.client(at, (verb) => this.fate(verb));
    client.reconnect = () => this.reconnects++;
    this.elector = new LeaderElector({
      client,
      namespace: 'default',
      name,
      identity,
      clock: at,
      random: () => 0.5,
      leading: async (signal) => {
        this.works = true;
        this.leads = true;
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
        this.leads = false;
        this.stoppedBy = signal.reason;
        await sleep(at, this.windDownMs);
        this.works = false;
      },
      onError: (error) => this.errors.push(error),
      onHolder: (holder) => this.holders.push(holder),
      ...options,
    });
    this.elector.run(this.stop.signal).then(
      (outcome) => {
        this.outcome = outcome;
      },
      (error: Error) => {
        this.outcome = error;
      },
    );
    candidates.push(this);
  }
}

const spec = () => leases.get(name)?.spec;

test('the first one leads at once, and writes the lease as the API wants it', async () => {
  const a = new Candidate('a');
  await clock.advance(0);
  expect(a.leads).toBe(true);
  expect(a.elector.isLeader).toBe(true);
  expect(spec()).toEqual({
    holderIdentity: 'a',
    leaseDurationSeconds: 15,
    acquireTime: '2026-01-01T00:00:00.000000Z',
    renewTime: '2026-01-01T00:00:00.000000Z',
    leaseTransitions: 0,
  });
});

test('it renews every two seconds, and the others wait', async () => {
  const a = new Candidate('a');
  await clock.advance(0);
  const b = new Candidate('b');
  await clock.advance(hourMs);
  expect([a.leads, b.leads]).toEqual([true, false]);
  expect(b.holders).toEqual(['a']);
  expect(spec()).toMatchObject({
    acquireTime: '2026-01-01T00:00:00.000000Z',
    renewTime: '2026-01-01T01:00:00.000000Z',
    leaseTransitions: 0,
  });
});

test('what others wrote on the lease stays, and does not delay the renewal', async () => {
  new Candidate('a');
  await clock.advance(0);
  leases.edit(name, (lease) => ({ ...lease, metadata: { ...lease.metadata, labels: { team: 'net' } } }));
  await clock.advance(2000);
  expect(leases.get(name)!.metadata.labels).toEqual({ team: 'net' });
  expect(spec()).toMatchObject({ holderIdentity: 'a', renewTime: '2026-01-01T00:00:02.000000Z' });
});

test('a stop gives the lease away, and the next one has it within the retry period', async () => {
  const a = new Candidate('a');
  await clock.advance(0);
  const b = new Candidate('b');
  await clock.advance(10_500);
  a.stop.abort();
  await clock.advance(0);
  expect(a.outcome).toBe('stopped');
  expect(spec()).toMatchObject({ holderIdentity: '', leaseDurationSeconds: 1 });
  await clock.advance(leaderTimings.retryPeriodMs);
  expect(b.leads).toBe(true);
  expect(spec()).toMatchObject({ holderIdentity: 'b', leaseDurationSeconds: 15, leaseTransitions: 1 });
});

test('the lease is kept until the work has ended', async () => {
  const a = new Candidate('a');
  a.windDownMs = 9000;
  await clock.advance(0);
  const b = new Candidate('b');
  await clock.advance(1000);
  a.stop.abort();
  await clock.advance(8900);
  expect([a.works, a.elector.isLeader, b.leads, spec()!.holderIdentity]).toEqual([true, true, false, 'a']);
  await clock.advance(100 + leaderTimings.retryPeriodMs);
  expect([a.works, a.elector.isLeader, b.leads]).toEqual([false, false, true]);
});

test('work that does not end keeps the lease from being given away, but not the process from ending', async () => {
  const a = new Candidate('a');
  a.windDownMs = hourMs;
  await clock.advance(0);
  const b = new Candidate('b');
  a.stop.abort();
  await clock.advance(leaderTimings.stopTimeoutMs);
  expect(a.outcome).toBe('stopped');
  expect(String(a.errors)).toContain('did not end within 10000 ms');
  expect(spec()!.holderIdentity).toBe('a');
  await clock.advance(20_000);
  expect(b.leads).toBe(true);
  await clock.advance(hourMs);
});

test('work that ends by itself gives the lease away', async () => {
  const a = new Candidate('a', clock, { leading: async () => {} });
  await clock.advance(0);
  expect(a.outcome).toBe('stopped');
  expect(spec()!.holderIdentity).toBe('');
});

test('work that fails gives the lease away and fails the run', async () => {
  const failure = new Error('no room');
  const a = new Candidate('a', clock, {
    leading: async () => {
      throw failure;
    },
  });
  await clock.advance(0);
  expect(a.outcome).toBe(failure);
  expect(spec()!.holderIdentity).toBe('');
});

test.each([
  ['cannot be reached', { lost: 'refused' }],
  ['does not answer', { lost: 'request' }],
  ['does not answer, and the client does not notice', { lost: 'request', isDeaf: true }],
] as const)('a leader whose server %s stops before another may start', async (_what, fate) => {
  const a = new Candidate('a');
  await clock.advance(0);
  const b = new Candidate('b');
  await clock.advance(11_000);
  a.fate = () => fate;
  // Renewed at 10 s.
  await clock.advance(8999);
  expect(a.leads).toBe(true);
  await clock.advance(1);
  expect([a.leads, a.elector.isLeader, b.leads]).toEqual([false, false, false]);
  expect(a.stoppedBy).toBeInstanceOf(LeadershipLost);
  await clock.advance(0);
  expect(a.outcome).toBe('lost');
  await clock.advance(4900);
  expect(b.leads).toBe(false);
  await clock.advance(2100);
  expect(b.leads).toBe(true);
});

test('a request that hangs is given up, and the next one takes a new connection', async () => {
  const a = new Candidate('a');
  await clock.advance(0);
  a.fate = () => ({ lost: 'request' });
  await clock.advance(2000);
  a.fate = () => ({});
  await clock.advance(leaderTimings.requestTimeoutMs);
  expect(a.reconnects).toBe(1);
  await clock.advance(60_000);
  expect(a.leads).toBe(true);
});

test('a leader that is lost ends although its work does not', async () => {
  const a = new Candidate('a');
  a.windDownMs = hourMs;
  await clock.advance(0);
  a.fate = () => ({ lost: 'refused' });
  await clock.advance(12_499);
  expect(a.outcome).toBeUndefined();
  await clock.advance(1);
  expect(a.outcome).toBe('lost');
  await clock.advance(hourMs);
});

test('a renewal whose answer is lost is made up for', async () => {
  const a = new Candidate('a');
  await clock.advance(0);
  const b = new Candidate('b');
  let writes = 0;
  a.fate = (verb) => (verb === 'replace' && ++writes % 3 === 1 ? { lost: 'answer' } : {});
  await clock.advance(hourMs);
  expect([a.leads, b.leads]).toEqual([true, false]);
});

test('an answer that comes after the deadline does not bring the lead back', async () => {
  const a = new Candidate('a', clock, { timings: { requestTimeoutMs: 60_000 } });
  await clock.advance(0);
  a.fate = () => ({ answerMs: 9000 });
  await clock.advance(10_000);
  expect(a.leads).toBe(false);
  await clock.advance(5000);
  expect(a.outcome).toBe('lost');
});

test('an answer that took too long does not start the work', async () => {
  const a = new Candidate('a', clock, { timings: { requestTimeoutMs: 60_000 } });
  a.fate = () => ({ answerMs: 12_000 });
  await clock.advance(24_000);
  a.fate = () => ({});
  expect([spec()!.holderIdentity, a.works]).toEqual(['a', false]);
  await clock.advance(2000);
  expect(a.works).toBe(true);
});

test('a leader counts from when it sent its renewal, however long the answer took', async () => {
  const a = new Candidate('a');
  a.windDownMs = 4900;
  await clock.advance(0);
  const b = new Candidate('b');
  a.fate = () => ({ answerMs: 4900 });
  await clock.advance(6900);
  a.fate = () => ({ lost: 'refused' });
  await clock.advance(5100);
  expect(a.leads).toBe(false);
  while (!b.works) {
    expect(clock.nowMs()).toBeLessThan(25_000);
    await clock.advance(100);
    expect(a.works && b.works).toBe(false);
  }
});

test('wall clocks an hour apart change nothing', async () => {
  const a = new Candidate('a', clock.skewed(-hourMs));
  await clock.advance(0);
  const b = new Candidate('b', clock.skewed(hourMs));
  await clock.advance(hourMs);
  expect([a.leads, b.leads]).toEqual([true, false]);
  a.fate = () => ({ lost: 'refused' });
  await clock.advance(18_000);
  expect([a.leads, b.leads]).toEqual([false, true]);
  expect(spec()!.renewTime).toMatch(/^2026-01-01T02:/);
});

test('a wall clock that stands still does not look like a leader that is gone', async () => {
  const frozen: Clock = {
    nowMs: () => clock.nowMs(),
    wallMs: () => 0,
    startTimer: (ms, callback) => clock.startTimer(ms, callback),
  };
  const a = new Candidate('a', frozen);
  await clock.advance(0);
  const b = new Candidate('b');
  await clock.advance(hourMs);
  expect([a.leads, b.leads]).toEqual([true, false]);
});

test('somebody else in the lease ends the lead with the next renewal', async () => {
  const a = new Candidate('a');
  await clock.advance(0);
  leases.edit(name, (lease) => ({ ...lease, spec: { ...lease.spec, holderIdentity: 'x' } }));
  await clock.advance(leaderTimings.retryPeriodMs);
  expect(a.leads).toBe(false);
  expect(String(a.stoppedBy)).toContain('x has it');
  await clock.settle();
  expect(a.outcome).toBe('lost');
});

test('a lease that somebody deletes is made again by the leader, and nobody else takes it', async () => {
  const a = new Candidate('a');
  await clock.advance(0);
  const b = new Candidate('b');
  await clock.advance(5000);
  leases.delete(name);
  await clock.advance(hourMs);
  expect([a.leads, b.leads, spec()!.holderIdentity]).toEqual([true, false, 'a']);
});

test('a deleted lease of a dead leader is taken after its time', async () => {
  const a = new Candidate('a');
  await clock.advance(0);
  const b = new Candidate('b');
  await clock.advance(1000);
  a.fate = () => ({ lost: 'refused' });
  leases.delete(name);
  await clock.advance(14_900);
  expect(b.leads).toBe(false);
  await clock.advance(4000);
  expect(b.leads).toBe(true);
});

test('a store that is put back to an older state leaves one leader', async () => {
  const a = new Candidate('a');
  await clock.advance(0);
  const b = new Candidate('b');
  await clock.advance(4000);
  const restore = leases.snapshot();
  await clock.advance(60_000);
  restore();
  await clock.advance(60_000);
  expect([a.leads, b.leads]).toEqual([true, false]);
});

test('who waits leaves a leader alone for as long as that one wrote, not as long as it would itself', async () => {
  const slow = { leaseDurationMs: 60_000, renewDeadlineMs: 50_000, retryPeriodMs: 20_000 };
  const a = new Candidate('a', clock, { timings: slow });
  await clock.advance(0);
  const b = new Candidate('b');
  await clock.advance(hourMs);
  expect([a.leads, b.leads]).toEqual([true, false]);
});

test('a process that finds its own name in the lease goes on with it', async () => {
  const a = new Candidate('a');
  a.fate = (verb) => (verb === 'create' ? { lost: 'answer' } : {});
  await clock.advance(5000);
  expect(spec()!.holderIdentity).toBe('a');
  await clock.advance(2000);
  expect(a.leads).toBe(true);
});

test('a stop before anybody knows what became of the first write gives the lease away too', async () => {
  const a = new Candidate('a');
  a.fate = (verb) => (verb === 'create' ? { lost: 'answer' } : {});
  await clock.advance(100);
  a.stop.abort();
  await clock.advance(100);
  expect(a.outcome).toBe('stopped');
  expect(spec()!.holderIdentity).toBe('');
});

test('a stop ends the waiting at once', async () => {
  new Candidate('a');
  await clock.advance(0);
  const b = new Candidate('b');
  await clock.advance(700);
  b.stop.abort();
  await clock.settle();
  expect(b.outcome).toBe('stopped');
  expect(spec()!.holderIdentity).toBe('a');
});

test('waits as long as a busy server asks', async () => {
  const a = new Candidate('a');
  await clock.advance(0);
  const b = new Candidate('b');
  await clock.advance(0);
  const before = leases.requests;
  const { KubeError } = await import('./errors.ts');
  const client = leases.client(clock);
  client.get = () => {
    leases.requests++;
    return Promise.reject(new KubeError({ message: 'busy', status: 429, retryAfterMs: 8000 }));
  };
  const c = new Candidate('c', clock, { client });
  a.stop.abort();
  b.stop.abort();
  await clock.advance(0);
  const asked = leases.requests - before;
  await clock.advance(7999);
  expect(leases.requests - before).toBe(asked);
  await clock.advance(1);
  expect(leases.requests - before).toBe(asked + 1);
  expect(c.errors).toHaveLength(2);
});

test('refuses times that would let two lead, and a name that means nobody', () => {
  const options = { client: leases.client(clock), namespace: 'default', name, identity: 'a', leading: async () => {} };
  const withTimings = (timings: Partial<typeof leaderTimings>) => () => new LeaderElector({ ...options, timings });
  expect(withTimings({ renewDeadlineMs: 15_000 })).toThrow('renew deadline 15000 ms');
  expect(withTimings({ retryPeriodMs: 10_000 })).toThrow(RangeError);
  expect(withTimings({ retryPeriodMs: 0 })).toThrow(RangeError);
  expect(withTimings({ requestTimeoutMs: 0 })).toThrow(RangeError);
  expect(() => new LeaderElector({ ...options, identity: '' })).toThrow('identity');
});

test('tells by metrics whether it leads', async () => {
  const registry = new Registry();
  const a = new Candidate('a', clock, { onChange: leaderMetrics(registry, name) });
  expect(await registry.metrics()).toContain('portcullis_kube_leader{lease="portcullis-operator"} 0');
  await clock.advance(0);
  expect(await registry.metrics()).toContain('portcullis_kube_leader{lease="portcullis-operator"} 1');
  a.fate = () => ({ lost: 'refused' });
  await clock.advance(10_000);
  const text = await registry.metrics();
  expect(text).toContain('portcullis_kube_leader{lease="portcullis-operator"} 0');
  expect(text).toContain('portcullis_kube_leader_changes_total{lease="portcullis-operator",change="lost"} 1');
});

describe('whatever happens to requests and processes', () => {
  /** The clock of one process: nothing of it happens while the process is stopped. */
  class ProcessClock implements Clock {
    isStopped = false;
    readonly #missed: (() => void)[] = [];
    readonly #skewMs: number;
    constructor(skewMs: number) {
      this.#skewMs = skewMs;
    }
    nowMs = () => clock.nowMs();
    wallMs = () => clock.wallMs() + this.#skewMs;
    startTimer(delayMs: number, callback: () => void): () => void {
      let isCancelled = false;
      const cancel = clock.startTimer(delayMs, () => {
        if (isCancelled) return;
        if (this.isStopped) this.#missed.push(() => isCancelled || callback());
        else callback();
      });
      return () => {
        isCancelled = true;
        cancel();
      };
    }
    resume(): void {
      this.isStopped = false;
      for (const callback of this.#missed.splice(0)) callback();
    }
  }

  const fates: fc.Arbitrary<Fate> = fc.oneof(
    { weight: 6, arbitrary: fc.constant({}) },
    { weight: 2, arbitrary: fc.record({ requestMs: fc.nat(3000), answerMs: fc.nat(3000) }) },
    { weight: 1, arbitrary: fc.record({ requestMs: fc.nat(20_000), answerMs: fc.nat(20_000), isDeaf: fc.boolean() }) },
    {
      weight: 2,
      arbitrary: fc.record({ lost: fc.constantFrom('refused', 'request', 'answer'), isDeaf: fc.boolean() }),
    },
  );
  const events = fc.oneof(
    { weight: 8, arbitrary: fc.record({ what: fc.constant('time' as const), ms: fc.nat(12_000) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        what: fc.constant('fate' as const),
        who: fc.nat(2),
        fates: fc.array(fates, { minLength: 1 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ what: fc.constant('restart' as const), who: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant('pause' as const), who: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant('label' as const) }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant('delete' as const) }) },
  );

  /** Plays a history; tells how many led at once at the most, and whether one leads when all is well again. */
  async function play(history: readonly (typeof events extends fc.Arbitrary<infer T> ? T : never)[], pauses: boolean) {
    clock = new FakeClock();
    leases = new FakeLeases();
    candidates = [];
    const processes = [0, hourMs, -hourMs].map((skewMs) => ({
      at: new ProcessClock(skewMs),
      current: undefined as Candidate | undefined,
      fate: (() => ({})) as () => Fate,
    }));
    let started = 0;
    let mostAtOnce = 0;
    const look = () => {
      // Who is stopped does nothing, and looks at isLeader before it goes on.
      const atOnce = candidates.filter(({ works, elector }) => (pauses ? elector.isLeader : works)).length;
      mostAtOnce = Math.max(mostAtOnce, atOnce);
    };
    const start = (index: number) => {
      const process = processes[index]!;
      const candidate = new Candidate(`p${index}-${started++}`, process.at, { random: Math.random });
      candidate.fate = () => process.fate();
      // Nearly all that a lost leader has.
      candidate.windDownMs = pauses ? 0 : 4900;
      process.current = candidate;
    };
    const pass = async (ms: number) => {
      for (let passed = 0; passed < ms; passed += 250) {
        await clock.advance(250);
        look();
        processes.forEach(({ current, at }, index) => {
          if (current?.outcome !== undefined && !at.isStopped) start(index);
        });
      }
    };
    for (let index = 0; index < processes.length; index++) start(index);
    // All have seen the lease before anybody deletes it.
    await pass(5000);
    for (const event of history) {
      if (event.what === 'time') await pass(event.ms);
      else if (event.what === 'label') leases.edit(name, (lease) => ({ ...lease, metadata: { ...lease.metadata } }));
      else if (event.what === 'delete') leases.delete(name);
      else {
        const process = processes[event.who]!;
        if (event.what === 'restart') process.current!.stop.abort();
        else if (event.what === 'fate') {
          const { fates: plan } = event;
          let next = 0;
          process.fate = () => plan[next++ % plan.length]!;
        } else if (pauses && process.at.isStopped) process.at.resume();
        else if (pauses) process.at.isStopped = true;
      }
    }
    for (const process of processes) {
      process.fate = () => ({});
      process.at.resume();
    }
    // Late requests of up to 20 s, then the longest that one may have to wait.
    await pass(20_000 + 15_000 + 10_000);
    const leading = candidates.filter(({ elector }) => elector.isLeader).length;
    for (const { stop } of candidates) stop.abort();
    await clock.advance(60_000);
    return { mostAtOnce, leading, timers: clock.timers };
  }

  const numRuns = Number(process.env.LEADER_RUNS ?? 40);
  const histories = fc.array(events, { maxLength: 30, size: 'max' });

  test('never two work at once, also while one of them winds down, and one leads in the end', async () => {
    const property = fc.asyncProperty(
      // Somebody new would find no lease and take it at once: see the case without it below.
      histories.filter((history) => !hasBoth(history, 'delete', 'restart', 'fate')),
      async (history) => {
        expect(await play(history, false)).toEqual({ mostAtOnce: 1, leading: 1, timers: 0 });
      },
    );
    await fc.assert(property, { numRuns });
  }, 120_000);

  test('never two believe that they lead, although processes are stopped and go on', async () => {
    const property = fc.asyncProperty(
      histories.filter((history) => !history.some(({ what }) => what === 'delete')),
      async (history) => {
        expect(await play(history, true)).toEqual({ mostAtOnce: 1, leading: 1, timers: 0 });
      },
    );
    await fc.assert(property, { numRuns });
  }, 120_000);
});

/** Whether a history has the first, and one of the others. */
function hasBoth(history: readonly { readonly what: string }[], first: string, ...others: readonly string[]): boolean {
  return history.some(({ what }) => what === first) && history.some(({ what }) => others.includes(what));
}
