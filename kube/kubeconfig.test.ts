import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { type KubeClientOptions, openKubeClient } from './http-client.ts';
import { kubeconfigPaths } from './kubeconfig.ts';
import { FaultServer } from './testing/fault-server.ts';
import { makeCertificate } from './testing/tls.ts';

const certificate = makeCertificate();
let folder: string;
let server: FaultServer;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'portcullis-kubeconfig-'));
  server = new FaultServer({ certificate });
  await server.start();
});

afterEach(async () => {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

const base64 = (text: string) => Buffer.from(text).toString('base64');

function write(name: string, user: object, cluster: object = {}, more: object = {}): string {
  const path = join(folder, name);
  const document = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'main',
    clusters: [
      {
        name: 'c',
        cluster: { server: server.url, 'certificate-authority-data': base64(certificate.cert), ...cluster },
      },
    ],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'main', context: { cluster: 'c', user: 'u', namespace: 'team' } }],
    ...more,
  };
  writeFileSync(path, stringify(document));
  return path;
}

/** What the server saw of one request. */
async function ask(options: Partial<KubeClientOptions>) {
  const client = await openKubeClient({ userAgent: 'test', requestTimeoutMs: 2000, ...options });
  try {
    await client.raw('/version');
    return server.requests.at(-1)?.headers ?? {};
  } finally {
    await client.close();
  }
}

test('a token', async () => {
  expect((await ask({ kubeconfig: write('config', { token: 'abc' }) })).authorization).toBe('Bearer abc');
});

test('a name and a password', async () => {
  const { authorization } = await ask({ kubeconfig: write('config', { username: 'me', password: 'p:w' }) });
  expect(authorization).toBe(`Basic ${base64('me:p:w')}`);
});

test('somebody else to be', async () => {
  const headers = await ask({ kubeconfig: write('config', { token: 'abc', as: 'system:node' }) });
  expect(headers['impersonate-user']).toBe('system:node');
});

test('a token file beside the kubeconfig, read again at once when the server refuses what was in it', async () => {
  writeFileSync(join(folder, 'token'), 'one\n');
  const client = await openKubeClient({
    userAgent: 'test',
    kubeconfig: write('config', { tokenFile: 'token', token: 'no' }),
  });
  server.token = 'one';
  await client.raw('/version');
  server.token = 'two';
  writeFileSync(join(folder, 'token'), 'two\n');
  await client.raw('/version');
  await client.close();
});

test('certificates in files with paths relative to the kubeconfig, and a client certificate', async () => {
  mkdirSync(join(folder, 'pki'));
  writeFileSync(join(folder, 'pki/ca.crt'), certificate.cert);
  writeFileSync(join(folder, 'pki/me.crt'), certificate.cert);
  writeFileSync(join(folder, 'pki/me.key'), certificate.key);
  const user = { 'client-certificate': 'pki/me.crt', 'client-key': 'pki/me.key' };
  const cluster = { 'certificate-authority': 'pki/ca.crt', 'certificate-authority-data': undefined };
  await server.stop();
  server.requestCertificate = true;
  await server.start();
  await ask({ kubeconfig: write('config', user, cluster) });
  expect(server.clientNames).toEqual(['portcullis-test']);
  await expect(ask({ kubeconfig: write('without', {}, cluster) })).rejects.toMatchObject({ status: 0 });
});

test('a server whose certificate is for another name, or not to be checked', async () => {
  const byName = { server: server.url.replace('127.0.0.1', 'localhost'), 'tls-server-name': 'elsewhere' };
  await expect(ask({ kubeconfig: write('config', {}, byName) })).rejects.toMatchObject({
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  });
  await ask({ kubeconfig: write('config', {}, { ...byName, 'tls-server-name': 'localhost' }) });
  const unchecked = { 'certificate-authority-data': undefined, 'insecure-skip-tls-verify': true };
  await ask({ kubeconfig: write('config', {}, unchecked) });
});

test('an exec plugin gives the token, and is asked again when the server refuses it', async () => {
  const plugin = join(folder, 'plugin');
  const count = join(folder, 'count');
  writeFileSync(
    plugin,
    `#!/bin/sh\necho x >> ${count}\nn=$(wc -l < ${count} | tr -d ' ')\n` +
      `echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t-'$n'"}}'\n`,
  );
  chmodSync(plugin, 0o755);
  const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: plugin, interactiveMode: 'Never' };
  const client = await openKubeClient({ userAgent: 'test', kubeconfig: write('config', { exec }) });
  server.token = 't-1';
  await client.raw('/version');
  await client.raw('/version');
  expect(readFileSync(count, 'utf8')).toBe('x\n');
  server.token = 't-2';
  await client.raw('/version');
  expect(readFileSync(count, 'utf8')).toBe('x\nx\n');
  await client.close();
});

test('an exec plugin that fails or hangs is an error and no hang', async () => {
  const failing = write('failing', { exec: { apiVersion: 'v1', command: '/bin/false' } });
  await expect(ask({ kubeconfig: failing })).rejects.toMatchObject({ code: 'ECREDENTIALS' });
  const hanging = write('hanging', { exec: { apiVersion: 'v1', command: 'sleep', args: ['3'] } });
  await expect(ask({ kubeconfig: hanging, requestTimeoutMs: 100 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
});

test('the proxy of the cluster', async () => {
  const asked: string[] = [];
  const proxy = createServer();
  proxy.on('connect', (req, socket) => {
    asked.push(req.url ?? '');
    const [host, port] = (req.url ?? '').split(':');
    const onward = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      onward.pipe(socket).pipe(onward);
    });
    onward.on('error', () => {});
    socket.on('error', () => {});
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const proxyUrl = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  await ask({ kubeconfig: write('config', { token: 'abc' }, { 'proxy-url': proxyUrl }) });
  expect(asked).toEqual([new URL(server.url).host]);
  proxy.close();
});

test('a context by name, and another server than the one it names', async () => {
  const more = {
    contexts: [
      { name: 'main', context: { cluster: 'c', user: 'nobody' } },
      { name: 'other', context: { cluster: 'c', user: 'u' } },
    ],
  };
  const kubeconfig = write('config', { token: 'abc' }, { server: 'https://127.0.0.1:1' }, more);
  expect((await ask({ kubeconfig, context: 'other', server: server.url })).authorization).toBe('Bearer abc');
});

test('files of KUBECONFIG are merged: the first one that names something wins, missing ones are left out', async () => {
  const first = write('first', { token: 'one' }, {}, { contexts: [], 'current-context': '' });
  const second = write('second', { token: 'two' });
  const env = { KUBECONFIG: `${first}:${join(folder, 'missing')}:${second}`, KUBERNETES_SERVICE_HOST: 'unused' };
  expect(kubeconfigPaths(env)).toEqual([first, second]);
  expect((await ask({ env })).authorization).toBe('Bearer one');
});

test('without KUBECONFIG and outside of a pod, ~/.kube/config', async () => {
  mkdirSync(join(folder, '.kube'));
  write('.kube/config', { token: 'home' });
  expect((await ask({ env: { HOME: folder } })).authorization).toBe('Bearer home');
});

test.each([
  ['there is none', () => ({ env: { HOME: folder } }), 'no Kubernetes configuration'],
  ['the file is missing', () => ({ kubeconfig: join(folder, 'missing') }), 'missing'],
  ['it is no YAML', () => ({ kubeconfig: broken('{') }), 'broken'],
  ['it is empty', () => ({ kubeconfig: broken('') }), 'broken'],
  ['it is a list', () => ({ kubeconfig: broken('- a') }), 'broken'],
  [
    'it has no context',
    () => ({ kubeconfig: write('config', {}, {}, { 'current-context': '' }) }),
    'no current-context',
  ],
  ['the context is unknown', () => ({ kubeconfig: write('config', {}), context: 'x' }), 'there is no context "x"'],
  ['the cluster is unknown', () => ({ kubeconfig: write('config', {}, {}, { clusters: [] }) }), 'unknown cluster c'],
])('when %s, the error says what is wrong', async (_what, options, message) => {
  await expect(openKubeClient({ userAgent: 'test', ...options() })).rejects.toThrow(message);
});

function broken(text: string): string {
  const path = join(folder, 'broken');
  writeFileSync(path, text);
  return path;
}
