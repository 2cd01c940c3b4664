import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../kube/clock.ts';
import { KubeError } from '../../kube/errors.ts';
import { waitFor } from '../../test/support/wait-for.ts';
import type { SavedCluster } from './cluster-state.ts';
import { KubernetesSource, type KubernetesSourceOptions } from './kubernetes.ts';
import type { PolicySnapshot } from './policy-source.ts';
import { contentDigest, setDigest } from './prefix-sets.ts';
import { MemoryCluster } from './testing/memory-cluster.ts';

let cluster: MemoryCluster;
const ends: (() => Promise<void>)[] = [];
beforeEach(() => {
  cluster = new MemoryCluster();
  cluster.put('nodes', 'n1', {}, { labels: { role: 'edge' } });
});
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

function start(options: Partial<KubernetesSourceOptions> = {}) {
  const source = new KubernetesSource({
    client: cluster.client,
    nodeName: 'n1',
    jitterMs: 5,
    timings: { baseBackoffMs: 20, maxBackoffMs: 50 },
    ...options,
  });
  const snapshots: PolicySnapshot[] = [];
  const stop = new AbortController();
  const running = source.run(stop.signal, (snapshot) => snapshots.push(snapshot));
  const end = async () => {
    stop.abort();
    await running;
  };
  ends.push(end);
  const until = async (what: string, matches: (snapshot: PolicySnapshot) => boolean = () => true) => {
    await waitFor(() => snapshots.length > 0 && matches(snapshots.at(-1)!), 10_000, { what });
    return snapshots.at(-1)!;
  };
  return { source, snapshots, end, until };
}

const putPolicy = (name: string, mode = 'Enforce') => cluster.put('portscanpolicies', name, { spec: { mode } });
const names = ({ portScanPolicies }: PolicySnapshot) => portScanPolicies.map(({ metadata }) => metadata.name);
const codes = ({ findings }: PolicySnapshot) => findings.map(({ code }) => code);
const refuses = (status: number) => new KubeError({ message: `GET: ${status}`, status });

/** What an agent of before kept. */
async function savedBy(run: ReturnType<typeof start>): Promise<SavedCluster> {
  await run.until('a snapshot');
  const saved = run.source.saved()!;
  await run.end();
  return JSON.parse(JSON.stringify(saved)) as SavedCluster;
}

describe('an object that cannot be read', () => {
  test('holds up neither the first snapshot nor the other objects, and is tried again', async () => {
    putPolicy('a');
    putPolicy('b');
    let failures = 0;
    cluster.onGet = (name) => {
      if (name === 'a' && failures++ < 2) throw refuses(500);
    };
    const { snapshots, until } = start();
    const first = await until('a snapshot');
    expect(names(first)).toEqual(['b']);
    expect(codes(first)).toEqual(['ObjectUnread']);
    const mended = await until('the object', (snapshot) => names(snapshot).length === 2);
    expect(codes(mended)).toEqual([]);
    expect(snapshots.length).toBeLessThan(10);
  });

  test('is asked for ever more seldom, whatever else happens', async () => {
    putPolicy('a');
    cluster.onGet = (name) => {
      if (name === 'a') throw refuses(500);
    };
    const { until } = start();
    await until('a snapshot');
    for (let i = 0; i < 20; i++) {
      putPolicy(`other-${i}`);
      await sleep(50);
    }
    // One at once, then after 0.25 to 0.5 s and 0.5 to 1 s.
    expect(cluster.reads.filter((name) => name === 'a').length).toBeLessThanOrEqual(4);
  });

  test('since it was deleted meanwhile is no trouble', async () => {
    putPolicy('a');
    cluster.onGet = () => cluster.remove('portscanpolicies', 'a');
    const { until } = start();
    expect(names(await until('a snapshot', (snapshot) => codes(snapshot).length === 0))).toEqual([]);
  });
});

test('an answer that is newer than what was heard is in force, and is not read again', async () => {
  putPolicy('a');
  let isFirst = true;
  cluster.onGet = () => {
    if (isFirst) putPolicy('a', 'Monitor');
    isFirst = false;
  };
  const { until } = start();
  const snapshot = await until('a snapshot');
  expect(snapshot.portScanPolicies[0]?.spec.mode).toBe('Monitor');
  await sleep(100);
  expect(cluster.reads).toEqual(['a']);
});

test('an object that is edited without end is not read as often, and its neighbour at once', async () => {
  putPolicy('a');
  const { until } = start();
  await until('a snapshot');
  for (let i = 0; i < 40; i++) {
    putPolicy('a', i % 2 === 0 ? 'Monitor' : 'Enforce');
    await sleep(50);
  }
  expect(cluster.reads.length).toBeGreaterThan(2);
  expect(cluster.reads.length).toBeLessThan(10);
  putPolicy('b');
  await until('the other', (snapshot) => names(snapshot).includes('b'));
  putPolicy('a', 'Monitor');
  await until('what it came to', ({ portScanPolicies }) => portScanPolicies[0]?.spec.mode === 'Monitor');
});

test('many changes at once are few snapshots', async () => {
  const { snapshots, until } = start();
  await until('a snapshot');
  for (let i = 0; i < 50; i++) putPolicy(`p${i}`);
  await until('all', (snapshot) => names(snapshot).length === 50);
  expect(snapshots.length).toBeLessThan(15);
});

test('nothing is told after the end', async () => {
  const { snapshots, until, end } = start();
  await until('a snapshot');
  await end();
  const before = snapshots.length;
  putPolicy('a');
  await sleep(100);
  expect(snapshots.length).toBe(before);
});

describe('what was kept of an earlier run', () => {
  test('is in force after a moment when the server does not answer', async () => {
    putPolicy('a');
    const saved = await savedBy(start());
    cluster.isAway = true;
    const startedMs = performance.now();
    const { until } = start({ saved, graceMs: 300 });
    const snapshot = await until('what was kept');
    expect(performance.now() - startedMs).toBeGreaterThan(250);
    expect(names(snapshot)).toEqual(['a']);
    expect(snapshot.cluster).toMatchObject({ nodeLabels: { role: 'edge' }, nodeUid: cluster.uidOf('nodes', 'n1') });
  });

  test('never shows when the server answers in time', async () => {
    putPolicy('gone');
    const saved = await savedBy(start());
    cluster.remove('portscanpolicies', 'gone');
    putPolicy('new');
    const { snapshots, until } = start({ saved, graceMs: 5_000 });
    await until('a snapshot');
    expect(snapshots.map(names)).toEqual([['new']]);
  });

  test('is not read again where it did not change', async () => {
    putPolicy('a');
    putPolicy('b');
    const saved = await savedBy(start());
    putPolicy('b', 'Monitor');
    cluster.reads.length = 0;
    const { until } = start({ saved });
    await until('a snapshot');
    expect(cluster.reads).toEqual(['b']);
  });

  test('asks for break-glass at once, and until the server says that it is over', async () => {
    cluster.put('nodes', 'n1', {}, { annotations: { 'portcullis.dev/break-glass': 'detach' } });
    const saved = await savedBy(start());
    cluster.isAway = true;
    const { until } = start({ saved, graceMs: 60_000 });
    await until('break-glass', (snapshot) => snapshot.cluster!.breakGlass);
    cluster.put('nodes', 'n1', {}, { annotations: {} });
    cluster.isAway = false;
    await until('its end', (snapshot) => !snapshot.cluster!.breakGlass);
  });
});

test('without anything kept nothing is told before all is known, but for break-glass', async () => {
  putPolicy('a');
  cluster.onGet = () => new Promise(() => {});
  const { snapshots, until } = start();
  await sleep(300);
  expect(snapshots).toEqual([]);
  cluster.put('nodes', 'n1', {}, { annotations: { 'portcullis.dev/break-glass': 'detach' } });
  const snapshot = await until('break-glass');
  expect(snapshot.cluster?.breakGlass).toBe(true);
});

test('nothing is kept before all is known', async () => {
  putPolicy('a');
  cluster.onGet = () => new Promise(() => {});
  const { source } = start();
  await sleep(100);
  expect(source.saved()).toBeUndefined();
});

test('the labels of a Node that was deleted hold until it is made again', async () => {
  const { until } = start();
  await until('a snapshot');
  cluster.remove('nodes', 'n1');
  const gone = await until('the loss', (snapshot) => codes(snapshot).includes('NodeNotFound'));
  expect(gone.cluster).toMatchObject({ nodeLabels: { role: 'edge' } });
  expect(gone.cluster).not.toHaveProperty('nodeUid');
  cluster.put('nodes', 'n1', {}, { uid: 'another', labels: { role: 'core' } });
  const back = await until('the Node', (snapshot) => codes(snapshot).length === 0);
  expect(back.cluster).toMatchObject({ nodeLabels: { role: 'core' }, nodeUid: 'another' });
});

test('a heartbeat of the Node is no news', async () => {
  const { snapshots, until } = start();
  await until('a snapshot');
  cluster.put('nodes', 'n1', { status: { conditions: [] } }, { labels: { role: 'edge' } });
  await sleep(100);
  expect(snapshots).toHaveLength(1);
});

test('a change is read within seconds, however many nodes the facts claim', async () => {
  cluster.put('clusterfacts', 'cluster', {
    spec: { holds: 'Cluster', count: 0, prefixes: [], nodeCount: 2 ** 31 - 1, complete: true },
  });
  const { source, until } = start({ random: () => 0.9 });
  await until('a snapshot');
  expect(source.nodeCount).toBe(65_536);
  putPolicy('late');
  await until('the policy', (snapshot) => names(snapshot).includes('late'));
});

test('facts that are all gone are kept: whoever wrote them is gone too', async () => {
  const spec = { holds: 'Nodes', count: 1, prefixes: ['192.0.2.1/32'] };
  cluster.put('clusterfacts', 'nodes-0', { spec });
  cluster.put('clusterfacts', 'nodes-1', { spec: { ...spec, prefixes: ['192.0.2.2/32'] } });
  const { until } = start();
  await until('both', (snapshot) => snapshot.cluster!.facts.length === 2);
  cluster.remove('clusterfacts', 'nodes-0');
  await until('one', (snapshot) => snapshot.cluster!.facts.length === 1);
  cluster.remove('clusterfacts', 'nodes-1');
  putPolicy('a');
  const snapshot = await until('a later change', (now) => names(now).length === 1);
  expect(snapshot.cluster!.facts).toHaveLength(1);
});

describe('a wish that an installation detaches', () => {
  const nodes = { spec: { holds: 'Nodes', count: 1, prefixes: ['192.0.2.1/32'] } };
  const wishFor = (serviceAccountUid: string) => ({
    spec: { holds: 'Detach', count: 0, prefixes: [], serviceAccountUid },
  });
  const isUninstalled = ({ cluster: view }: PolicySnapshot) => view!.uninstalled;

  test('is heeded when it names the account of the token, and until it is taken back', async () => {
    cluster.serviceAccountUid = 'mine';
    cluster.put('clusterfacts', 'nodes-0', nodes);
    const { snapshots, until } = start();
    expect(isUninstalled(await until('a snapshot'))).toBe(false);
    cluster.put('clusterfacts', 'detach', wishFor('mine'));
    const heeded = await until('the wish', isUninstalled);
    // It is no fact: what is known of the cluster is known still, and nothing else.
    expect(heeded.cluster!.facts.map(({ metadata }) => metadata.name)).toEqual(['nodes-0']);
    cluster.remove('clusterfacts', 'detach');
    await until('its end', (snapshot) => !isUninstalled(snapshot));
    const told = snapshots.map(isUninstalled);
    expect(told.filter((each, i) => each !== told[i - 1])).toEqual([false, true, false]);
  });

  test('is heard of before the first snapshot', async () => {
    cluster.serviceAccountUid = 'mine';
    putPolicy('a');
    cluster.put('clusterfacts', 'detach', wishFor('mine'));
    const { snapshots, until } = start();
    await until('a snapshot', (snapshot) => names(snapshot).length === 1);
    expect(snapshots.every(isUninstalled)).toBe(true);
  });

  test.each([['other'], [undefined]])('is nothing to an agent whose account is %s', async (account) => {
    cluster.serviceAccountUid = account;
    cluster.put('clusterfacts', 'detach', wishFor('mine'));
    putPolicy('a');
    const { snapshots, until } = start();
    await until('a snapshot', (snapshot) => names(snapshot).length === 1);
    expect(snapshots.some(isUninstalled)).toBe(false);
  });

  test('under another name, or that is about something else, is none', async () => {
    cluster.serviceAccountUid = 'mine';
    cluster.put('clusterfacts', 'nodes-0', wishFor('mine'));
    cluster.put('clusterfacts', 'detach', { spec: { ...nodes.spec, serviceAccountUid: 'mine' } });
    const { until } = start();
    expect(isUninstalled(await until('a snapshot'))).toBe(false);
  });

  test('that is all there is does not make the facts forgotten, and its end is heard of without any', async () => {
    cluster.serviceAccountUid = 'mine';
    cluster.put('clusterfacts', 'nodes-0', nodes);
    const { until } = start();
    await until('a snapshot');
    cluster.put('clusterfacts', 'detach', wishFor('mine'));
    await until('the wish', isUninstalled);
    cluster.remove('clusterfacts', 'nodes-0');
    cluster.remove('clusterfacts', 'detach');
    const after = await until('its end', (snapshot) => !isUninstalled(snapshot));
    expect(after.cluster!.facts.map(({ metadata }) => metadata.name)).toEqual(['nodes-0']);
  });

  test('that was kept is compared with the account of now, without waiting for a server', async () => {
    cluster.serviceAccountUid = 'mine';
    cluster.put('clusterfacts', 'detach', wishFor('mine'));
    const saved = await savedBy(start());
    cluster.isAway = true;
    const again = start({ saved, graceMs: 3_600_000 });
    expect(isUninstalled(await again.until('a snapshot'))).toBe(true);
    await again.end();
    cluster.serviceAccountUid = 'of the next installation';
    const next = start({ saved, graceMs: 50 });
    expect(isUninstalled(await next.until('a snapshot'))).toBe(false);
  });
});

test('a server that stays away is a finding, and none when it is back', async () => {
  let passedMs = 0;
  const clock = { ...systemClock, nowMs: () => systemClock.nowMs() + passedMs };
  const { source, until } = start({ clock, timings: { baseBackoffMs: 20, maxBackoffMs: 50, silentMs: 1e9 } });
  await until('a snapshot');
  expect(source.findings()).toEqual([]);
  await ends.pop()!();
  cluster.isAway = true;
  const { source: alone } = start({ clock, timings: { baseBackoffMs: 20, maxBackoffMs: 50 } });
  await sleep(100);
  expect(alone.findings()).toEqual([]);
  passedMs += 31_000;
  expect(alone.findings()).toMatchObject([
    { code: 'ApiServerAway', message: expect.stringContaining('https://memory') },
  ]);
  cluster.isAway = false;
  await waitFor(() => alone.findings().length === 0, 10_000, { what: 'the end of it' });
});

describe('a set of prefixes', () => {
  const text = '192.0.2.0/24\n';
  const chunkOf = (content: string) => `${cluster.uidOf('ipblocklists', 'l').slice(0, 8)}-${contentDigest(content)}`;
  const putList = (chunks: readonly string[]) =>
    cluster.put('ipblocklists', 'l', {
      spec: { configMapRefs: [{ name: 'feed', key: 'a' }] },
      status: { prefixSet: { digest: setDigest(chunks), prefixes: 1, chunks } },
    });
  const putChunk = (name: string, prefixes: string) => {
    const owner = { apiVersion: '', kind: 'IpBlocklist', name: 'l', uid: cluster.uidOf('ipblocklists', 'l') };
    cluster.put('prefixchunks', name, { spec: { list: 'l', count: 1, prefixes } }, { ownerReferences: [owner] });
  };
  const prefixes = (snapshot: PolicySnapshot) => snapshot.cluster!.prefixSets.get('l')?.prefixes;

  test('whose chunk comes late is complete as soon as that is there', async () => {
    putList([]);
    putList([chunkOf(text)]);
    const { until } = start();
    expect(codes(await until('the list', (snapshot) => codes(snapshot).length > 0))).toEqual(['PrefixSetIncomplete']);
    putChunk(chunkOf(text), text);
    const whole = await until('the set', (snapshot) => prefixes(snapshot) !== undefined);
    expect(prefixes(whole)).toEqual(['192.0.2.0/24']);
    expect(codes(whole)).toEqual([]);
  });

  test('of a list for other nodes is not fetched before it is for this one', async () => {
    const spec = { configMapRefs: [{ name: 'feed', key: 'a' }], nodeSelector: { matchLabels: { role: 'core' } } };
    cluster.put('ipblocklists', 'l', { spec });
    const chunks = [chunkOf(text)];
    const prefixSet = { digest: setDigest(chunks), prefixes: 1, chunks };
    cluster.put('ipblocklists', 'l', { spec, status: { prefixSet } });
    putChunk(chunks[0]!, text);
    const { until } = start();
    expect((await until('a snapshot')).ipBlocklists).toEqual([]);
    await sleep(50);
    expect(cluster.reads).toEqual(['l']);
    cluster.put('nodes', 'n1', {}, { labels: { role: 'core' } });
    const here = await until('the set', (snapshot) => prefixes(snapshot) !== undefined);
    expect(here.ipBlocklists).toHaveLength(1);
    cluster.put('nodes', 'n1', {}, { labels: {} });
    await until('nothing of it', (snapshot) => prefixes(snapshot) === undefined && snapshot.ipBlocklists.length === 0);
  });

  test('whose chunk is not what its name says is not taken, and the list itself is', async () => {
    putList([]);
    putList([chunkOf(text)]);
    putChunk(chunkOf(text), '0.0.0.0/0\n');
    const { until } = start();
    const snapshot = await until('the list', (now) => now.ipBlocklists.length === 1);
    expect(prefixes(snapshot)).toBeUndefined();
    expect(codes(snapshot)).toEqual(['PrefixSetIncomplete']);
  });
});
