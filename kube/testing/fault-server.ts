import { once } from 'node:events';
import {
  constants,
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { KubeStatus } from '../objects.ts';
import { ObjectStore, type StoredEvent, type StoredObject } from './object-store.ts';
import { makeCertificate, type TestCertificate } from './tls.ts';

/** What goes wrong with one request. */
export type Fault =
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly body?: unknown;
      readonly headers?: Record<string, string>;
    }
  /** Answers with this Status in an ERROR event. */
  | { readonly kind: 'error-event'; readonly code: number; readonly reason: string }
  /** 200, then the end. */
  | { readonly kind: 'close' }
  /** The connection is reset after so many events. */
  | { readonly kind: 'reset'; readonly afterEvents: number }
  /** HTTP/2 only: this stream is reset, the connection lives. */
  | { readonly kind: 'stream-reset' }
  /** 200, then nothing. */
  | { readonly kind: 'silent' }
  /** Not even a status. */
  | { readonly kind: 'no-answer' }
  /** These bytes instead of events; `isWhole`: and the end. */
  | { readonly kind: 'bytes'; readonly bytes: Buffer | string; readonly isWhole?: boolean }
  /** Normal, but in pieces of so many bytes. */
  | { readonly kind: 'split'; readonly bytes: number }
  /** Normal, but each event twice. */
  | { readonly kind: 'twice' }
  | { readonly kind: 'delay'; readonly ms: number };

export interface SeenRequest {
  readonly verb: 'list' | 'watch' | 'other';
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly httpVersion: string;
  readonly body: string;
  readonly atMs: number;
}

export interface FaultServerOptions {
  readonly certificate?: TestCertificate;
  readonly allowH2?: boolean;
  readonly host?: string;
  /** Between bookmarks; absent: none. */
  readonly bookmarkMs?: number;
}

type Exchange = {
  readonly req: Http2ServerRequest;
  readonly res: Http2ServerResponse;
  readonly query: URLSearchParams;
};

/** An API server with one collection, over HTTPS, HTTP/2 and HTTP/1.1, that does what it should not when it is told to. */
export class FaultServer {
  readonly store = new ObjectStore();
  /** Taken at start(). */
  certificate: TestCertificate;
  readonly requests: SeenRequest[] = [];
  /** Only this token is accepted; undefined: any. */
  token: string | undefined;
  /** Refuses who has no certificate of this server's own authority; taken at start(). */
  requestCertificate = false;
  /** Of the certificates that clients showed. */
  readonly clientNames: string[] = [];
  connections = 0;
  /** Streams that were opened and have not ended. */
  openStreams = 0;
  bookmarkMs: number | undefined;
  readonly #options: FaultServerOptions;
  readonly #sockets = new Set<Socket>();
  readonly #frozenPorts = new Set<number>();
  readonly #once: { verb: SeenRequest['verb']; fault: Fault }[] = [];
  readonly #always = new Map<SeenRequest['verb'], Fault>();
  readonly #pages = new Map<string, { items: StoredObject[]; version: number; offset: number }>();
  #pageTokens = 0;
  #server: Http2SecureServer | undefined;
  #port = 0;

  constructor(options: FaultServerOptions = {}) {
    this.#options = options;
    this.certificate = options.certificate ?? makeCertificate();
    this.bookmarkMs = options.bookmarkMs;
  }

  get url(): string {
    const { host = '127.0.0.1' } = this.#options;
    return `https://${host.includes(':') ? `[${host}]` : host}:${this.#port}`;
  }

  /** Takes the port it had when it was stopped. */
  async start(): Promise<void> {
    const { allowH2 = true, host = '127.0.0.1' } = this.#options;
    const { cert, key } = this.certificate;
    // Both kinds of server have what is used of them here; node:http2 would offer h2 whatever it is told.
    const tls = { cert, key, ...(this.requestCertificate ? { requestCert: true, ca: cert } : {}) };
    const server = allowH2
      ? createSecureServer({ ...tls, allowHTTP1: true })
      : (createServer(tls) as unknown as Http2SecureServer);
    server.on('secureConnection', (socket: TLSSocket) => {
      const subject = socket.getPeerCertificate()?.subject as { CN?: string } | undefined;
      if (subject?.CN !== undefined) this.clientNames.push(subject.CN);
    });
    server.on('connection', (socket: Socket) => {
      this.connections++;
      this.#sockets.add(socket);
      const { remotePort } = socket;
      socket.on('close', () => {
        this.#sockets.delete(socket);
        if (remotePort !== undefined) this.#frozenPorts.delete(remotePort);
      });
      socket.on('error', () => {});
    });
    server.on('sessionError', () => {});
    server.on('request', (req, res) => this.#serve(req, res));
    server.listen(this.#port, host);
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Connections are refused until start(). */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = once(server, 'close');
    server.close();
    this.resetConnections();
    await closed;
  }

  resetConnections(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** The next request of this kind; several calls queue up. */
  once(verb: SeenRequest['verb'], fault: Fault): void {
    this.#once.push({ verb, fault });
  }

  /** Every request of this kind, until it is taken back with undefined. */
  always(verb: SeenRequest['verb'], fault: Fault | undefined): void {
    if (fault === undefined) this.#always.delete(verb);
    else this.#always.set(verb, fault);
  }

  /** Connections that are open now stay so, and nothing comes through them any more; new ones work. */
  freezeConnections(): void {
    for (const { remotePort } of this.#sockets) if (remotePort !== undefined) this.#frozenPorts.add(remotePort);
  }

  /** Lists that were begun cannot be continued: 410. */
  expirePages(): void {
    this.#pages.clear();
  }

  seen(verb: SeenRequest['verb']): SeenRequest[] {
    return this.requests.filter((request) => request.verb === verb);
  }

  #faultFor(verb: SeenRequest['verb']): Fault | undefined {
    const index = this.#once.findIndex((one) => one.verb === verb);
    return index === -1 ? this.#always.get(verb) : this.#once.splice(index, 1)[0]?.fault;
  }

  async #serve(req: Http2ServerRequest, res: Http2ServerResponse): Promise<void> {
    const url = new URL(req.url, 'https://server');
    const query = url.searchParams;
    const isCollection = req.method === 'GET' && url.pathname.endsWith('/portscanpolicies');
    const verb = !isCollection ? 'other' : query.has('watch') ? 'watch' : 'list';
    this.openStreams++;
    res.once('close', () => this.openStreams--);
    res.on('error', () => {});
    req.on('error', () => {});
    const fault = this.#faultFor(verb);
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    const { method, headers, httpVersion } = req;
    if (method !== 'GET') await once(req, 'end');
    const body = Buffer.concat(chunks).toString();
    this.requests.push({
      verb,
      method,
      path: url.pathname,
      query,
      headers,
      httpVersion,
      body,
      atMs: performance.now(),
    });
    if (this.#isFrozen(req)) return;
    if (fault?.kind === 'delay') await new Promise((resolve) => setTimeout(resolve, fault.ms));
    if (this.token !== undefined && headers.authorization !== `Bearer ${this.token}`) {
      sendStatus(res, 401, 'Unauthorized', 'Unauthorized');
      return;
    }
    const exchange = { req, res, query };
    if (fault !== undefined && this.#spoil(fault, exchange)) return;
    if (verb === 'list') this.#list(exchange, fault);
    else if (verb === 'watch') this.#watch(exchange, fault);
    else sendJson(res, 200, { apiVersion: 'v1', kind: 'Echo', metadata: { name: 'echo' } });
  }

  #isFrozen({ socket }: Http2ServerRequest): boolean {
    return this.#frozenPorts.has(socket?.remotePort ?? 0);
  }

  /** Whether that was the whole answer. */
  #spoil(fault: Fault, { res }: Exchange): boolean {
    switch (fault.kind) {
      case 'status':
        for (const [name, value] of Object.entries(fault.headers ?? {})) res.setHeader(name, value);
        if (typeof fault.body === 'string') {
          res.statusCode = fault.status;
          res.end(fault.body);
        } else if (fault.body !== undefined) sendJson(res, fault.status, fault.body);
        else sendStatus(res, fault.status, reasonOf(fault.status), 'made to fail');
        return true;
      case 'error-event':
        writeHead(res);
        res.write(
          `${JSON.stringify({ type: 'ERROR', object: statusObject(fault.code, fault.reason, 'made to fail') })}\n`,
        );
        return true;
      case 'close':
        writeHead(res);
        res.end();
        return true;
      case 'stream-reset':
        writeHead(res);
        setTimeout(() => res.stream?.close(constants.NGHTTP2_INTERNAL_ERROR), 5);
        return true;
      case 'silent':
        writeHead(res);
        return true;
      case 'no-answer':
        return true;
      case 'bytes':
        writeHead(res);
        res.write(fault.bytes);
        if (fault.isWhole) res.end();
        return true;
      default:
        return false;
    }
  }

  #list({ res, query }: Exchange, fault: Fault | undefined): void {
    const token = query.get('continue');
    const limit = Number(query.get('limit') ?? 0);
    if (Number(query.get('resourceVersion') ?? 0) > this.store.version) {
      sendJson(res, 504, tooLargeVersion);
      return;
    }
    const page =
      token === null
        ? { items: [...this.store.objects.values()], version: this.store.version, offset: 0 }
        : this.#pages.get(token);
    if (page === undefined) {
      sendStatus(res, 410, 'Expired', 'The provided continue parameter is too old');
      return;
    }
    const { items, version, offset } = page;
    const end = limit > 0 ? offset + limit : items.length;
    const metadata: Record<string, string> = { resourceVersion: String(version) };
    if (end < items.length) {
      metadata.continue = `page-${++this.#pageTokens}`;
      this.#pages.set(metadata.continue, { items, version, offset: end });
    }
    const text = JSON.stringify({ kind: 'List', apiVersion: 'v1', metadata, items: items.slice(offset, end) });
    writeHead(res);
    writePieces(res, text, fault);
    res.end();
  }

  #watch({ req, res, query }: Exchange, fault: Fault | undefined): void {
    const from = Number(query.get('resourceVersion'));
    if (from < this.store.compactedTo) {
      sendStatus(res, 410, 'Expired', `too old resource version: ${from} (${this.store.compactedTo})`);
      return;
    }
    writeHead(res);
    res.write('');
    let left = fault?.kind === 'reset' ? fault.afterEvents : Number.POSITIVE_INFINITY;
    const send = ({ type, object, version }: StoredEvent) => {
      // From a version that is still to come nothing is told, and nothing is said about it either.
      if (version <= from || res.writableEnded || this.#isFrozen(req)) return;
      const line = `${JSON.stringify({ type, object })}\n`;
      writePieces(res, line, fault);
      if (fault?.kind === 'twice') writePieces(res, line, fault);
      left--;
      if (left === 0) setImmediate(() => this.resetConnections());
    };
    if (left === 0) setImmediate(() => this.resetConnections());
    for (const event of this.store.events) send(event);
    const unsubscribe = this.store.onEvent(send);
    const bookmarks =
      this.bookmarkMs === undefined
        ? undefined
        : setInterval(() => this.#bookmark({ req, res, query }, from), this.bookmarkMs);
    const timeoutMs = Number(query.get('timeoutSeconds')) * 1000;
    const end = setTimeout(() => res.end(), timeoutMs);
    res.once('close', () => {
      unsubscribe();
      clearInterval(bookmarks);
      clearTimeout(end);
    });
  }

  #bookmark({ req, res }: Exchange, from: number): void {
    const { apiVersion, kind, version } = this.store;
    if (version < from || res.writableEnded || this.#isFrozen(req)) return;
    const object = { apiVersion, kind, metadata: { resourceVersion: String(version), creationTimestamp: null } };
    res.write(`${JSON.stringify({ type: 'BOOKMARK', object })}\n`);
  }
}

function writeHead(res: Http2ServerResponse): void {
  res.writeHead(200, { 'content-type': 'application/json' });
}

function writePieces(res: Http2ServerResponse, text: string, fault: Fault | undefined): void {
  if (fault?.kind !== 'split') {
    res.write(text);
    return;
  }
  const bytes = Buffer.from(text);
  for (let start = 0; start < bytes.length; start += fault.bytes) res.write(bytes.subarray(start, start + fault.bytes));
}

function sendJson(res: Http2ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json' });
  res.end(JSON.stringify(body));
}

function sendStatus(res: Http2ServerResponse, status: number, reason: string, message: string): void {
  sendJson(res, status, statusObject(status, reason, message));
}

export function statusObject(code: number, reason: string, message: string): KubeStatus {
  return { kind: 'Status', ...{ apiVersion: 'v1', metadata: {}, status: 'Failure' }, message, reason, code };
}

/** What a server answers that is asked for a version which it does not have yet. */
export const tooLargeVersion: KubeStatus = {
  kind: 'Status',
  message: 'Timeout: Too large resource version: 4711, current: 42',
  reason: 'Timeout',
  details: {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  },
  code: 504,
};

function reasonOf(status: number): string {
  return (
    { 401: 'Unauthorized', 403: 'Forbidden', 404: 'NotFound', 410: 'Expired', 429: 'TooManyRequests' }[status] ?? ''
  );
}
