import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { KubeClient } from '../../kube/client.ts';
import { openKubeClient } from '../../kube/http-client.ts';
import { LeaderElector, type LeaderTimings } from '../../kube/leader.ts';
import type { Lease } from '../../kube/lease.ts';
import { resources } from '../../kube/resources.ts';
import { waitFor } from '../support/wait-for.ts';
import { Relay } from './control-plane/relay.ts';
import { useControlPlane } from './use-control-plane.ts';

const cluster = useControlPlane();
/** A third of Kubernetes' own times: a busy machine must not make a leader lose its lease. */
const timings = {
  leaseDurationMs: 5000,
  renewDeadlineMs: 3500,
  retryPeriodMs: 500,
  requestTimeoutMs: 1500,
  stopTimeoutMs: 2000,
};
const waitMs = 30_000;

let admin: KubeClient;
let candidates: Candidate[] = [];
const closers: (() => Promise<void>)[] = [];

beforeAll(async () => {
  admin = await openKubeClient({ kubeconfig: cluster.kubeconfig, userAgent: 'leader-test' });
});

afterEach(async () => {
  for (const { stop } of candidates) stop.abort();
  await Promise.all(candidates.map(({ end }) => end));
  for (const close of closers.splice(0)) await close();
  candidates = [];
});

afterAll(() => admin?.close());

interface Candidate {
  readonly stop: AbortController;
  readonly elector: LeaderElector;
  readonly end: Promise<'stopped' | 'lost'>;
  /** Between the start of its work and the end of that. */
  works: boolean;
  /** Looks and renewals that failed. */
  failures: number;
}

async function candidate(
  name: string,
  identity: string,
  server = cluster.server,
  times: Partial<LeaderTimings> = timings,
): Promise<Candidate> {
  const client = await openKubeClient({ kubeconfig: cluster.kubeconfig, server, userAgent: identity });
  closers.push(() => client.close());
  const stop = new AbortController();
  const elector = new LeaderElector({
    client,
    namespace: 'default',
    name,
    identity,
    timings: times,
    onError: () => self.failures++,
    leading: (signal) =>
      new Promise((resolve) => {
        self.works = true;
        const end = () => {
          self.works = false;
          resolve();
        };
        signal.addEventListener('abort', end, { once: true });
      }),
  });
  const self: Candidate = { stop, elector, end: elector.run(stop.signal), works: false, failures: 0 };
  candidates.push(self);
  return self;
}

const leaseOf = (name: string) => admin.get<Lease>(resources.leases, name, { namespace: 'default' });
const untilLeads = (who: Candidate, what: string) => waitFor(() => who.works, waitMs, { what });

test('one leads, the other takes over when it gives the lease away', async () => {
  const name = 'leader-release';
  const a = await candidate(name, 'a');
  await untilLeads(a, 'the first to lead');
  const b = await candidate(name, 'b');
  await waitFor(() => b.elector.holder === 'a', waitMs, { what: 'the second to see the first' });
  expect(b.works).toBe(false);
  const { spec } = await leaseOf(name);
  expect(spec).toMatchObject({ holderIdentity: 'a', leaseDurationSeconds: 5, leaseTransitions: 0 });
  expect(spec!.renewTime).toMatch(/\.\d{6}Z$/);
  a.stop.abort();
  expect(await a.end).toBe('stopped');
  await untilLeads(b, 'the second to lead');
  expect((await leaseOf(name)).spec).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 });
});

test('of many who start at once one leads, and what others wrote on the lease stays', async () => {
  const name = 'leader-many';
  const many = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((identity) => candidate(name, identity)));
  await waitFor(() => many.some(({ works }) => works), waitMs, { what: 'a leader' });
  await cluster.run(['label', 'lease', name, '-n', 'default', 'team=net']);
  const before = (await leaseOf(name)).spec!.renewTime;
  await waitFor(async () => (await leaseOf(name)).spec!.renewTime !== before, waitMs, { what: 'a renewal' });
  expect((await leaseOf(name)).metadata.labels).toEqual({ team: 'net' });
  expect(many.filter(({ works }) => works)).toHaveLength(1);
});

test.each([
  ['is cut off from', (relay: Relay) => relay.cut()],
  ['gets no answer from', (relay: Relay) => relay.stall()],
])('a leader that %s the server has stopped before the next one starts', async (what, sever) => {
  const name = `leader-${what.split(' ')[0]}-${what.length}`;
  await using relay = await Relay.start(cluster);
  const a = await candidate(name, 'a', relay.server);
  await untilLeads(a, 'the first to lead');
  const b = await candidate(name, 'b');
  await waitFor(() => b.elector.holder === 'a', waitMs, { what: 'the second to see the first' });
  sever(relay);
  let timesBoth = 0;
  const look = () => {
    if ((a.works && b.works) || (a.elector.isLeader && b.elector.isLeader)) timesBoth++;
    return b.works;
  };
  await waitFor(look, waitMs, { what: 'the second to lead', intervalMs: 5 });
  expect(timesBoth).toBe(0);
  expect(await a.end).toBe('lost');
  // A request that was held back arrives late, with a resourceVersion from before: it changes nothing.
  relay.resume();
  await waitFor(async () => (await leaseOf(name)).spec!.holderIdentity === 'b', waitMs, { what: 'the lease' });
  expect(b.works).toBe(true);
});

test('a leader that cannot reach the server for a moment goes on', async () => {
  const name = 'leader-moment';
  await using relay = await Relay.start(cluster);
  const a = await candidate(name, 'a', relay.server, {});
  await untilLeads(a, 'the first to lead');
  const b = await candidate(name, 'b');
  const renewed = async () => (await leaseOf(name)).spec!.renewTime;
  const before = await renewed();
  relay.cut();
  await waitFor(() => a.failures > 0, waitMs, { what: 'a renewal that fails' });
  relay.mend();
  await waitFor(async () => (await renewed()) !== before, waitMs, { what: 'a renewal' });
  expect([a.works, b.works]).toEqual([true, false]);
});
