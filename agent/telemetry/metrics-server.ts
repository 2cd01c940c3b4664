import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PortcullisError } from '../../api/errors.ts';

export interface Health {
  /** Whether the policies were applied at least once: the node is guarded as it was asked to be. */
  readonly applied: boolean;
  /** Before that: what it waits for, where starting it again would not help; empty when there is no such thing. */
  readonly waitsFor?: string;
  /** Empty when the newest policies are in force and the pinned tables can be read, else why not. */
  readonly notReady: string;
}

export interface MetricsServer {
  /** Where it listens; the port is the real one where 0 was asked for. */
  readonly address: { readonly host: string; readonly port: number };
  /** Resolves when nothing of it runs any more, after `signal` has aborted. */
  readonly closed: Promise<void>;
}

// A scraper needs one connection and 200 bytes of headers; the rest of these bounds is room for people with curl.
const maxConnections = 32;
const maxHeaderBytes = 8 * 1024;
const headersTimeoutMs = 5_000;
const requestTimeoutMs = 10_000;
const idleTimeoutMs = 15_000;

/** Reading a full block table takes half a second: whoever scrapes without rest gets a fifth of one core at most. */
const restPerRender = 4;

const plainText = 'text/plain; charset=utf-8';

/**
 * Serves /metrics, /healthz and /readyz until `signal` aborts. Throws BadSetting when it cannot listen there.
 */
export async function startMetricsServer(options: {
  readonly address: { readonly host: string; readonly port: number };
  readonly render: () => Promise<string>;
  readonly contentType: string;
  readonly health: () => Health;
  readonly signal: AbortSignal;
  /** Told of a scrape that failed; the scraper gets 500. */
  readonly onError: (error: unknown) => void;
}): Promise<MetricsServer> {
  const render = rested(options.render);
  const server = createServer(
    {
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: 1000,
    },
    (request, response) => {
      answer(request, response).catch((error: unknown) => {
        options.onError(error);
        if (response.headersSent) response.destroy();
        else send(response, 500, 'the metrics could not be read; the log says why\n');
      });
    },
  );
  server.maxConnections = maxConnections;
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
    if (path === '/metrics') send(response, 200, await render(), options.contentType);
    else if (path === '/healthz') {
      const { applied, waitsFor = '' } = options.health();
      sendHealth(response, applied || waitsFor !== '' ? '' : 'the policies were not applied yet');
    } else if (path === '/readyz') {
      const { applied, waitsFor = '', notReady } = options.health();
      const why = waitsFor === '' ? '' : `, waiting for ${waitsFor}`;
      sendHealth(response, applied ? notReady : `the policies were not applied yet${why}`);
    } else send(response, 404, 'there are /metrics, /healthz and /readyz\n');
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
  const closed = new Promise<void>((resolve) => server.once('close', () => resolve()));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  if (options.signal.aborted) close();
  else options.signal.addEventListener('abort', close, { once: true });
  return { address: { host: bound.address, port: bound.port }, closed };
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
