import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Change, Reflector } from './reflector.ts';
import { KubeMetrics } from './reflector-metrics.ts';
import { resources } from './resources.ts';
import { tooLargeVersion } from './testing/fault-server.ts';
import type { StoredObject } from './testing/object-store.ts';
import { Room, silentSoon, told, until } from './testing/reflector-room.ts';

describe.each([
  { protocol: 'HTTP/2', allowH2: true },
  { protocol: 'HTTP/1.1', allowH2: false },
])('over $protocol', ({ allowH2 }) => {
  let room: Room;

  beforeEach(async () => {
    room = await new Room({ allowH2 }).open();
  });

  afterEach(() => room.close());

  const versionOf = (name: string) => room.server.store.objects.get(name)?.metadata.resourceVersion;

  test('lists, watches, and tells each change once', async () => {
    room.server.store.set('a');
    room.server.store.set('b');
    const { reflector, changes } = await room.watching();
    expect(reflector.hasSynced).toBe(true);
    room.server.store.set('a', { mode: 'Enforce' });
    room.server.store.delete('b');
    room.server.store.set('c');
    await until(() => changes.length >= 5);
    expect(told(changes)).toEqual(['added a', 'added b', 'updated a', 'deleted b', 'added c']);
    expect(changes[2]).toMatchObject({ previous: { spec: {} }, object: { spec: { mode: 'Enforce' } } });
    expect([...reflector.items.keys()]).toEqual(['a', 'c']);
    expect(room.server.requests[0]?.httpVersion).toBe(allowH2 ? '2.0' : '1.1');
  });

  test('onSynced comes once, after the changes of the whole first list', async () => {
    room.server.store.set('a');
    const order: string[] = [];
    const { reflector } = await room.watching({
      onChange: ({ object }) => order.push(object.metadata.name),
      onSynced: () => order.push('synced'),
    });
    room.server.always('watch', { kind: 'status', status: 410 });
    room.server.resetConnections();
    await until(() => room.restarts.includes('expired'));
    room.server.always('watch', undefined);
    room.server.store.set('b');
    await room.converged(reflector);
    expect(order).toEqual(['a', 'synced', 'b']);
  });

  test('an empty collection is synced too', async () => {
    const { reflector } = await room.watching();
    expect(reflector.hasSynced).toBe(true);
    expect(reflector.items.size).toBe(0);
  });

  test('asks for pages, bookmarks and a jittered end of the watch', async () => {
    for (let i = 0; i < 1201; i++) room.server.store.set(`p${i}`);
    const randoms = [0, 0.5, 0.99];
    const { reflector } = await room.watching({ random: () => randoms.shift() ?? 0.5 });
    expect(reflector.items.size).toBe(1201);
    const lists = room.server.seen('list');
    expect(lists.map(({ query }) => query.get('limit'))).toEqual(['500', '500', '500']);
    expect(lists[0]?.query.has('resourceVersion')).toBe(false);
    const watch = room.server.seen('watch')[0];
    expect(watch?.query.get('allowWatchBookmarks')).toBe('true');
    expect(watch?.query.get('resourceVersion')).toBe(String(room.server.store.version));
    expect(Number(watch?.query.get('timeoutSeconds'))).toBe(300);
  });

  test('10,000 objects in pages', async () => {
    for (let i = 0; i < 10_000; i++) room.server.store.set(`p${i}`, { text: 'x'.repeat(200) });
    let added = 0;
    const { reflector } = await room.watching({ onChange: () => added++ });
    await room.converged(reflector);
    expect(added).toBe(10_000);
    expect(room.server.seen('list')).toHaveLength(20);
  });

  test('keeps managedFields neither of listed nor of watched objects', async () => {
    room.server.store.set('listed');
    const { reflector } = await room.watching();
    room.server.store.set('watched');
    await room.converged(reflector);
    for (const { metadata } of reflector.items.values()) expect(metadata).not.toHaveProperty('managedFields');
  });

  test('keeps what transform makes of an object, and the object when transform throws', async () => {
    room.server.store.set('good', { keep: 1, drop: 2 });
    room.server.store.set('odd', { drop: 3 });
    const { reflector } = await room.watching({
      transform: ({ spec, ...object }) => {
        if (spec?.keep === undefined) throw new Error('odd');
        return { ...object, spec: { keep: spec.keep } };
      },
    });
    expect(reflector.items.get('good')?.spec).toEqual({ keep: 1 });
    expect(reflector.items.get('odd')?.spec).toEqual({ drop: 3 });
    expect(room.handlerErrors).toBe(1);
  });

  test('metadataOnly asks for partial objects', async () => {
    await room.watching({ metadataOnly: true });
    expect(room.server.seen('list')[0]?.headers.accept).toBe(
      'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
    );
    expect(room.server.seen('watch')[0]?.headers.accept).toBe(
      'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
    );
  });

  test('selectors go with list and watch', async () => {
    await room.watching({ fieldSelector: 'metadata.name=n1', labelSelector: 'a in (b,c)' });
    for (const { query } of room.server.requests) {
      expect(query.get('fieldSelector')).toBe('metadata.name=n1');
      expect(query.get('labelSelector')).toBe('a in (b,c)');
    }
  });

  test('a watch that the server ends goes on from the last version, without a list', async () => {
    const { reflector, changes } = await room.watching({
      timings: { minWatchSeconds: 0, maxWatchSeconds: 0.1 },
    });
    room.server.store.set('a');
    await until(() => room.server.seen('watch').length >= 3);
    room.server.store.set('b');
    await room.converged(reflector);
    expect(room.server.seen('list')).toHaveLength(1);
    expect(told(changes)).toEqual(['added a', 'added b']);
    expect(room.restarts.every((reason) => reason === 'ended')).toBe(true);
  });

  test('a server that ends every watch at once is not stormed', async () => {
    room.server.always('watch', { kind: 'close' });
    const reflector = room.run(
      room.reflector({ timings: { baseBackoffMs: 20, maxBackoffMs: 1000 }, random: () => 0.5 }),
    );
    await until(() => room.server.seen('watch').length >= 6, 'six watches');
    // 20, 40, 80, 160 and 320 ms lie between them: no timer fires early.
    const times = room.server.seen('watch').map(({ atMs }) => atMs);
    expect((times[5] ?? 0) - (times[0] ?? 0)).toBeGreaterThan(600);
    room.server.always('watch', undefined);
    room.server.store.set('late');
    await room.converged(reflector);
    expect(room.server.seen('list')).toHaveLength(1);
  });

  test('a connection reset in mid-stream loses nothing and lists nothing', async () => {
    const { reflector, changes } = await room.watching();
    room.server.store.set('a');
    await until(() => changes.length === 1);
    room.server.resetConnections();
    room.server.store.set('b');
    await room.converged(reflector);
    expect(room.restarts).toEqual(['broken']);
    // And one look at whether the server still has the version.
    const lists = room.server.seen('list').filter(({ query }) => !query.has('resourceVersionMatch'));
    expect(lists).toHaveLength(1);
    expect(room.server.seen('list')).toHaveLength(2);
    expect(told(changes)).toEqual(['added a', 'added b']);
  });

  test('resets after each event, again and again', async () => {
    for (let i = 0; i < 10; i++) room.server.once('watch', { kind: 'reset', afterEvents: 1 });
    const { reflector } = await room.watching();
    for (let i = 0; i < 10; i++) room.server.store.set(`p${i}`);
    await room.converged(reflector);
  });

  if (allowH2)
    test('a stream that is reset alone leaves its neighbours alone', async () => {
      const { reflector: neighbour } = await room.watching();
      room.server.once('watch', { kind: 'stream-reset' });
      const { reflector } = await room.watching();
      await until(() => room.restarts.length === 1);
      room.server.store.set('a');
      await room.converged(reflector);
      await room.converged(neighbour);
      expect(room.restarts).toEqual(['broken']);
      expect(room.server.connections).toBe(1);
    });

  test('410 as status: lists again, tells the deletions that were missed and only what changed', async () => {
    room.server.store.set('kept');
    room.server.store.set('gone');
    room.server.store.set('changed');
    const { reflector, changes } = await room.watching();
    changes.length = 0;
    await room.server.stop();
    const kept = reflector.items.get('kept');
    room.server.store.delete('gone');
    room.server.store.set('changed', { x: 1 });
    room.server.store.set('new');
    room.server.store.compact();
    room.server.once('watch', { kind: 'status', status: 410 });
    await room.server.start();
    await room.converged(reflector);
    expect(told(changes)).toEqual(['deleted gone', 'updated changed', 'added new']);
    expect(reflector.items.get('kept')).toBe(kept);
  });

  test('410 as ERROR event: lists again', async () => {
    room.server.once('watch', { kind: 'error-event', code: 410, reason: 'Expired' });
    const { reflector } = await room.watching();
    await until(() => room.server.seen('list').length === 2);
    room.server.store.set('a');
    await room.converged(reflector);
    expect(room.restarts).toEqual(['expired']);
  });

  test('an ERROR event of any other kind: lists again', async () => {
    room.server.once('watch', { kind: 'error-event', code: 500, reason: 'InternalError' });
    const { reflector } = await room.watching();
    await until(() => room.server.seen('list').length === 2);
    room.server.store.set('a');
    await room.converged(reflector);
    expect(room.restarts).toEqual(['server-error']);
  });

  test('an object that was deleted and made anew while nobody watched is told as two', async () => {
    room.server.store.set('a', { old: true });
    const { reflector, changes } = await room.watching();
    await room.server.stop();
    room.server.store.delete('a');
    room.server.store.set('a', { old: false });
    room.server.store.compact();
    await room.server.start();
    await room.converged(reflector);
    expect(told(changes)).toEqual(['added a', 'deleted a', 'added a']);
    expect(changes[1]?.object.spec).toEqual({ old: true });
  });

  test.each([500, 502, 503])('%i on list and on watch is retried', async (status) => {
    room.server.once('list', { kind: 'status', status });
    room.server.once('list', { kind: 'status', status, body: '<html>Bad Gateway</html>' });
    room.server.once('watch', { kind: 'status', status });
    const reflector = room.run(room.reflector());
    await until(() => room.server.seen('watch').length >= 2);
    room.server.store.set('a');
    await room.converged(reflector);
    expect(room.listFailures).toBe(2);
    expect(room.restarts).toEqual(['server-error']);
  });

  test('401: the token is read again at once, and nobody notices', async () => {
    room.server.token = 'first';
    const { reflector } = await room.watching();
    room.server.token = 'second';
    room.writeToken('second');
    room.server.resetConnections();
    room.server.store.set('a');
    await room.converged(reflector);
    expect(room.restarts).toEqual(['broken']);
  });

  test('401 until somebody writes a good token', async () => {
    room.server.token = 'second';
    const reflector = room.run(room.reflector());
    await until(() => reflector.state.reason === 'unauthorized');
    expect(reflector.state.message).toContain('401');
    room.server.store.set('a');
    room.writeToken('second');
    await room.converged(reflector);
    await until(() => reflector.state.phase === 'watching');
    expect(reflector.state.reason).toBeUndefined();
  });

  test('what is wrong stays to be read through each new attempt, until something comes', async () => {
    room.server.bookmarkMs = undefined;
    const { reflector } = await room.watching({ timings: { silentMs: 60_000, healthyMs: 60_000 } });
    room.server.always('watch', { kind: 'status', status: 401 });
    room.server.resetConnections();
    await until(() => room.restarts.filter((reason) => reason === 'unauthorized').length >= 1);
    const reasons = new Set<string | undefined>();
    await until(() => {
      reasons.add(reflector.state.reason);
      return room.restarts.length >= 5;
    });
    expect(reasons).toEqual(new Set(['unauthorized']));
    room.server.always('watch', undefined);
    room.server.store.set('a');
    await room.converged(reflector);
    await until(() => reflector.state.phase === 'watching' && reflector.state.reason === undefined);
  });

  test('429: waits as long as the server asks for', async () => {
    room.server.once('list', { kind: 'status', status: 429, headers: { 'retry-after': '1' } });
    const reflector = room.run(room.reflector());
    await until(() => reflector.hasSynced);
    const [first, second] = room.server.seen('list');
    expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThan(990);
    expect(room.logs[0]).toMatchObject({ level: 'warn', reason: 'throttled' });
    expect(room.logs[0]?.retryInMs).toBeGreaterThanOrEqual(1000);
  });

  test('504 ResourceVersionTooLarge on a watch: lists without a version', async () => {
    room.server.once('watch', { kind: 'status', status: 504, body: tooLargeVersion });
    const { reflector } = await room.watching({ timings: { maxBackoffMs: 20 } });
    room.server.store.set('a');
    await room.converged(reflector);
    expect(room.restarts).toEqual(['too-new']);
    expect(room.server.seen('list').map(({ query }) => query.has('resourceVersion'))).toEqual([false, false]);
  });

  test('the kind is not installed yet: says so, and finds it later', async () => {
    for (let i = 0; i < 4; i++) room.server.once('list', { kind: 'status', status: 404, body: '404 page not found\n' });
    const reflector = room.run(room.reflector());
    await until(() => reflector.state.reason === 'kind-missing');
    expect(reflector.state.message).toBe(
      '/apis/portcullis.dev/v1alpha1/portscanpolicies: the server does not know PortScanPolicy: install the CustomResourceDefinitions',
    );
    expect(reflector.hasSynced).toBe(false);
    room.server.store.set('a');
    await room.converged(reflector);
    await until(() => reflector.state.phase === 'watching' && reflector.state.reason === undefined);
  });

  test('a kind that is gone for a while keeps its objects: a starting server answers 404 too', async () => {
    room.server.store.set('a');
    const { reflector, changes } = await room.watching();
    room.server.always('list', { kind: 'status', status: 404 });
    room.server.always('watch', { kind: 'status', status: 404 });
    room.server.resetConnections();
    await until(() => room.listFailures >= 2);
    expect(reflector.items.size).toBe(1);
    room.server.always('list', undefined);
    room.server.always('watch', undefined);
    room.server.store.set('b');
    await room.converged(reflector);
    expect(told(changes)).toEqual(['added a', 'added b']);
  });

  test('403 keeps the copy and goes on asking', async () => {
    room.server.store.set('a');
    const { reflector } = await room.watching();
    room.server.always('watch', { kind: 'status', status: 403 });
    room.server.always('list', { kind: 'status', status: 403 });
    room.server.resetConnections();
    await until(() => room.listFailures >= 2);
    expect(reflector.state.reason).toBe('forbidden');
    expect(reflector.items.size).toBe(1);
    room.server.always('list', undefined);
    room.server.always('watch', undefined);
    room.server.store.delete('a');
    await room.converged(reflector);
  });

  test('the server goes away and comes back with an older state: the copy follows it back', async () => {
    room.server.store.set('a', { n: 1 });
    room.server.store.set('b', { n: 1 });
    const snapshot = room.server.store.snapshot();
    room.server.store.set('a', { n: 2 });
    room.server.store.delete('b');
    room.server.store.set('c');
    const { reflector, changes } = await room.watching();
    expect([...reflector.items.keys()]).toEqual(['a', 'c']);
    changes.length = 0;
    await room.server.stop();
    await until(() => room.restarts.includes('refused') || room.listFailures > 0, 'a refused connection');
    room.server.store.restore(snapshot);
    await room.server.start();
    await room.converged(reflector);
    expect(told(changes)).toEqual(['deleted c', 'updated a', 'added b']);
    expect(reflector.items.get('a')?.spec).toEqual({ n: 1 });
    room.server.store.set('d');
    await room.converged(reflector);
  });

  test('a restored store that counts its versions anew: another state under the same version is seen', async () => {
    room.server.store.set('a', { n: 1 });
    const snapshot = room.server.store.snapshot();
    room.server.store.set('a', { n: 2 });
    const { reflector, changes } = await room.watching();
    const before = reflector.items.get('a')?.metadata.resourceVersion;
    await room.server.stop();
    await until(() => room.restarts.includes('refused'));
    room.server.store.restore(snapshot);
    room.server.store.set('a', { n: 3 });
    await room.server.start();
    await until(() => changes.length === 2);
    expect(changes[1]).toMatchObject({
      type: 'updated',
      via: 'list',
      previous: { spec: { n: 2 } },
      object: { spec: { n: 3 } },
    });
    expect(reflector.items.get('a')?.metadata.resourceVersion).toBe(before);
  });

  test('the same of partial objects, whose spec is not to be seen: who wrote when is compared', async () => {
    const write = (time: string) => {
      const object = room.server.store.set('a');
      Object.assign(object.metadata, { managedFields: [{ manager: 'kubectl', time }], generation: 2 });
    };
    const snapshot = room.server.store.snapshot();
    write('2026-11-21T10:00:00Z');
    const { changes } = await room.watching({ metadataOnly: true });
    const uid = changes[0]?.object.metadata.uid;
    await room.server.stop();
    await until(() => room.restarts.includes('refused'));
    room.server.store.restore(snapshot);
    write('2026-11-21T10:05:00Z');
    Object.assign(room.server.store.objects.get('a')?.metadata ?? {}, { uid });
    await room.server.start();
    await until(() => changes.length === 2);
    expect(changes[1]).toMatchObject({ type: 'updated', via: 'list' });
    expect(changes[1]?.object).toEqual(changes[0]?.object);
  });

  test('an older state that comes back unseen is found out before the next watch, which would miss what happens', async () => {
    room.server.store.set('a');
    const snapshot = room.server.store.snapshot();
    for (let i = 0; i < 20; i++) room.server.store.set(`later-${i}`);
    const { reflector } = await room.watching();
    // No connection is ever refused: a watch would be answered with 200, and then with nothing.
    room.server.store.restore(snapshot);
    room.server.resetConnections();
    await room.converged(reflector);
    expect(room.restarts).toEqual(['broken', 'too-new']);
    expect(versionOf('a')).toBe(reflector.items.get('a')?.metadata.resourceVersion);
  });

  test('an older state that has come to the same version again while nobody was connected: lists', async () => {
    room.server.store.set('a');
    const snapshot = room.server.store.snapshot();
    room.server.store.set('gone');
    const { reflector } = await room.watching();
    for (const verb of ['list', 'watch'] as const) room.server.always(verb, { kind: 'status', status: 429 });
    room.server.store.restore(snapshot);
    for (let i = 0; i < 5; i++) room.server.store.set(`other-${i}`);
    room.server.resetConnections();
    await until(() => room.restarts.includes('throttled'));
    await new Promise((resolve) => setTimeout(resolve, 2500));
    for (const verb of ['list', 'watch'] as const) room.server.always(verb, undefined);
    await room.converged(reflector);
    expect([...reflector.items.keys()]).not.toContain('gone');
  });

  test('a watch that is silent on a connection that lives: a look at one name, and it goes on from where it stood', async () => {
    room.server.store.set('a');
    room.server.always('watch', { kind: 'silent' });
    const { reflector, changes } = await room.watching({ timings: { ...silentSoon, probeTimeoutMs: 5000 } });
    const from = String(room.server.store.version);
    await until(() => room.server.seen('watch').length === 3);
    room.server.always('watch', undefined);
    room.server.store.set('b');
    await room.converged(reflector);
    expect(new Set(room.restarts)).toEqual(new Set(['silent']));
    const looks = room.server.seen('list').slice(1);
    expect(looks.length).toBeGreaterThanOrEqual(2);
    for (const { query, headers } of looks) {
      expect(Object.fromEntries(query)).toEqual({
        limit: '1',
        resourceVersion: from,
        resourceVersionMatch: 'NotOlderThan',
      });
      expect(headers.accept).toContain('PartialObjectMetadataList');
    }
    expect(room.server.seen('watch').every(({ query }) => query.get('resourceVersion') === from)).toBe(true);
    expect(told(changes)).toEqual(['added a', 'added b']);
    expect(room.logs.every(({ level }) => level === 'debug')).toBe(true);
    if (allowH2) expect(room.server.connections).toBe(1);
  });

  test('a connection through which nothing comes any more: a new one, and a new list', async () => {
    const { reflector } = await room.watching({ timings: silentSoon });
    const { connections } = room.server;
    room.server.freezeConnections();
    room.server.store.set('a');
    room.server.store.compact();
    await room.converged(reflector);
    expect(room.restarts).toEqual(['silent']);
    expect(room.server.connections).toBeGreaterThan(connections);
    expect(room.logs.find(({ reason }) => reason === 'silent')).toMatchObject({
      level: 'warn',
      message: expect.stringContaining('nothing came for 150 ms: '),
    });
  });

  test('all watches of a dead connection find out together, not one after the other', async () => {
    const reflectors = Array.from({ length: 8 }, () => room.run(room.reflector({ timings: silentSoon })));
    await until(
      () => reflectors.every(({ state }) => state.phase === 'watching') && room.server.seen('watch').length >= 8,
    );
    room.server.freezeConnections();
    room.server.store.set('a');
    for (const reflector of reflectors) await room.converged(reflector);
    expect(room.restarts.filter((reason) => reason === 'silent').length).toBeLessThanOrEqual(2 * reflectors.length);
    expect(reflectors.every(({ hasSynced }) => hasSynced)).toBe(true);
  });

  test('bookmarks keep a quiet watch alive, and move its version on', async () => {
    const timings = { ...silentSoon, silentMs: 500 };
    const { reflector, changes } = await room.watching({ timings });
    const before = reflector.lastEventAtMs ?? 0;
    room.server.store.version += 100;
    await until(() => (reflector.lastEventAtMs ?? 0) - before > 2 * timings.silentMs);
    expect(room.restarts).toEqual([]);
    room.server.store.compactedTo = room.server.store.version;
    room.server.resetConnections();
    await until(() => room.server.seen('watch').length === 2);
    expect(room.server.seen('watch')[1]?.query.get('resourceVersion')).toBe(String(room.server.store.version));
    expect(changes).toEqual([]);
  });

  test('a continue token that expires: the list starts over, and nothing is told twice', async () => {
    for (let i = 0; i < 1000; i++) room.server.store.set(`p${i}`);
    room.server.once('list', { kind: 'delay', ms: 0 });
    room.server.once('list', { kind: 'status', status: 410 });
    const { reflector, changes } = await room.watching();
    await room.converged(reflector);
    expect(changes).toHaveLength(1000);
    expect(room.listFailures).toBe(1);
  });

  test('continue tokens that expire each time: asks for all in one piece', async () => {
    for (let i = 0; i < 1000; i++) room.server.store.set(`p${i}`);
    const expire = setInterval(() => room.server.expirePages(), 1);
    room.server.always('list', { kind: 'delay', ms: 10 });
    try {
      const { reflector } = await room.watching();
      await room.converged(reflector);
    } finally {
      clearInterval(expire);
    }
    expect(room.listFailures).toBe(2);
    expect(room.server.seen('list').at(-1)?.query.has('limit')).toBe(false);
  });

  test.each([
    ['a garbage line', 'this is no JSON\n'],
    ['JSON that is no event', '{"hello":"world"}\n'],
    ['an event of an unknown type', '{"type":"RENAMED","object":{"metadata":{"name":"a","resourceVersion":"1"}}}\n'],
    ['an object without a name', '{"type":"ADDED","object":{"metadata":{"resourceVersion":"1"}}}\n'],
    ['an object without a version', '{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n'],
  ])('%s is an error and not skipped: lists again', async (_what, bytes) => {
    room.server.once('watch', { kind: 'bytes', bytes });
    const reflector = room.run(room.reflector());
    await until(() => room.server.seen('list').length === 2);
    room.server.store.set('b');
    await room.converged(reflector);
    expect(room.restarts).toEqual(['malformed']);
  });

  test('a stream that ends within an event is an error: lists again', async () => {
    room.server.once('watch', { kind: 'bytes', bytes: '{"type":"ADD', isWhole: true });
    const reflector = room.run(room.reflector());
    await until(() => room.server.seen('list').length === 2);
    await room.converged(reflector);
    expect(room.restarts).toEqual(['malformed']);
  });

  test('a deletion that is told late, of an earlier object of that name, deletes nothing', async () => {
    room.server.store.set('a');
    const late = { type: 'DELETED', object: { metadata: { name: 'a', uid: 'earlier', resourceVersion: '999' } } };
    room.server.once('watch', { kind: 'bytes', bytes: `${JSON.stringify(late)}\n`, isWhole: true });
    const reflector = room.run(room.reflector());
    await until(() => room.restarts.length === 1);
    expect([...reflector.items.keys()]).toEqual(['a']);
  });

  test('a list that is no list is tried again', async () => {
    room.server.once('list', { kind: 'status', status: 200, body: '{"items":[' });
    room.server.once('list', { kind: 'status', status: 200, body: {} });
    room.server.once('list', {
      kind: 'status',
      status: 200,
      body: { metadata: { resourceVersion: '1' }, items: [{}] },
    });
    const { reflector } = await room.watching();
    expect(reflector.hasSynced).toBe(true);
    expect(room.listFailures).toBe(3);
    expect(reflector.items.size).toBe(0);
  });

  test('a list of another kind, as of a server that was mistaken for this one, deletes nothing', async () => {
    room.server.store.set('a');
    room.server.once('watch', { kind: 'error-event', code: 410, reason: 'Expired' });
    const deleted: string[] = [];
    const reflector = room.run(
      room.reflector({
        onChange: ({ type, object }) => {
          if (type === 'deleted') deleted.push(object.metadata.name);
          const body = { kind: 'PodList', apiVersion: 'v1', metadata: { resourceVersion: '1' }, items: [] };
          room.server.once('list', { kind: 'status', status: 200, body });
        },
      }),
    );
    await until(() => room.listFailures === 1);
    await until(() => room.server.seen('list').length === 3);
    await room.converged(reflector);
    expect(deleted).toEqual([]);
  });

  test('objects that are too large for a page of them are read in smaller ones', async () => {
    const client = await room.anotherClient({ maxResponseBytes: 40_000 });
    for (let i = 0; i < 30; i++) room.server.store.set(`p${i}`, { text: 'x'.repeat(10_000) });
    const reflector = room.run(room.reflector({ client }));
    await until(() => reflector.hasSynced);
    expect(reflector.items.size).toBe(30);
    expect(room.listFailures).toBe(0);
    await client.close();
  });

  test.each([1, 7])('events that come %i bytes at a time, also within characters', async (bytes) => {
    room.server.once('watch', { kind: 'split', bytes });
    const { reflector } = await room.watching();
    room.server.store.set('a', { text: 'größer → 字 🧱' });
    await room.converged(reflector);
    expect(reflector.items.get('a')?.spec).toEqual({ text: 'größer → 字 🧱' });
    expect(room.restarts).toEqual([]);
  });

  test('events that come twice are told once', async () => {
    room.server.once('watch', { kind: 'twice' });
    const { reflector, changes } = await room.watching();
    room.server.store.set('a');
    room.server.store.set('a', { x: 1 });
    room.server.store.delete('a');
    room.server.store.set('b');
    await room.converged(reflector);
    expect(told(changes)).toEqual(['added a', 'updated a', 'deleted a', 'added b']);
  });

  test('a slow server is waited for', async () => {
    room.server.store.set('a');
    room.server.always('list', { kind: 'delay', ms: 300 });
    room.server.always('watch', { kind: 'delay', ms: 100 });
    const { reflector } = await room.watching();
    room.server.store.set('b');
    await room.converged(reflector);
    expect(room.listFailures).toBe(0);
  });

  test('a server that gives no answer at all is asked again, on a new connection', async () => {
    const client = await room.anotherClient({ requestTimeoutMs: 1000 });
    try {
      room.server.once('list', { kind: 'no-answer' });
      room.server.once('watch', { kind: 'no-answer' });
      const reflector = room.run(room.reflector({ client }));
      room.server.store.set('a');
      await until(() => room.restarts.length === 1);
      await room.converged(reflector);
      expect(room.listFailures).toBe(1);
      expect(room.restarts).toEqual(['refused']);
      expect(room.server.connections).toBeGreaterThanOrEqual(2);
    } finally {
      room.logs.length = 0;
      await client.close();
    }
  });

  test('a handler that throws gets the change again, and the stream goes on', async () => {
    const taken: string[] = [];
    let failures = 2;
    const { reflector } = await room.watching({
      onChange: ({ type, object }: Change<StoredObject>) => {
        if (object.metadata.name === 'bad' && failures-- > 0) throw new Error('no');
        taken.push(`${type} ${object.metadata.name}`);
      },
    });
    room.server.store.set('bad');
    room.server.store.set('good');
    await room.converged(reflector);
    await until(() => taken.length === 2);
    expect(taken).toEqual(['added good', 'added bad']);
    expect(room.handlerErrors).toBe(2);
    expect(room.logs.filter(({ level }) => level === 'error')[0]?.message).toBe(
      'policies: handler failed for bad (added)',
    );
    expect(room.restarts).toEqual([]);
  });

  test('a handler that never settles holds nothing up', async () => {
    const { reflector } = await room.watching({ onChange: () => new Promise(() => {}) });
    for (let i = 0; i < 100; i++) room.server.store.set(`p${i}`);
    await room.converged(reflector);
  });

  test('onSynced, log and metrics that throw hold nothing up', async () => {
    const fail = () => {
      throw new Error('no');
    };
    const { reflector } = await room.watching({ onSynced: fail, log: fail });
    room.server.resetConnections();
    room.server.store.set('a');
    await room.converged(reflector);
  });

  test('runs once only', async () => {
    const { reflector } = await room.watching();
    await expect(reflector.run(new AbortController().signal)).rejects.toThrow('reflector policies runs already');
  });
});

test('metrics tell the age of the watch, its objects and why it was opened anew', async () => {
  const registry = new Registry();
  const metrics = new KubeMetrics(registry);
  const room = await new Room().open({ metrics });
  try {
    room.server.store.set('a');
    room.server.once('list', { kind: 'status', status: 500 });
    const { reflector } = await room.watching({ metrics });
    room.server.resetConnections();
    room.server.store.set('b');
    await room.converged(reflector);
    const text = await registry.metrics();
    expect(text).toContain('portcullis_kube_objects{resource="policies"} 2');
    expect(text).toContain('portcullis_kube_watch_restarts_total{resource="policies",reason="broken"} 1');
    expect(text).toContain('portcullis_kube_list_failures_total{resource="policies"} 1');
    expect(text).toContain('portcullis_kube_requests_total{verb="list",code="5xx"} 1');
    expect(text).toContain('portcullis_kube_requests_total{verb="list",code="2xx"} 2');
    expect(text).toMatch(/portcullis_kube_requests_total\{verb="watch",code="2xx"\} 2/);
    const age = Number(/portcullis_kube_watch_age_seconds\{resource="policies"\} (\S+)/.exec(text)?.[1]);
    expect(age).toBeGreaterThanOrEqual(0);
    expect(age).toBeLessThan(10);
  } finally {
    await room.close();
  }
  expect(await registry.metrics()).not.toContain('portcullis_kube_objects{');
});

test('a reflector that was told to stop before it began asks for nothing', async () => {
  const room = await new Room().open();
  try {
    const reflector = new Reflector({
      client: room.client,
      resource: resources.portScanPolicies,
      name: 'policies',
      onChange: () => {},
    });
    expect(reflector.state).toEqual({ phase: 'idle' });
    await reflector.run(AbortSignal.abort());
    expect(reflector.state).toEqual({ phase: 'stopped' });
    expect(room.server.requests).toEqual([]);
  } finally {
    await room.close();
  }
});
