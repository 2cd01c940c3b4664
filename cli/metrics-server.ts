import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerOptions, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { PortcullisError } from '../api/errors.ts';
import { ConnectionLimit } from './connection-limit.ts';
import type { KeyPairFolder } from './key-pair.ts';
import { type Refusal, refusals, type ScrapeAccess } from './scrape-access.ts';
import type { ServerMetrics } from './server-metrics.ts';

export interface Health {
  /** Empty while the program does its work, else why it had better be started anew. */
  readonly live: string;
  /** Empty when all is as it should be, else why not. Whoever is not live is not ready. */
  readonly ready: string;
}

export interface MetricsServer {
  /** Where it listens; the port is the real one where 0 was asked for. */
  readonly address: { readonly host: string; readonly port: number };
  /** Resolves when nothing of it runs any more, after `signal` has aborted. */
  readonly closed: Promise<void>;
}

// A scraper sends 200 bytes of headers, with a token 1,500; the rest of these bounds is room for people with curl.
const maxHeaderBytes = 8 * 1024;
const handshakeTimeoutMs = 5_000;
const headersTimeoutMs = 5_000;
const requestTimeoutMs = 10_000;
const idleTimeoutMs = 15_000;
/** Node handles all that comes in one read before anything else: 1,700 requests that were sent without waiting take it 40 ms. */
const maxRequestsPerConnection = 100;

/** The agent reads a full block table in half a second: whoever scrapes without rest gets a fifth of one core at most. */
const restPerRender = 4;

const plainText = 'text/plain; charset=utf-8';

/**
 * Serves /metrics, /healthz and /readyz until `signal` aborts. Throws BadSetting, which names `--metrics-address`, when it
 * cannot listen there, or `--metrics-tls-folder`, when no key pair is there.
 */
export async function startMetricsServer(options: {
  readonly address: { readonly host: string; readonly port: number };
  /** With it TLS is spoken. A new pair in it that cannot be used leaves the one before in place. */
  readonly keyPairs?: KeyPairFolder | undefined;
  /** Who may scrape; everybody when absent. Health is for everybody: whoever probes it has no token. */
  readonly access?: ScrapeAccess | undefined;
  readonly metrics: Pick<ServerMetrics, 'refused' | 'tlsFailed'>;
  readonly render: () => Promise<string>;
  readonly contentType: string;
  readonly health: () => Health;
  readonly signal: AbortSignal;
  /** Told of a scrape that failed, where the scraper gets 500, and of a key pair that cannot be used. */
  readonly onError: (error: unknown) => void;
}): Promise<MetricsServer> {
  const render = rested(options.render);
  const { keyPairs, access, metrics, signal } = options;
  const bounds: ServerOptions = {
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    connectionsCheckingInterval: 1000,
  };
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    answer(request, response).catch((error: unknown) => {
      options.onError(error);
      if (response.headersSent) response.destroy();
      else send(response, 500, 'the metrics could not be read; the log says why\n');
    });
  };
  const tlsServer =
    keyPairs && createTlsServer({ ...bounds, ...keyPairs.read(), handshakeTimeout: handshakeTimeoutMs }, listener);
  const server = tlsServer ?? createServer(bounds, listener);
  const limit = new ConnectionLimit();
  /** Those in the middle of a handshake too, which the server does not know of yet. */
  const sockets = new Set<Socket>();
  // Before any byte of it is read.
  server.prependListener('connection', (socket: Socket) => {
    const goes = limit.admit(socket);
    if (goes !== undefined) {
      metrics.refused('too-many-connections');
      goes.destroy();
    }
    if (goes === socket) return;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  // The last that it may send is answered with `Connection: close`: more are of somebody who does not wait for answers.
  server.maxRequestsPerSocket = maxRequestsPerConnection;
  server.on('dropRequest', (_request: IncomingMessage, socket: Socket) => socket.destroy());
  server.keepAliveTimeout = idleTimeoutMs;
  server.setTimeout(idleTimeoutMs);

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A body is of no use here and is not read: the connection cannot be used again.
    if (request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined)
      response.shouldKeepAlive = false;
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      send(response, 405, 'only GET and HEAD are answered\n');
      return;
    }
    const path = request.url?.split('?', 1)[0];
    if (path === '/metrics') {
      const verdict = access === undefined ? 'allowed' : await access(request.headers.authorization);
      if (verdict === 'allowed') send(response, 200, await render(), options.contentType);
      else refuse(response, verdict);
    } else if (path === '/healthz') sendHealth(response, options.health().live);
    else if (path === '/readyz') {
      const { live, ready } = options.health();
      sendHealth(response, live || ready);
    } else send(response, 404, 'there are /metrics, /healthz and /readyz\n');
  }

  function refuse(response: ServerResponse, reason: Refusal): void {
    metrics.refused(reason);
    const { status, says } = refusals[reason];
    if (status === 401) response.setHeader('WWW-Authenticate', 'Bearer');
    send(response, status, `${says}\n`);
  }

  const { host, port } = options.address;
  try {
    server.listen({ host, port });
    await once(server, 'listening');
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PortcullisError('BadSetting', `--metrics-address ${host}:${port}: cannot listen there: ${reason}`, {
      field: '--metrics-address',
      value: `${host}:${port}`,
      remedy: 'Give an address of this host and a free port, or "off".',
      cause,
    });
  }
  server.on('error', options.onError);
  const bound = server.address() as AddressInfo;
  // Not events.once(): it would reject at an 'error' event, and nobody may be waiting yet.
  const ended = new Promise<void>((resolve) => server.once('close', () => resolve()));
  const close = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  if (signal.aborted) close();
  else signal.addEventListener('abort', close, { once: true });
  let toldTrouble = '';
  const watching = keyPairs?.watch(signal, {
    onPair: (pair) => {
      toldTrouble = '';
      tlsServer?.setSecureContext(pair);
    },
    onError: (error) => {
      metrics.tlsFailed();
      const trouble = String(error);
      if (trouble !== toldTrouble) options.onError(error);
      toldTrouble = trouble;
    },
  });
  return { address: { host: bound.address, port: bound.port }, closed: Promise.all([ended, watching]).then(() => {}) };
}

/** One rendering at a time, for all who ask meanwhile and for some time after it; one that failed is forgotten at once. */
function rested(render: () => Promise<string>): () => Promise<string> {
  let current: Promise<string> | undefined;
  let untilMs = Number.POSITIVE_INFINITY;
  return () => {
    if (current !== undefined && performance.now() < untilMs) return current;
    const startedMs = performance.now();
    untilMs = Number.POSITIVE_INFINITY;
    const started = render();
    current = started;
    const finish = (restMs: number) => {
      if (current === started) untilMs = performance.now() + restMs;
    };
    started.then(
      () => finish((performance.now() - startedMs) * restPerRender),
      () => finish(0),
    );
    return started;
  };
}

function sendHealth(response: ServerResponse, complaint: string): void {
  if (complaint === '') send(response, 200, 'ok\n');
  else send(response, 503, `${complaint}\n`);
}

function send(response: ServerResponse, status: number, body: string, contentType = plainText): void {
  response.writeHead(status, {
    'Content-Type': contentType,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
  });
  // Node leaves the body of an answer to HEAD out by itself.
  response.end(body);
}
