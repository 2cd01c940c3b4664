import { once } from 'node:events';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { request } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { makeCertificate, type TestCertificate } from '../kube/testing/tls.ts';
import { KeyPairFolder } from './key-pair.ts';
import { type MetricsServer, startMetricsServer } from './metrics-server.ts';
import type { ScrapeVerdict } from './scrape-access.ts';

let first: TestCertificate;
let second: TestCertificate;
beforeAll(() => {
  first = makeCertificate();
  second = makeCertificate();
});

let folder: string;
let stop: AbortController;
let server: MetricsServer;
let verdict: ScrapeVerdict;
let asked: (string | undefined)[];
let refused: string[];
let errors: unknown[];
let tlsFailures: number;
let rendered: number;

/** As the kubelet brings a Secret: files are links into `..data`, and that is turned to another folder at once. */
let version = 0;
function mount({ cert, key }: TestCertificate): void {
  const name = `..version-${++version}`;
  mkdirSync(join(folder, name));
  writeFileSync(join(folder, name, 'tls.crt'), cert);
  writeFileSync(join(folder, name, 'tls.key'), key);
  symlinkSync(name, join(folder, '..data_tmp'));
  renameSync(join(folder, '..data_tmp'), join(folder, '..data'));
  if (version > 1) rmSync(join(folder, `..version-${version - 1}`), { recursive: true });
  else for (const file of ['tls.crt', 'tls.key']) symlinkSync(join('..data', file), join(folder, file));
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'portcullis-pair-'));
  stop = new AbortController();
  [version, tlsFailures, rendered, verdict] = [0, 0, 0, 'allowed'];
  [asked, refused, errors] = [[], [], []];
  mount(first);
  server = await startMetricsServer({
    address: { host: '127.0.0.1', port: 0 },
    keyPairs: new KeyPairFolder(folder, 20),
    access: async (authorization) => {
      asked.push(authorization);
      return verdict;
    },
    metrics: { refused: (reason) => refused.push(reason), tlsFailed: () => tlsFailures++ },
    render: async () => {
      rendered++;
      return 'portcullis_up 1\n';
    },
    contentType: 'text/plain',
    health: () => ({ live: '', ready: '' }),
    signal: stop.signal,
    onError: (error) => errors.push(error),
  });
});

afterEach(async () => {
  stop.abort();
  await server.closed;
  rmSync(folder, { recursive: true });
});

/** With a connection of its own; says whose certificate was shown. */
async function get(path: string, headers: Record<string, string> = {}) {
  const { host, port } = server.address;
  const outgoing = request({ host, port, path, headers, agent: false, ca: [first.cert, second.cert] });
  outgoing.end();
  const [response] = await once(outgoing, 'response');
  const shown = (response.socket as TLSSocket).getPeerX509Certificate()!.toString().trim();
  let body = '';
  for await (const chunk of response) body += chunk;
  return {
    status: response.statusCode as number,
    headers: response.headers,
    body,
    isFirst: shown === first.cert.trim(),
    isSecond: shown === second.cert.trim(),
  };
}

const isSecondShown = () => vi.waitFor(async () => expect((await get('/healthz')).isSecond).toBe(true), 15_000);
const failsAgain = async () => {
  const before = tlsFailures;
  await vi.waitFor(() => expect(tlsFailures).toBeGreaterThan(before), 15_000);
};

describe('over TLS', () => {
  test('metrics and health are served, and nothing in clear text', async () => {
    expect(await get('/metrics')).toMatchObject({ status: 200, body: 'portcullis_up 1\n', isFirst: true });
    expect((await get('/healthz')).status).toBe(200);
    const plain = plainRequest({ ...server.address, path: '/metrics', agent: false });
    plain.end();
    await expect(once(plain, 'response')).rejects.toThrow();
  });

  test('a new pair is taken, without a connection being refused meanwhile', async () => {
    mount(second);
    await isSecondShown();
    expect(errors).toEqual([]);
    mount(first);
    await vi.waitFor(async () => expect((await get('/healthz')).isFirst).toBe(true), 15_000);
    expect(tlsFailures).toBe(0);
  });

  test.each([
    [
      'of which the key is another one',
      () => ({ cert: second.cert, key: first.key }),
      'tls.key is not the key of tls.crt',
    ],
    ['that is no PEM', () => ({ cert: 'nonsense', key: first.key }), 'PEM'],
    ['that is empty', () => ({ cert: '', key: '' }), ''],
  ])('a pair %s is counted, told of once, and the one before stays', async (_, broken, words) => {
    mount(broken());
    await failsAgain();
    await failsAgain();
    expect(await get('/metrics')).toMatchObject({ status: 200, isFirst: true });
    expect(errors).toMatchObject([{ code: 'BadSetting', field: '--metrics-tls-folder' }]);
    expect(String(errors[0])).toContain(words);
    mount(second);
    await isSecondShown();
  });

  test('a folder that is gone for a while leaves the pair in place', async () => {
    renameSync(folder, `${folder}-away`);
    await failsAgain();
    expect((await get('/metrics')).isFirst).toBe(true);
    renameSync(`${folder}-away`, folder);
    mount(second);
    await isSecondShown();
  });

  test('plain files that are written over are seen too', async () => {
    for (const file of ['tls.crt', 'tls.key', '..data']) rmSync(join(folder, file), { recursive: true });
    writeFileSync(join(folder, 'tls.crt'), second.cert);
    writeFileSync(join(folder, 'tls.key'), second.key);
    await isSecondShown();
  });

  test('without a pair nothing starts, and the flag is named', async () => {
    const empty = mkdtempSync(join(tmpdir(), 'portcullis-pair-'));
    const starting = startMetricsServer({
      address: { host: '127.0.0.1', port: 0 },
      keyPairs: new KeyPairFolder(empty),
      metrics: { refused: () => {}, tlsFailed: () => {} },
      render: async () => '',
      contentType: 'text/plain',
      health: () => ({ live: '', ready: '' }),
      signal: stop.signal,
      onError: () => {},
    });
    await expect(starting).rejects.toMatchObject({ code: 'BadSetting', field: '--metrics-tls-folder', value: empty });
    rmSync(empty, { recursive: true });
  });

  test('who begins no handshake is cut off', async () => {
    const socket = connect(server.address.port, server.address.host);
    socket.on('error', () => {});
    socket.resume();
    await once(socket, 'close');
    expect((await get('/healthz')).status).toBe(200);
  });

  test('one that is in the middle of its handshake does not keep it from ending', async () => {
    const socket = connect(server.address.port, server.address.host);
    socket.on('error', () => {});
    await once(socket, 'connect');
    const gone = once(socket, 'close');
    stop.abort();
    await Promise.all([server.closed, gone]);
  });
});

describe('to those who may', () => {
  test('metrics are shown, and to nobody else', async () => {
    expect((await get('/metrics', { Authorization: 'Bearer good' })).status).toBe(200);
    expect(asked).toEqual(['Bearer good']);
    rendered = 0;
    for (const [why, status] of [
      ['no-token', 401],
      ['bad-token', 401],
      ['not-allowed', 403],
      ['too-many-tokens', 429],
      ['api-server', 503],
    ] as const) {
      verdict = why;
      const answer = await get('/metrics');
      expect(answer.status).toBe(status);
      expect(answer.body).not.toContain('portcullis_up');
      expect(answer.headers['www-authenticate']).toBe(status === 401 ? 'Bearer' : undefined);
    }
    expect(refused).toEqual(['no-token', 'bad-token', 'not-allowed', 'too-many-tokens', 'api-server']);
    // Who may not look costs nothing either.
    expect(rendered).toBe(0);
  });

  test('health is for everybody: the kubelet has no token', async () => {
    verdict = 'api-server';
    expect((await get('/healthz')).status).toBe(200);
    expect((await get('/readyz')).status).toBe(200);
    expect(asked).toEqual([]);
  });
});
