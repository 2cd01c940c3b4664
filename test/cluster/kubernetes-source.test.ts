/** Policies out of a real API server: what a source makes of changes, restarts, and an etcd that was restored. */
import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { KubernetesSource, type KubernetesSourceOptions } from '../../agent/source/kubernetes.ts';
import type { PolicySnapshot } from '../../agent/source/policy-source.ts';
import type { KubeClient } from '../../kube/client.ts';
import { openKubeClient } from '../../kube/http-client.ts';
import type { ReflectorLog } from '../../kube/reflector.ts';
import { waitFor } from '../support/wait-for.ts';
import type { AnyObject, Cluster } from './control-plane/cluster.ts';
import { ControlPlane } from './control-plane/control-plane.ts';
import { installPortcullis } from './control-plane/install.ts';

const apiVersion = 'portcullis.dev/v1alpha1';
const policy = (name: string, spec: object = {}): AnyObject => ({
  ...{ apiVersion, kind: 'PortScanPolicy', metadata: { name } },
  spec: { mode: 'Enforce', ...spec },
});
const list = (name: string, spec: object = {}): AnyObject => ({
  ...{ apiVersion, kind: 'IpBlocklist', metadata: { name } },
  spec: { entries: [{ cidr: '192.0.2.0/24' }], ...spec },
});
const exception = (name: string): AnyObject => ({
  ...{ apiVersion, kind: 'SourceException', metadata: { name } },
  spec: { source: '198.51.100.7/32', expiresAt: '2999-01-01T00:00:00Z' },
});
const facts = (name: string, spec: object): AnyObject => ({
  ...{ apiVersion, kind: 'ClusterFacts', metadata: { name } },
  spec: { count: 1, ...spec },
});

// Of its own: it is stopped, and goes back to a snapshot.
let plane: ControlPlane;
let client: KubeClient;
beforeAll(async () => {
  plane = await ControlPlane.start();
  await installPortcullis(plane, new URL('../..', import.meta.url).pathname);
  await plane.createNode('n1', { labels: { role: 'edge' } });
  client = await openKubeClient({ kubeconfig: plane.kubeconfig, userAgent: 'test' });
});
afterAll(async () => {
  await client?.close();
  await plane?.stop();
});

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
  for (const kind of ['portscanpolicies', 'ipblocklists', 'sourceexceptions', 'clusterfacts', 'prefixchunks'])
    await plane.run(['delete', kind, '--all']);
  await plane.run(['annotate', 'node', 'n1', 'portcullis.dev/break-glass-']);
});

/** A client that counts the objects it reads. */
function counting(): { readonly client: KubeClient; readonly reads: string[] } {
  const reads: string[] = [];
  const counted = new Proxy(client, {
    get(target, key) {
      const value = Reflect.get(target, key) as unknown;
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        if (key === 'get') reads.push(args[1] as string);
        return (value as (...args: unknown[]) => unknown).apply(target, args);
      };
    },
  });
  return { client: counted, reads };
}

function start(options: Partial<KubernetesSourceOptions> = {}) {
  const { client: counted, reads } = counting();
  const log: ReflectorLog[] = [];
  const source = new KubernetesSource({
    client: counted,
    nodeName: 'n1',
    jitterMs: 20,
    timings: { baseBackoffMs: 100, maxBackoffMs: 1_000 },
    log: (entry) => log.push(entry),
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
  const until = async (what: string, matches: (snapshot: PolicySnapshot) => boolean, timeoutMs = 60_000) => {
    await waitFor(() => snapshots.length > 0 && matches(snapshots.at(-1)!), timeoutMs, { what });
    return snapshots.at(-1)!;
  };
  return { source, snapshots, reads, log, end, until };
}

const modeOf = (snapshot: PolicySnapshot, name: string) =>
  snapshot.portScanPolicies.find(({ metadata }) => metadata.name === name)?.spec.mode;
const hasPolicy = (name: string, mode?: string) => (snapshot: PolicySnapshot) =>
  mode === undefined ? modeOf(snapshot, name) !== undefined : modeOf(snapshot, name) === mode;

describe('a first snapshot', () => {
  test('has everything at once, with defaults, and what the Node says', async () => {
    await plane.apply([
      policy('a'),
      policy('b'),
      list('l'),
      exception('x'),
      facts('nodes-0', { holds: 'Nodes', prefixes: ['192.0.2.1/32'] }),
      facts('cluster', { holds: 'Cluster', prefixes: [], count: 0, nodeCount: 64, complete: true }),
    ]);
    const { source, snapshots, until } = start();
    await until('a snapshot', () => true);
    const [first] = snapshots;
    expect(first).toMatchObject({
      portScanPolicies: [{ metadata: { name: 'a', generation: 1 }, spec: { block: { duration: '10m' } } }, {}],
      ipBlocklists: [{ metadata: { name: 'l' }, spec: { traffic: 'All', entries: [{ cidr: '192.0.2.0/24' }] } }],
      sourceExceptions: [{ spec: { source: '198.51.100.7/32', policies: [] } }],
      findings: [],
      cluster: { nodeLabels: { role: 'edge' }, breakGlass: false, refused: [] },
    });
    expect(first?.cluster?.nodeUid).toBe((await plane.get('node', 'n1'))!.metadata.uid);
    expect(first?.cluster?.facts.map(({ spec }) => spec.holds)).toEqual(['Cluster', 'Nodes']);
    expect(source.nodeCount).toBe(64);
  });

  test('of an empty cluster is empty', async () => {
    const { until } = start();
    expect(await until('a snapshot', () => true)).toMatchObject({ portScanPolicies: [], ipBlocklists: [] });
  });

  test('names a Node that does not exist', async () => {
    const { until } = start({ nodeName: 'nobody' });
    const snapshot = await until('a snapshot', () => true);
    expect(snapshot.findings).toMatchObject([{ code: 'NodeNotFound', object: 'Node/nobody' }]);
  });
});

describe('a change', () => {
  test('of a spec is read once; of a status, never', async () => {
    await plane.apply(policy('a'));
    const { until, reads, snapshots } = start();
    await until('the policy', hasPolicy('a', 'Enforce'));
    expect(reads).toEqual(['a']);
    await plane.apply(policy('a', { mode: 'Monitor' }));
    await until('the change', hasPolicy('a', 'Monitor'));
    expect(reads).toEqual(['a', 'a']);
    const before = snapshots.length;
    for (const observedGeneration of [1, 2, 3]) {
      const status = JSON.stringify({ status: { observedGeneration } });
      await plane.run(['patch', 'portscanpolicy', 'a', '--subresource=status', '--type=merge', '-p', status]);
    }
    await plane.apply(policy('b'));
    await until('another policy', hasPolicy('b'));
    expect(reads).toEqual(['a', 'a', 'b']);
    expect(snapshots.length - before).toBeLessThanOrEqual(2);
    await plane.delete('portscanpolicy', 'a');
    await until('the deletion', (snapshot) => !hasPolicy('a')(snapshot));
  });

  test('of exceptions, facts, labels and the annotation shows', async () => {
    const { until } = start();
    await until('a snapshot', () => true);
    await plane.apply(exception('x'));
    await until('the exception', ({ sourceExceptions }) => sourceExceptions.length === 1);
    await plane.delete('sourceexception', 'x');
    await until('its end', ({ sourceExceptions }) => sourceExceptions.length === 0);
    await plane.apply(facts('pod-ranges-0', { holds: 'PodRanges', prefixes: ['10.0.0.0/16'] }));
    await until('the facts', ({ cluster }) => cluster!.facts.length === 1);
    await plane.run(['label', 'node', 'n1', 'zone=a']);
    await until('the label', ({ cluster }) => cluster!.nodeLabels.zone === 'a');
    await plane.run(['label', 'node', 'n1', 'zone-']);
    await until('its end', ({ cluster }) => cluster!.nodeLabels.zone === undefined);
    await plane.run(['annotate', 'node', 'n1', 'portcullis.dev/break-glass=detach']);
    await until('break-glass', ({ cluster }) => cluster!.breakGlass);
    await plane.run(['annotate', '--overwrite', 'node', 'n1', 'portcullis.dev/break-glass=please']);
    const odd = await until('another value', ({ cluster }) => !cluster!.breakGlass);
    expect(odd.findings).toMatchObject([{ code: 'NotAllowedValue', object: 'Node/n1' }]);
  });

  test('to what a looser schema let in keeps what was good, and a newer schema is told apart', async () => {
    await plane.apply([policy('a'), list('l')]);
    const { until } = start();
    await until('both', (snapshot) => hasPolicy('a')(snapshot) && snapshot.ipBlocklists.length === 1);
    await withLooseSchema(async () => {
      await plane.apply(policy('a', { mode: 'Monitor', block: { duration: 'soon' } }));
      await plane.apply(list('l', { entries: [], novelty: { a: 1 } }));
      const snapshot = await until('the refusals', ({ cluster }) => cluster!.refused.length === 2);
      expect(modeOf(snapshot, 'a')).toBe('Enforce');
      expect(snapshot.ipBlocklists[0]?.spec.entries).toHaveLength(1);
      expect(snapshot.cluster!.refused).toEqual(
        expect.arrayContaining([
          expect.objectContaining({ name: 'a', generation: 2, state: 'Invalid', hasLastGood: true }),
          expect.objectContaining({ name: 'l', generation: 2, state: 'UnknownField', hasLastGood: true }),
        ]),
      );
      await plane.apply([policy('a', { mode: 'Monitor' }), list('l', { entries: [] })]);
      const mended = await until('the mended ones', ({ cluster }) => cluster!.refused.length === 0);
      expect(modeOf(mended, 'a')).toBe('Monitor');
      expect(mended.ipBlocklists[0]?.spec.entries).toEqual([]);
    });
  });
});

/** With CRDs that let everything in, as an older version's may. */
async function withLooseSchema(work: () => Promise<void>): Promise<void> {
  const crds = (await plane.list('crd')).filter(({ metadata }) => /^(portscan|ipblock)/.test(metadata.name));
  const anything = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  try {
    for (const { metadata, spec } of crds) {
      const [version] = spec.versions;
      version.schema.openAPIV3Schema.properties.spec = anything;
      const patch = JSON.stringify({ spec: { versions: [version] } });
      await plane.run(['patch', 'crd', metadata.name, '--type=merge', '-p', patch]);
    }
    // The server takes a new schema into use some moments later.
    const odd = { input: JSON.stringify(policy('p', { x: 1, mode: 'X' })) };
    const isTaken = async () => (await plane.kubectl(['create', '--dry-run=server', '-f', '-'], odd)).code === 0;
    await waitFor(isTaken, 30_000, { what: 'the loose schema', intervalMs: 200 });
    await work();
  } finally {
    await plane.applyCrds(new URL('../../crds', import.meta.url).pathname);
  }
}

describe('prefixes out of ConfigMaps', () => {
  const contentName = (uid: string, text: string) =>
    `${uid.slice(0, 8)}-${createHash('sha256').update(text).digest('hex').slice(0, 40)}`;

  /** What the operator does: the reference first, then the chunks, then the deletion of those that are not named. */
  async function publish(
    cluster: Cluster,
    name: string,
    texts: readonly string[],
    late: () => Promise<void> = async () => {},
  ) {
    const { uid } = (await cluster.get('ipblocklist', name))!.metadata;
    const chunks = texts.map((text) => contentName(uid, text));
    const digest = createHash('sha256').update(chunks.join('\n')).digest('hex');
    const prefixSet = chunks.length === 0 ? null : { digest, prefixes: texts.join('').split('\n').length - 1, chunks };
    const status = JSON.stringify({ status: { prefixSet } });
    await cluster.run(['patch', 'ipblocklist', name, '--subresource=status', '--type=merge', '-p', status]);
    for (const [i, text] of texts.entries()) {
      if (i === texts.length - 1) await late();
      await cluster.apply({
        ...{ apiVersion, kind: 'PrefixChunk' },
        metadata: { name: chunks[i], ownerReferences: [{ apiVersion, kind: 'IpBlocklist', name, uid }] },
        spec: { list: name, count: text.split('\n').length - 1, prefixes: text },
      });
    }
    for (const { metadata } of await cluster.list('prefixchunk')) {
      if (metadata.ownerReferences[0].uid === uid && !chunks.includes(metadata.name))
        await cluster.delete('prefixchunk', metadata.name);
    }
    return digest;
  }

  const refs = { configMapRefs: [{ name: 'feed', key: 'a' }] };

  test('come as a whole, change as a whole, and go', async () => {
    await plane.apply(list('l', refs));
    const { until, reads, snapshots } = start();
    await until('the list', ({ ipBlocklists }) => ipBlocklists.length === 1);
    const setOf = ({ cluster }: PolicySnapshot) => cluster!.prefixSets.get('l');
    const [a, b, c] = ['192.0.2.0/25\n', '198.51.100.0/24\n203.0.113.0/24\n', '2001:db8::/32\n'];
    const first = await publish(plane, 'l', [a!, b!], async () => {
      // Half a set is none.
      await waitFor(() => reads.filter((name) => name === 'l').length >= 2, 30_000);
      expect(snapshots.every((snapshot) => setOf(snapshot) === undefined)).toBe(true);
    });
    const whole = await until('the set', (snapshot) => setOf(snapshot)?.digest === first);
    expect(setOf(whole)?.prefixes).toEqual(['192.0.2.0/25', '198.51.100.0/24', '203.0.113.0/24']);

    reads.length = 0;
    const second = await publish(plane, 'l', [b!, c!]);
    const changed = await until('the other set', (snapshot) => setOf(snapshot)?.digest === second);
    expect(setOf(changed)?.prefixes).toEqual(['198.51.100.0/24', '203.0.113.0/24', '2001:db8::/32']);
    // What it had already is not fetched again.
    const uid = (await plane.get('ipblocklist', 'l'))!.metadata.uid;
    expect(reads).toContain(contentName(uid, c!));
    expect(reads).not.toContain(contentName(uid, b!));

    await publish(plane, 'l', []);
    await until('no set', (snapshot) => setOf(snapshot) === undefined);
  });

  test('stay in force over a restart without an API server', async () => {
    await plane.apply(list('l', refs));
    const digest = await publish(plane, 'l', ['192.0.2.0/25\n', '198.51.100.0/24\n']);
    const { source, until, end } = start();
    await until('the set', ({ cluster }) => cluster!.prefixSets.get('l')?.digest === digest);
    const saved = source.saved()!;
    const chunks = new Map(
      Object.values(saved.prefixSets).flatMap((set) => set.chunks.map((name) => [name, source.chunkText(name)])),
    );
    await end();
    const away = await openKubeClient({
      kubeconfig: plane.kubeconfig,
      server: 'https://127.0.0.1:1',
      userAgent: 'test',
    });
    try {
      const restarted = start({ client: away, saved, savedChunk: async (name) => chunks.get(name), graceMs: 50 });
      const snapshot = await restarted.until('what was known', () => true);
      expect(snapshot.cluster!.prefixSets.get('l')?.prefixes).toEqual(['192.0.2.0/25', '198.51.100.0/24']);
      expect(snapshot.cluster!.nodeLabels.role).toBe('edge');
      await restarted.end();
    } finally {
      await away.close();
    }
  });
});

describe('an API server that goes away', () => {
  test('changes nothing; what happened meanwhile shows when it is back', async () => {
    await plane.apply([policy('a'), policy('b')]);
    const { until, snapshots, log } = start();
    await until('both', (snapshot) => snapshot.portScanPolicies.length === 2);
    await plane.stopApiServer('SIGKILL');
    const before = snapshots.length;
    const isRefused = (kind: string) =>
      log.some(({ reason, message }) => reason === 'refused' && message.includes(kind));
    await waitFor(() => isRefused('portscanpolicies') && isRefused('nodes'), 30_000, { what: 'refused connections' });
    expect(snapshots.length).toBe(before);
    await plane.startApiServer();
    await plane.delete('portscanpolicy', 'a');
    await plane.apply(policy('b', { mode: 'Monitor' }));
    await until('the changes', (snapshot) => !hasPolicy('a')(snapshot) && hasPolicy('b', 'Monitor')(snapshot));
  });

  test('and comes back with an older state, changed since, is the truth: also where numbers are the same', async () => {
    await plane.apply([policy('kept'), policy('edited')]);
    const { until } = start();
    await until('both', (snapshot) => snapshot.portScanPolicies.length === 2);
    const snapshot = plane.snapshotEtcd();
    await plane.apply([policy('edited', { mode: 'Monitor' }), policy('made-after')]);
    await plane.delete('portscanpolicy', 'kept');
    await until(
      'the changes',
      (now) => hasPolicy('edited', 'Monitor')(now) && hasPolicy('made-after')(now) && !hasPolicy('kept')(now),
    );

    await plane.restoreEtcd(snapshot);
    // Generation 2 again, as the one that was lost, with another content.
    await plane.apply(policy('edited', { priority: 7 }));
    const now = await until(
      'the restored state',
      (latest) =>
        latest.portScanPolicies.find(({ metadata }) => metadata.name === 'edited')?.spec.priority === 7 &&
        hasPolicy('kept')(latest) &&
        !hasPolicy('made-after')(latest),
      120_000,
    );
    expect(modeOf(now, 'edited')).toBe('Enforce');
    expect((await plane.get('portscanpolicy', 'edited'))!.metadata.generation).toBe(2);
  });
});
