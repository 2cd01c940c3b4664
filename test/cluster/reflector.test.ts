import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { KubeClient } from '../../kube/client.ts';
import { errorOfStatus, isGone, isTooNew, KubeError } from '../../kube/errors.ts';
import { openKubeClient } from '../../kube/http-client.ts';
import type { KubeObject, KubeStatus, WatchEvent } from '../../kube/objects.ts';
import { type Change, Reflector, type ReflectorOptions, type RestartReason } from '../../kube/reflector.ts';
import { resources } from '../../kube/resources.ts';
import { waitFor } from '../support/wait-for.ts';
import { ControlPlane } from './control-plane/control-plane.ts';
import { Relay } from './control-plane/relay.ts';

type ConfigMap = KubeObject & { readonly data?: Readonly<Record<string, string>> };

const waitMs = 60_000;
const { configMaps, portScanPolicies } = resources;
const namespace = 'reflector-test';

let plane: ControlPlane;
let admin: KubeClient;

beforeAll(async () => {
  // Where this machine can have none, the run skips the tests of this suite, but not its hooks.
  if (process.env.PORTCULLIS_SKIP_CLUSTER !== undefined) return;
  plane = await ControlPlane.start();
  admin = await openKubeClient({ kubeconfig: plane.kubeconfig, userAgent: 'reflector-test' });
  await plane.run(['create', 'namespace', namespace]);
});

afterAll(async () => {
  await admin?.close();
  await plane?.stop();
});

const put = (name: string, value: string) =>
  admin.apply(
    configMaps,
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, ...{ data: { value } } },
    { fieldManager: 'test', force: true },
  );

interface Running {
  readonly reflector: Reflector<ConfigMap>;
  readonly changes: Change<ConfigMap>[];
  readonly restarts: RestartReason[];
}

let stop: AbortController;
let ends: (() => Promise<void>)[];

beforeEach(() => {
  stop = new AbortController();
  ends = [];
});

afterEach(async () => {
  stop.abort();
  for (const end of ends.splice(0)) await end();
});

async function clientAt(server = plane.server): Promise<KubeClient> {
  const client = await openKubeClient({
    kubeconfig: plane.kubeconfig,
    server,
    userAgent: 'reflector-test',
    requestTimeoutMs: 5000,
  });
  ends.push(() => client.close());
  return client;
}

function start(client: KubeClient, options: Partial<ReflectorOptions<ConfigMap>> = {}): Running {
  const changes: Change<ConfigMap>[] = [];
  const restarts: RestartReason[] = [];
  const reflector = new Reflector<ConfigMap>({
    client,
    resource: configMaps,
    // A kind without namespaces has none.
    ...(options.resource?.namespaced === false ? {} : { namespace }),
    name: 'configmaps',
    onChange: (change) => changes.push(change),
    metrics: {
      track: () => () => {},
      restarted: (_name, reason) => restarts.push(reason),
      listFailed: () => {},
      handlerFailed: () => {},
    },
    ...options,
    timings: { baseBackoffMs: 100, maxBackoffMs: 1000, ...options.timings },
  });
  const run = reflector.run(stop.signal);
  ends.unshift(() => run);
  return { reflector, changes, restarts };
}

const valueIn = (reflector: Reflector<ConfigMap>, name: string) =>
  reflector.items.get(`${namespace}/${name}`)?.data?.value;

const synced = ({ reflector }: Running) =>
  waitFor(() => reflector.state.phase === 'watching', waitMs, { what: 'the reflector to watch' });

describe('a real API server', () => {
  test('pages of what is there, then what changes', async () => {
    for (let i = 0; i < 25; i++) await put(`page-${i}`, 'first');
    const running = start(await clientAt(), { pageSize: 10 });
    await synced(running);
    expect(valueIn(running.reflector, 'page-24')).toBe('first');
    await put('page-3', 'second');
    await admin.delete(configMaps, 'page-4', { namespace });
    await waitFor(() => running.changes.length >= 27, waitMs);
    const told = running.changes.slice(-2).map(({ type, object }) => `${type} ${object.metadata.name}`);
    expect(told).toEqual(['updated page-3', 'deleted page-4']);
    expect(running.reflector.items.get(`${namespace}/page-3`)?.metadata).not.toHaveProperty('managedFields');
  });

  test('partial objects: names and versions, without content', async () => {
    await put('partial', 'secret');
    const running = start(await clientAt(), { metadataOnly: true });
    await synced(running);
    expect(running.reflector.items.get(`${namespace}/partial`)).toMatchObject({ metadata: { name: 'partial' } });
    expect(valueIn(running.reflector, 'partial')).toBeUndefined();
    await put('partial', 'another secret');
    await waitFor(() => running.changes.at(-1)?.type === 'updated', waitMs);
    expect(running.changes.at(-1)?.object).not.toHaveProperty('data');
  });

  test('ends a watch in its time: it goes on from the last version, and nothing is listed twice', async () => {
    await put('timed', 'first');
    const running = start(await clientAt(), { timings: { minWatchSeconds: 2, maxWatchSeconds: 2, healthyMs: 1000 } });
    await synced(running);
    await waitFor(() => running.restarts.length >= 2, waitMs);
    await put('timed', 'second');
    await waitFor(() => valueIn(running.reflector, 'timed') === 'second', waitMs);
    expect(new Set(running.restarts)).toEqual(new Set(['ended']));
    expect(running.changes.filter(({ via }) => via === 'list')).toHaveLength(running.reflector.items.size);
  });

  test('is silent where nothing happens: a look at one name, and the watch goes on from where it stood', async () => {
    const running = start(await clientAt(), { timings: { silentMs: 1500 } });
    await synced(running);
    await waitFor(() => running.restarts.length >= 2, waitMs);
    await put('silent', 'x');
    await waitFor(() => valueIn(running.reflector, 'silent') === 'x', waitMs);
    expect(new Set(running.restarts)).toEqual(new Set(['silent']));
    expect(running.changes.at(-1)).toMatchObject({ type: 'added', via: 'watch' });
  });

  test('refuses a version that it forgot with 410, and one that is to come with 504, as the errors tell them apart', async () => {
    const client = await clientAt();
    const { resourceVersion = '' } = (await put('early', 'x')).metadata;
    for (let i = 0; i < 5; i++) await put('early', `${i}`);
    // A server that starts remembers nothing of what was before.
    await plane.stopApiServer();
    await plane.startApiServer();
    let seen: WatchEvent<KubeObject> | KubeError | undefined;
    try {
      for await (const event of client.watch(configMaps, { namespace, resourceVersion, timeoutSeconds: 10 })) {
        seen = event;
        break;
      }
    } catch (error) {
      seen = error as KubeError;
    }
    const expired =
      seen instanceof KubeError ? seen : errorOfStatus('WATCH', 200, (seen as { object: KubeStatus }).object);
    expect(isGone(expired)).toBe(true);
    // As a reflector asks that finds its watch silent.
    const ahead = { resourceVersion: '999999999', resourceVersionMatch: 'NotOlderThan' } as const;
    await expect(client.list(configMaps, { ...ahead, namespace, limit: 1, metadataOnly: true })).rejects.toSatisfy(
      isTooNew,
    );
  });

  test('many watches share one connection', async () => {
    await using relay = await Relay.start(plane);
    const client = await clientAt(relay.server);
    const all = Array.from({ length: 40 }, () => start(client));
    for (const one of all) await synced(one);
    await put('shared', 'x');
    for (const { reflector } of all) await waitFor(() => valueIn(reflector, 'shared') === 'x', waitMs);
    expect(relay.openConnections).toBe(1);
    stop.abort();
    await Promise.all(ends.splice(0).map((end) => end()));
  });

  test('every watch cut each second: the copy keeps up', async () => {
    await using relay = await Relay.start(plane);
    const running = start(await clientAt(relay.server));
    await synced(running);
    for (let i = 0; i < 5; i++) {
      relay.resetConnections();
      await put('cut', `value ${i}`);
      await waitFor(() => valueIn(running.reflector, 'cut') === `value ${i}`, waitMs);
    }
    expect(running.restarts.length).toBeGreaterThanOrEqual(5);
  });

  test('a connection on which nothing comes through: a new one, and what happened meanwhile', async () => {
    await using relay = await Relay.start(plane);
    const running = start(await clientAt(relay.server), { timings: { silentMs: 3000, probeTimeoutMs: 1000 } });
    await synced(running);
    relay.stall();
    await put('stalled', 'missed');
    await waitFor(() => running.restarts.includes('silent'), waitMs);
    expect(valueIn(running.reflector, 'stalled')).toBeUndefined();
    relay.resume();
    await waitFor(() => valueIn(running.reflector, 'stalled') === 'missed', waitMs);
  });

  test('restored to an older snapshot and changed after it: the copy follows, also where versions are used twice', async () => {
    await put('kept', 'before');
    await put('removed-later', 'before');
    const snapshot = plane.snapshotEtcd();
    await put('kept', 'lost');
    await put('new', 'lost');
    await admin.delete(configMaps, 'removed-later', { namespace });
    const running = start(await clientAt());
    await synced(running);
    expect(valueIn(running.reflector, 'kept')).toBe('lost');
    await plane.restoreEtcd(snapshot);
    await put('kept', 'after');
    await waitFor(() => valueIn(running.reflector, 'kept') === 'after', waitMs);
    await waitFor(() => valueIn(running.reflector, 'removed-later') === 'before', waitMs);
    expect(running.reflector.items.has(`${namespace}/new`)).toBe(false);
    await put('later', 'x');
    await waitFor(() => valueIn(running.reflector, 'later') === 'x', waitMs);
  });

  test('a kind that is installed later', async () => {
    const missing = start(await clientAt(), { resource: portScanPolicies });
    await waitFor(() => missing.reflector.state.reason === 'kind-missing', waitMs);
    await plane.applyCrds(join(import.meta.dirname, '..', '..', 'crds'));
    await waitFor(() => missing.reflector.hasSynced, waitMs);
    await synced(missing);
  });
});
