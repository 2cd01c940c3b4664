import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { KubeClient } from './client.ts';
import { openKubeClient } from './http-client.ts';
import type { KubeObject, WatchEvent } from './objects.ts';
import { resources } from './resources.ts';
import { Room, until } from './testing/reflector-room.ts';
import { makeCertificate } from './testing/tls.ts';

const { portScanPolicies, leases, configMaps } = resources;
const watchOptions = { resourceVersion: '0', timeoutSeconds: 300 };

/** Reads a watch in the background. */
function follow(client: KubeClient, signal?: AbortSignal) {
  const events: WatchEvent<KubeObject>[] = [];
  let error: unknown;
  let hasEnded = false;
  const done = (async () => {
    try {
      for await (const event of client.watch(portScanPolicies, { ...watchOptions, ...(signal ? { signal } : {}) })) {
        events.push(event);
      }
    } catch (caught) {
      error = caught;
    }
    hasEnded = true;
  })();
  return { events, done, error: () => error, hasEnded: () => hasEnded };
}

describe.each([
  { protocol: 'HTTP/2', allowH2: true },
  { protocol: 'HTTP/1.1', allowH2: false },
])('over $protocol', ({ allowH2 }) => {
  let room: Room;
  let client: KubeClient;

  beforeEach(async () => {
    room = await new Room({ allowH2 }).open();
    client = room.client;
  });

  afterEach(() => room.close());

  const last = () => {
    const { method, path, query, headers, body } = room.server.requests.at(-1)!;
    const search = query.size === 0 ? '' : `?${query}`;
    return {
      request: `${method} ${path}${search}`,
      type: headers['content-type'],
      body: body === '' ? undefined : JSON.parse(body),
    };
  };

  const policy = { apiVersion: 'portscan', kind: 'PortScanPolicy', metadata: { name: 'p' } };
  const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'l', namespace: 'ns' } };
  const base = '/apis/portcullis.dev/v1alpha1/portscanpolicies';
  const inNamespace = '/apis/coordination.k8s.io/v1/namespaces/ns/leases';

  test('each verb is the request that API servers know', async () => {
    await client.get(portScanPolicies, 'p');
    expect(last()).toEqual({ request: `GET ${base}/p` });
    await client.get(configMaps, 'a b', { namespace: 'ns' });
    expect(last()).toEqual({ request: 'GET /api/v1/namespaces/ns/configmaps/a%20b' });
    await client.create(leases, lease, { dryRun: true });
    expect(last()).toEqual({ request: `POST ${inNamespace}?dryRun=All`, type: 'application/json', body: lease });
    await client.replace(leases, lease);
    expect(last()).toEqual({ request: `PUT ${inNamespace}/l`, type: 'application/json', body: lease });
    await client.apply(portScanPolicies, policy, { fieldManager: 'portcullis', force: true, subresource: 'status' });
    expect(last()).toEqual({
      request: `PATCH ${base}/p/status?fieldManager=portcullis&force=true`,
      type: 'application/apply-patch+yaml',
      body: policy,
    });
    await client.mergePatch(leases, 'l', { metadata: { labels: { a: null } } }, { namespace: 'ns' });
    expect(last()).toEqual({
      request: `PATCH ${inNamespace}/l`,
      type: 'application/merge-patch+json',
      body: { metadata: { labels: { a: null } } },
    });
    await client.delete(portScanPolicies, 'p', { uid: 'u-1' });
    expect(last()).toEqual({
      request: `DELETE ${base}/p`,
      type: 'application/json',
      body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid: 'u-1' } },
    });
    await client.list(portScanPolicies, {
      limit: 5,
      labelSelector: 'a=b',
      resourceVersion: '7',
      resourceVersionMatch: 'Exact',
    });
    expect(last()).toEqual({
      request: `GET ${base}?labelSelector=a%3Db&limit=5&resourceVersion=7&resourceVersionMatch=Exact`,
    });
  });

  test('says who asks, with a trimmed token', async () => {
    await client.get(portScanPolicies, 'p');
    expect(room.server.requests[0]?.headers).toMatchObject({
      'user-agent': 'portcullis-test',
      authorization: 'Bearer first',
      accept: 'application/json',
    });
  });

  test('an answer of metadata alone is asked for by its type', async () => {
    await client.apply(portScanPolicies, policy, { fieldManager: 'portcullis', metadataOnly: true });
    const accept = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
    expect(room.server.requests.at(-1)!.headers).toMatchObject({ accept });
  });

  test('raw gives JSON where the path answers it, and text elsewhere', async () => {
    expect(await client.raw('/version')).toMatchObject({ kind: 'Echo' });
    room.server.once('other', { kind: 'status', status: 200, body: 'ok' });
    expect(await client.raw('/healthz')).toBe('ok');
  });

  test('what is gone already is deleted; other refusals are errors', async () => {
    room.server.once('other', { kind: 'status', status: 404 });
    await client.delete(portScanPolicies, 'p');
    room.server.once('other', { kind: 'status', status: 409 });
    await expect(client.delete(portScanPolicies, 'p')).rejects.toMatchObject({ status: 409 });
  });

  test('redirects are not followed: the token is for this server', async () => {
    room.server.once('other', { kind: 'status', status: 302, headers: { location: `${room.server.url}/elsewhere` } });
    await expect(client.raw('/version')).rejects.toMatchObject({ name: 'KubeError', status: 302 });
    expect(room.server.requests).toHaveLength(1);
  });

  test('a refusal of 800 kB becomes a short error', async () => {
    const causes = Array.from({ length: 10_000 }, (_, i) => ({
      field: `spec.entries[${i}].cidr`,
      message: 'Invalid value',
    }));
    const message = causes.map(({ field }) => `${field}: Invalid value: "x"`).join(', ');
    room.server.once('other', {
      kind: 'status',
      status: 422,
      body: { kind: 'Status', code: 422, reason: 'Invalid', message, details: { causes } },
    });
    const error = await client.create(portScanPolicies, policy).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ status: 422, reason: 'Invalid' });
    expect((error as Error).message).toHaveLength(500);
  });

  test('a refused connection, a reset one and an answer that never comes are told by their codes', async () => {
    const hasty = await room.anotherClient({ requestTimeoutMs: 300 });
    room.server.once('other', { kind: 'no-answer' });
    await expect(hasty.raw('/version')).rejects.toMatchObject({ status: 0, code: 'ETIMEDOUT', isConnecting: true });
    await hasty.close();
    room.server.once('other', { kind: 'no-answer' });
    const cut = client.raw('/version');
    await until(() => room.server.requests.length === 2);
    room.server.resetConnections();
    await expect(cut).rejects.toMatchObject({ name: 'KubeError', status: 0 });
    await room.server.stop();
    await expect(client.raw('/version')).rejects.toMatchObject({ status: 0, code: 'ECONNREFUSED', isConnecting: true });
    await room.server.start();
    expect(await client.raw('/version')).toMatchObject({ kind: 'Echo' });
  });

  test('one answer that is late does not end the streams beside it, and what comes next goes another way', async () => {
    const hasty = await room.anotherClient({ requestTimeoutMs: 300 });
    const stream = follow(hasty);
    await until(() => stream.events.length > 0);
    room.server.once('other', { kind: 'no-answer' });
    await expect(hasty.raw('/version')).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    const seen = stream.events.length;
    await until(() => stream.events.length > seen);
    expect(stream.hasEnded()).toBe(false);
    const { connections } = room.server;
    await hasty.raw('/version');
    expect(room.server.connections).toBe(connections + 1);
    await until(() => stream.events.length > seen + 1);
    expect(stream.hasEnded()).toBe(false);
    await hasty.close();
    await stream.done;
  });

  test('a watch may be quiet for longer than a request may take', async () => {
    room.server.bookmarkMs = undefined;
    const hasty = await room.anotherClient({ requestTimeoutMs: 300 });
    const stream = follow(hasty);
    await until(() => room.server.seen('watch').length === 1);
    // The library's own timers go by the second.
    await new Promise((resolve) => setTimeout(resolve, 2500));
    room.server.store.set('a');
    await until(() => stream.events.length === 1 || stream.hasEnded());
    expect(stream.error()).toBeUndefined();
    await hasty.close();
    await stream.done;
  });

  test('who aborts gets the reason back, before, during and after', async () => {
    const reason = new Error('enough');
    await expect(client.raw('/version', AbortSignal.abort(reason))).rejects.toBe(reason);
    room.server.once('other', { kind: 'no-answer' });
    const stop = new AbortController();
    const pending = client.raw('/version', stop.signal);
    await until(() => room.server.requests.length === 1);
    stop.abort(reason);
    await expect(pending).rejects.toBe(reason);
    const stopWatch = new AbortController();
    const stream = follow(client, stopWatch.signal);
    await until(() => stream.events.length > 0);
    stopWatch.abort(reason);
    await stream.done;
    expect(stream.error()).toBe(reason);
    await until(() => room.server.openStreams === 0);
  });

  test('who leaves a watch early closes its stream', async () => {
    for await (const event of client.watch(portScanPolicies, watchOptions)) {
      expect(event.type).toBe('BOOKMARK');
      break;
    }
    await until(() => room.server.openStreams === 0);
  });

  test('a watch whose line has no end is an error, and not memory', async () => {
    const small = await room.anotherClient({ maxLineBytes: 1000 });
    room.server.once('watch', { kind: 'bytes', bytes: Buffer.alloc(5000, 'x') });
    const stream = follow(small);
    await stream.done;
    expect(stream.error()).toMatchObject({
      code: 'MALFORMED',
      message: expect.stringContaining('longer than 1000 bytes'),
    });
    await small.close();
  });

  test('an answer beyond its bound is an error', async () => {
    const small = await room.anotherClient({ maxResponseBytes: 1000 });
    room.server.store.set('a', { text: 'x'.repeat(2000) });
    await expect(small.list(portScanPolicies)).rejects.toMatchObject({ code: 'MALFORMED' });
    await small.close();
  });

  test('an event may be large', async () => {
    const stream = follow(client);
    await until(() => stream.events.length > 0);
    room.server.store.set('large', { text: 'ü'.repeat(1_000_000) });
    await until(() => stream.events.some(({ type }) => type === 'ADDED'));
    await room.client.close();
    await stream.done;
  });

  test('401: reads the token again and repeats the request once, also one that writes', async () => {
    room.server.token = 'second';
    await expect(client.create(portScanPolicies, policy)).rejects.toMatchObject({ status: 401 });
    expect(room.server.requests).toHaveLength(1);
    room.writeToken('second');
    await client.create(portScanPolicies, policy);
    room.server.token = 'third';
    room.writeToken('third');
    await client.create(portScanPolicies, policy);
    expect(room.server.requests.map(({ headers }) => headers.authorization)).toEqual(
      expect.arrayContaining(['Bearer first', 'Bearer second', 'Bearer third']),
    );
  });

  test('a server with a new authority: the next connection is made by the new CA file, without a restart', async () => {
    await client.raw('/version');
    await room.server.stop();
    room.server.certificate = makeCertificate();
    await room.server.start();
    // Until the client has seen that the old connection is gone, its requests fail with that.
    await expect.poll(() => client.raw('/version').catch(({ code }) => code)).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
    writeFileSync(join(room.folder, 'ca.crt'), room.server.certificate.cert);
    expect(await client.raw('/version')).toMatchObject({ kind: 'Echo' });
  });

  test('a new CA file beside an open watch: the watch goes on, requests take a new connection', async () => {
    const stream = follow(client);
    await until(() => stream.events.length > 0);
    const { connections } = room.server;
    writeFileSync(join(room.folder, 'ca.crt'), `${room.server.certificate.cert}\n${makeCertificate().cert}`);
    await client.raw('/version');
    expect(room.server.connections).toBe(connections + 1);
    const seen = stream.events.length;
    await until(() => stream.events.length > seen);
    await client.close();
    await stream.done;
    await until(() => room.server.openStreams === 0);
  });

  test('reconnect() opens a new connection for what comes next, and ends what is on the old one', async () => {
    const stream = follow(client);
    await until(() => stream.events.length > 0);
    const { connections } = room.server;
    const silent = await room.anotherClient({ reconnectGraceMs: 0 });
    const second = follow(silent);
    await until(() => second.events.length > 0);
    silent.reconnect();
    await second.done;
    expect(second.error()).toMatchObject({ name: 'KubeError', status: 0, isConnecting: false });
    await silent.raw('/version');
    expect(room.server.connections).toBeGreaterThanOrEqual(connections + 2);
    // Something came a moment ago, so this one is not stuck.
    const patient = await room.anotherClient({ reconnectGraceMs: 60_000 });
    const third = follow(patient);
    await until(() => third.events.length > 0);
    patient.reconnect();
    const seen = third.events.length;
    await until(() => third.events.length > seen);
    expect(third.hasEnded()).toBe(false);
    await patient.close();
    await third.done;
    expect(stream.hasEnded()).toBe(false);
    await silent.close();
  });

  test('close() ends all, and nothing begins after it', async () => {
    const stream = follow(client);
    await until(() => stream.events.length > 0);
    await client.close();
    await stream.done;
    expect(stream.error()).toMatchObject({ name: 'KubeError' });
    await expect(client.raw('/version')).rejects.toMatchObject({
      message: expect.stringContaining('the client is closed'),
    });
    await until(() => room.server.openStreams === 0);
  });

  test('no more requests a second than allowed, watches aside', async () => {
    const slow = await room.anotherClient({ qps: 50, burst: 2 });
    const stream = follow(slow);
    const startedMs = performance.now();
    await Promise.all(Array.from({ length: 12 }, () => slow.raw('/version')));
    expect(performance.now() - startedMs).toBeGreaterThan(190);
    await slow.close();
    await stream.done;
  });
});

test('a hundred watches and the requests beside them share one HTTP/2 connection', async () => {
  const room = await new Room({ allowH2: true }).open();
  try {
    // undici opens another connection at 100 streams: that is far above what either program has.
    const streams = Array.from({ length: 90 }, () => follow(room.client));
    await until(() => streams.every(({ events }) => events.length > 0));
    for (let i = 0; i < 100; i++) {
      room.server.store.set(`p${i}`, { text: 'x'.repeat(10_000) });
      if (i % 10 === 0) await room.client.list(portScanPolicies);
    }
    await until(() => streams.every(({ events }) => events.filter(({ type }) => type === 'ADDED').length === 100));
    expect(room.server.connections).toBe(1);
    expect(streams.some(({ hasEnded }) => hasEnded())).toBe(false);
    await room.client.close();
    await Promise.all(streams.map(({ done }) => done));
  } finally {
    await room.close();
  }
});

test('a reader that is slow holds up its own stream only', async () => {
  const room = await new Room({ allowH2: true }).open();
  try {
    const slow = room.client.watch(portScanPolicies, watchOptions)[Symbol.asyncIterator]();
    await slow.next();
    const quick = follow(room.client);
    // Four times what a connection may have in flight, of which the slow stream takes nothing.
    for (let i = 0; i < 200; i++) room.server.store.set(`p${i}`, { text: 'x'.repeat(10_000) });
    await until(() => quick.events.filter(({ type }) => type === 'ADDED').length === 200);
    await room.client.list(portScanPolicies);
    await slow.return?.(undefined);
    await room.client.close();
    await quick.done;
  } finally {
    await room.close();
  }
});

test('a server at an IPv6 address', async () => {
  const room = await new Room({ host: '::1' }).open();
  try {
    expect(room.client.server).toMatch(/^https:\/\/\[::1\]:\d+$/);
    expect(await room.client.raw('/version')).toMatchObject({ kind: 'Echo' });
  } finally {
    await room.close();
  }
});

test('a pod whose token cannot be read: says which file', async () => {
  const room = await new Room().open();
  try {
    const lost = await room.anotherClient({ serviceAccountFolder: '/nonexistent' });
    await expect(lost.raw('/version')).rejects.toMatchObject({
      status: 0,
      code: 'ECREDENTIALS',
      message: expect.stringContaining('/nonexistent/ca.crt'),
    });
    await lost.close();
  } finally {
    await room.close();
  }
});

test('a plain HTTP server behind a path, as kubectl proxy is', async () => {
  const seen: string[] = [];
  const server: Server = createServer((req, res) => {
    seen.push(`${req.method} ${req.url}`);
    res.end('{"kind":"Echo"}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const room = new Room();
  try {
    room.writeToken('x');
    writeFileSync(join(room.folder, 'ca.crt'), 'unused');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/k8s/cluster-1/`;
    const env = { KUBERNETES_SERVICE_HOST: 'unused' };
    const client = await openKubeClient({ userAgent: 't', server: url, env, serviceAccountFolder: room.folder });
    expect(await client.raw('/version')).toEqual({ kind: 'Echo' });
    expect(seen).toEqual(['GET /k8s/cluster-1/version']);
    await client.close();
  } finally {
    server.close();
    await room.close();
  }
});

test('in a pod nothing of the kubeconfig library is loaded', () => {
  const script = `
    const { openKubeClient } = await import(${JSON.stringify(join(import.meta.dirname, 'http-client.ts'))});
    const { Session } = await import('node:inspector');
    const session = new Session();
    session.connect();
    const urls = [];
    session.on('Debugger.scriptParsed', ({ params }) => urls.push(params.url));
    session.post('Debugger.enable');
    await openKubeClient({ userAgent: 't', env: { KUBERNETES_SERVICE_HOST: '::1' } });
    console.log(urls.filter((url) => url.includes('client-node') || url.includes('js-yaml')).length, urls.some((url) => url.includes('undici')));
  `;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  expect(output.trim()).toBe('0 true');
});
