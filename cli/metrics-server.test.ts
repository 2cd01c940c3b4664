import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Health, type MetricsServer, startMetricsServer } from './metrics-server.ts';

let stop: AbortController;
let server: MetricsServer;
let health: Health;
let fail: Error | undefined;
let errors: unknown[];
let refused: string[];
let renders: number;
let renderMs: number;

beforeEach(async () => {
  stop = new AbortController();
  health = { live: '', ready: '' };
  fail = undefined;
  errors = [];
  refused = [];
  renders = 0;
  renderMs = 0;
  server = await startMetricsServer({
    address: { host: '127.0.0.1', port: 0 },
    metrics: { refused: (reason) => refused.push(reason), tlsFailed: () => {} },
    render: async () => {
      renders++;
      if (fail !== undefined) throw fail;
      // As a full block table does: nothing else runs meanwhile.
      for (const startedMs = performance.now(); performance.now() - startedMs < renderMs; );
      return 'portcullis_up 1\n';
    },
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    health: () => health,
    signal: stop.signal,
    onError: (error) => errors.push(error),
  });
});

afterEach(async () => {
  stop.abort();
  await server.closed;
});

async function get(path: string, method = 'GET', headers: Record<string, string> = {}) {
  const { host, port } = server.address;
  const outgoing = request({ host, port, path, method, headers, agent: false });
  outgoing.end();
  const [response] = await once(outgoing, 'response');
  let body = '';
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode as number, headers: response.headers, body };
}

test('serves the metrics in the format that Prometheus asks for', async () => {
  const { status, headers, body } = await get('/metrics?name=x');
  expect(status).toBe(200);
  expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(body).toBe('portcullis_up 1\n');
});

test('scraping without rest takes a fifth of the time at most', async () => {
  renderMs = 50;
  const startedMs = performance.now();
  while (performance.now() - startedMs < 600) expect((await get('/metrics')).body).toBe('portcullis_up 1\n');
  expect(renders).toBeGreaterThan(1);
  expect(renders).toBeLessThanOrEqual(Math.ceil((performance.now() - startedMs) / 250));
});

test('renders anew once the figures have rested', async () => {
  await get('/metrics');
  await new Promise((resolve) => setTimeout(resolve, 100));
  await get('/metrics');
  expect(renders).toBe(2);
});

test('answers HEAD with the headers alone', async () => {
  const { status, headers, body } = await get('/metrics', 'HEAD');
  expect(status).toBe(200);
  expect(headers['content-length']).toBe('16');
  expect(body).toBe('');
});

test('is healthy while it is live, ready when all is as it should be, and says why it is not', async () => {
  health = { live: 'the loop stands still', ready: '' };
  expect(await get('/healthz')).toMatchObject({ status: 503, body: 'the loop stands still\n' });
  expect(await get('/readyz')).toMatchObject({ status: 503, body: 'the loop stands still\n' });
  health = { live: '', ready: 'nothing was read yet' };
  expect(await get('/healthz')).toMatchObject({ status: 200, body: 'ok\n' });
  expect(await get('/readyz')).toMatchObject({ status: 503, body: 'nothing was read yet\n' });
  health = { live: '', ready: '' };
  expect((await get('/readyz')).status).toBe(200);
});

test.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('refuses %s', async (method) => {
  const { status, headers } = await get('/metrics', method);
  expect(status).toBe(405);
  expect(headers.allow).toBe('GET, HEAD');
});

test('knows no other path', async () => {
  expect((await get('/')).status).toBe(404);
  expect((await get('/metrics/../etc/passwd')).status).toBe(404);
});

test('a scrape that fails is 500, tells the program and not the scraper why, and the next one works', async () => {
  fail = new Error('secret detail');
  const { status, body } = await get('/metrics');
  expect(status).toBe(500);
  expect(body).not.toContain('secret');
  expect(errors).toEqual([fail]);
  fail = undefined;
  expect((await get('/metrics')).status).toBe(200);
});

test('headers are bounded', async () => {
  expect((await get('/metrics', 'GET', { 'x-long': 'a'.repeat(20_000) })).status).toBe(431);
});

test('who sends nothing takes no more connections than a host may have, shuts nobody out, and is cut off', async () => {
  const { host, port } = server.address;
  const silent = Array.from({ length: 30 }, () => {
    const socket = connect(port, host);
    socket.on('error', () => {});
    // Who does not read does not hear of the end either.
    socket.resume();
    return { socket, gone: new Promise((resolve) => socket.once('close', resolve)) };
  });
  try {
    await vi.waitFor(() => expect(refused).toHaveLength(30 - 16));
    expect((await get('/healthz')).status).toBe(200);
    expect(new Set(refused)).toEqual(new Set(['too-many-connections']));
    // Those that were left, at the latest after the time for headers.
    await Promise.all(silent.map(({ gone }) => gone));
  } finally {
    for (const { socket } of silent) socket.destroy();
  }
});

test('who sends requests without waiting for the answers is cut off after a hundred', async () => {
  const { host, port } = server.address;
  const socket = connect(port, host);
  socket.on('error', () => {});
  let answers = '';
  socket.on('data', (data: Buffer) => {
    answers += data;
  });
  const gone = new Promise((resolve) => socket.once('close', resolve));
  socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1_500));
  await gone;
  expect(answers.split('HTTP/1.1 200').length - 1).toBeLessThanOrEqual(100);
  expect((await get('/healthz')).status).toBe(200);
});

test('aborting ends it although a client keeps its connection open', async () => {
  const socket = connect(server.address.port, server.address.host);
  socket.on('error', () => {});
  const gone = new Promise((resolve) => socket.once('close', resolve));
  socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(socket, 'data');
  socket.write('GET /metrics HTTP/1.1\r\n');
  stop.abort();
  await Promise.all([server.closed, gone]);
});

test('an address that is taken is refused by name', async () => {
  const taken = { host: server.address.host, port: server.address.port };
  const second = startMetricsServer({
    address: taken,
    metrics: { refused: () => {}, tlsFailed: () => {} },
    render: async () => '',
    contentType: 'text/plain',
    health: () => health,
    signal: stop.signal,
    onError: () => {},
  });
  await expect(second).rejects.toMatchObject({ code: 'BadSetting', field: '--metrics-address' });
  await expect(second).rejects.toThrow(`127.0.0.1:${taken.port}`);
});
