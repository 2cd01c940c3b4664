import type { Dispatcher } from 'undici';
import type { Access } from './access.ts';
import type { ApplyOptions, At, KubeClient, ListOptions, WatchOptions } from './client.ts';
import { type Clock, systemClock, TimedOut, withTimeout } from './clock.ts';
import { Connections } from './connections.ts';
import { errorOfConnection, errorOfStatus, isNotFound, KubeError, malformed, shorten, tooLong } from './errors.ts';
import { inClusterAccess } from './in-cluster.ts';
import { kubeconfigAccess, kubeconfigPaths } from './kubeconfig.ts';
import { LineSplitter, LineTooLong } from './line-splitter.ts';
import type { KubeList, KubeObject, KubeStatus, NewKubeObject, WatchEvent } from './objects.ts';
import { pathOf, type Resource } from './resources.ts';
import { Throttle } from './throttle.ts';
import { serviceAccountUidOf } from './token-claims.ts';

export interface KubeClientOptions {
  /** Path; absent: KUBECONFIG, then the pod's service account, then ~/.kube/config. */
  readonly kubeconfig?: string;
  readonly context?: string;
  /** URL, instead of the one that the configuration gives. */
  readonly server?: string;
  readonly userAgent: string;
  /** For a whole request, and for the headers of a watch. Default 30,000. */
  readonly requestTimeoutMs?: number;
  /** Requests a second, watches aside; absent: no limit. `burst` more at once, default 2 * qps. */
  readonly qps?: number;
  readonly burst?: number;
  /** Of one watch event. Default 4 MiB: etcd holds objects up to 1.5 MiB, and managedFields come on top. */
  readonly maxLineBytes?: number;
  /** Of any other answer. Default 32 MiB: read as text and parsed it takes several times as much memory. */
  readonly maxResponseBytes?: number;
  /** A connection on which something came within this time is not stuck, and reconnect() keeps it. Default 1,000. */
  readonly reconnectGraceMs?: number;
  /** Off: HTTP/1.1 only. Default on. */
  readonly allowH2?: boolean;
  readonly metrics?: { request(verb: Verb, status: number): void };
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Default /var/run/secrets/kubernetes.io/serviceaccount. */
  readonly serviceAccountFolder?: string;
}

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'replace' | 'apply' | 'patch' | 'delete' | 'raw';

/** A client with connections of its own. Rejects with an error that names the file when the configuration cannot be read. */
export async function openKubeClient(options: KubeClientOptions, clock: Clock = systemClock): Promise<KubeClient> {
  const access = await findAccess(options, clock);
  return new HttpKubeClient(access, options, clock);
}

async function findAccess(options: KubeClientOptions, clock: Clock): Promise<Access> {
  const env = options.env ?? process.env;
  const nowMs = () => clock.nowMs();
  const server = options.server === undefined ? {} : { server: options.server.replace(/\/+$/, '') };
  const context = options.context === undefined ? {} : { context: options.context };
  if (options.kubeconfig !== undefined) {
    return kubeconfigAccess({ paths: [options.kubeconfig], ...context, ...server, nowMs });
  }
  if (!env.KUBECONFIG && env.KUBERNETES_SERVICE_HOST) {
    const folder = options.serviceAccountFolder;
    return inClusterAccess({ env, nowMs, ...(folder === undefined ? {} : { folder }), ...server });
  }
  const paths = kubeconfigPaths(env);
  if (paths.length === 0) {
    throw new Error(
      'no Kubernetes configuration: give a kubeconfig, set KUBECONFIG, or run in a pod with a service account',
    );
  }
  return kubeconfigAccess({ paths, ...context, ...server, nowMs });
}

interface Request {
  readonly verb: Verb;
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
}

const json = 'application/json';
const partial = (kind: string) => `application/json;as=${kind};g=meta.k8s.io;v=v1`;
/** Of an answer that says no; the rest is not read. */
const maxErrorBytes = 2 * 1024 * 1024;

class HttpKubeClient implements KubeClient {
  readonly server: string;
  readonly #access: Access;
  readonly #connections: Connections;
  readonly #clock: Clock;
  readonly #throttle: Throttle | undefined;
  readonly #basePath: string;
  readonly #userAgent: string;
  readonly #requestTimeoutMs: number;
  readonly #maxLineBytes: number;
  readonly #maxResponseBytes: number;
  readonly #reconnectGraceMs: number;
  readonly #metrics: KubeClientOptions['metrics'];
  /** When the server last gave a sign of life, on any stream. */
  #receivedAtMs = Number.NEGATIVE_INFINITY;

  constructor(access: Access, options: KubeClientOptions, clock: Clock) {
    const { qps, requestTimeoutMs = 30_000 } = options;
    this.server = access.server;
    this.#access = access;
    this.#clock = clock;
    this.#basePath = new URL(access.server).pathname.replace(/\/+$/, '');
    this.#userAgent = options.userAgent;
    this.#requestTimeoutMs = requestTimeoutMs;
    this.#maxLineBytes = options.maxLineBytes ?? 4 * 1024 * 1024;
    this.#maxResponseBytes = options.maxResponseBytes ?? 32 * 1024 * 1024;
    this.#reconnectGraceMs = options.reconnectGraceMs ?? 1000;
    this.#metrics = options.metrics;
    this.#throttle = qps === undefined ? undefined : new Throttle(qps, options.burst ?? Math.ceil(2 * qps), clock);
    this.#connections = new Connections({ access, requestTimeoutMs, allowH2: options.allowH2 ?? true, clock });
  }

  get<T extends KubeObject>(resource: Resource, name: string, at: At & { metadataOnly?: boolean } = {}): Promise<T> {
    return this.#json(
      { verb: 'get', method: 'GET', path: pathAt(resource, at, name), accept: acceptOf(at, '') },
      at.signal,
    );
  }

  list<T extends KubeObject>(resource: Resource, options: ListOptions = {}): Promise<KubeList<T>> {
    const { labelSelector, fieldSelector, limit, resourceVersion, resourceVersionMatch } = options;
    return this.#json(
      {
        verb: 'list',
        method: 'GET',
        path: pathAt(resource, options),
        query: {
          labelSelector,
          fieldSelector,
          limit,
          continue: options.continue,
          resourceVersion,
          resourceVersionMatch,
        },
        accept: acceptOf(options, 'List'),
      },
      options.signal,
    );
  }

  async *watch<T extends KubeObject>(resource: Resource, options: WatchOptions): AsyncGenerator<WatchEvent<T>> {
    const { labelSelector, fieldSelector, resourceVersion, timeoutSeconds, signal } = options;
    const request: Request = {
      verb: 'watch',
      method: 'GET',
      path: pathAt(resource, options),
      query: { watch: true, allowWatchBookmarks: true, labelSelector, fieldSelector, resourceVersion, timeoutSeconds },
      accept: acceptOf(options, ''),
    };
    const what = describe(request);
    const stream = new AbortController();
    const stop = () => stream.abort(signal?.reason);
    signal?.throwIfAborted();
    signal?.addEventListener('abort', stop, { once: true });
    let body: Dispatcher.ResponseData['body'] | undefined;
    try {
      body = await this.#timed(what, signal, async (inner) => {
        // The stream outlives this step, so it gets a signal that does as well.
        inner.addEventListener('abort', () => stream.abort(inner.reason), { once: true });
        return (await this.#send(request, stream.signal)).body;
      });
      const lines = new LineSplitter(this.#maxLineBytes);
      for await (const chunk of body as AsyncIterable<Buffer>) {
        this.#receivedAtMs = this.#clock.nowMs();
        for (const line of lines.push(chunk)) yield parseEvent<T>(what, line);
      }
      signal?.throwIfAborted();
      if (lines.pendingBytes > 0) throw malformedError(what, 'the stream ended within an event');
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof LineTooLong) throw malformedError(what, error.message);
      throw errorOfConnection(what, error, false);
    } finally {
      signal?.removeEventListener('abort', stop);
      if (body !== undefined) await closed(body);
    }
  }

  create<T extends KubeObject>(
    resource: Resource,
    object: NewKubeObject,
    options: At & { dryRun?: boolean } = {},
  ): Promise<T> {
    const path = pathAt(resource, placeOf(object, options));
    return this.#json({ verb: 'create', method: 'POST', path, query: dryRun(options), body: object }, options.signal);
  }

  replace<T extends KubeObject>(resource: Resource, object: NewKubeObject, options: At = {}): Promise<T> {
    const path = pathAt(resource, placeOf(object, options), object.metadata.name);
    return this.#json({ verb: 'replace', method: 'PUT', path, body: object }, options.signal);
  }

  apply<T extends KubeObject>(resource: Resource, object: NewKubeObject, options: ApplyOptions): Promise<T> {
    const { fieldManager, force, subresource } = options;
    return this.#json(
      {
        verb: 'apply',
        method: 'PATCH',
        path: pathAt(resource, placeOf(object, options), object.metadata.name, subresource),
        query: { fieldManager, force, ...dryRun(options) },
        body: object,
        contentType: 'application/apply-patch+yaml',
        accept: acceptOf(options, ''),
      },
      options.signal,
    );
  }

  mergePatch<T extends KubeObject>(resource: Resource, name: string, patch: object, options: At = {}): Promise<T> {
    const path = pathAt(resource, options, name);
    const contentType = 'application/merge-patch+json';
    return this.#json({ verb: 'patch', method: 'PATCH', path, body: patch, contentType }, options.signal);
  }

  async delete(
    resource: Resource,
    name: string,
    options: At & { uid?: string; resourceVersion?: string } = {},
  ): Promise<void> {
    const { uid, resourceVersion } = options;
    const preconditions =
      uid === undefined && resourceVersion === undefined ? {} : { preconditions: { uid, resourceVersion } };
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', ...preconditions };
    try {
      await this.#json(
        { verb: 'delete', method: 'DELETE', path: pathAt(resource, options, name), body },
        options.signal,
      );
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  raw<T>(path: string, signal?: AbortSignal): Promise<T> {
    return this.#json({ verb: 'raw', method: 'GET', path }, signal);
  }

  async serviceAccountUid(): Promise<string | undefined> {
    return serviceAccountUidOf((await this.#access.current()).headers.authorization);
  }

  reconnect(): void {
    const lastSignMs = Math.max(this.#receivedAtMs, this.#connections.openedAtMs);
    // Several watches find a dead connection out together: the first one drops it, the others must not drop the new one.
    if (this.#clock.nowMs() - lastSignMs < this.#reconnectGraceMs) return;
    // Streams on the old connections end with an error of their own.
    this.#connections.drop().catch(() => {});
  }

  close(): Promise<void> {
    return this.#connections.close();
  }

  async #json<T>(request: Request, signal: AbortSignal | undefined): Promise<T> {
    await this.#throttle?.pass(signal);
    const what = describe(request);
    const text = await this.#timed(what, signal, async (inner) => {
      const { body } = await this.#send(request, inner);
      return readText(body, this.#maxResponseBytes);
    }).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw errorOfConnection(what, error, false);
    });
    this.#receivedAtMs = this.#clock.nowMs();
    // Some paths, /healthz for one, answer plain text; T is then a string.
    return (request.verb === 'raw' ? parseIfJson(text) : parseJson(what, text)) as T;
  }

  /** Rejects with a KubeError when `work` takes too long; a connection on which nothing came all that time is dropped. */
  async #timed<T>(what: string, signal: AbortSignal | undefined, work: (inner: AbortSignal) => Promise<T>): Promise<T> {
    const startedMs = this.#clock.nowMs();
    try {
      return await withTimeout(this.#clock, what, this.#requestTimeoutMs, signal, work);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof TimedOut)) throw error;
      const isSilent = this.#receivedAtMs < startedMs;
      if (isSilent) this.reconnect();
      // Others are answered: it may be a slow server, or one dead connection of several. What runs is left alone.
      else if (this.#connections.openedAtMs < startedMs) this.#connections.renew();
      throw new KubeError({ message: error.message, code: 'ETIMEDOUT', isConnecting: true, cause: error });
    }
  }

  /** The head of an answer that says yes; its body is still to be read. */
  async #send(request: Request, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const first = await this.#attempt(request, signal);
    if (first.response !== undefined) return first.response;
    // Nothing was done, so any request may be sent again, if there is something new to say.
    this.#access.forget();
    const { authorization } = (await this.#credentials(request)).headers;
    if (authorization === first.authorization) throw first.error;
    const second = await this.#attempt(request, signal);
    if (second.response === undefined) throw second.error;
    return second.response;
  }

  async #attempt(
    request: Request,
    signal: AbortSignal,
  ): Promise<
    | { response: Dispatcher.ResponseData }
    | { response?: undefined; error: KubeError; authorization: string | undefined }
  > {
    const what = describe(request);
    const credentials = await this.#credentials(request);
    signal.throwIfAborted();
    let response: Dispatcher.ResponseData;
    try {
      response = await this.#connections.for(credentials).request(this.#wire(request, credentials.headers, signal));
    } catch (error) {
      signal.throwIfAborted();
      this.#metrics?.request(request.verb, 0);
      throw errorOfConnection(what, error, true);
    }
    const { statusCode, headers } = response;
    this.#receivedAtMs = this.#clock.nowMs();
    this.#metrics?.request(request.verb, statusCode);
    if (statusCode >= 200 && statusCode < 300) return { response };
    const text = await readText(response.body, maxErrorBytes).catch(() => '');
    signal.throwIfAborted();
    const retryAfter = headers['retry-after'];
    const error = errorOfStatus(
      what,
      statusCode,
      statusOf(text),
      typeof retryAfter === 'string' ? retryAfter : undefined,
    );
    if (statusCode !== 401) throw error;
    return { error, authorization: credentials.headers.authorization };
  }

  async #credentials(request: Request) {
    try {
      return await this.#access.current();
    } catch (error) {
      this.#metrics?.request(request.verb, 0);
      throw new KubeError({
        message: `${describe(request)}: no credentials: ${error instanceof Error ? error.message : error}`,
        code: 'ECREDENTIALS',
        isConnecting: true,
        cause: error,
      });
    }
  }

  #wire(request: Request, auth: Readonly<Record<string, string>>, signal: AbortSignal): Dispatcher.RequestOptions {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value !== undefined) query.set(name, String(value));
    }
    const search = query.size === 0 ? '' : `?${query}`;
    return {
      origin: new URL(this.server).origin,
      method: request.method,
      path: `${this.#basePath}${request.path}${search}`,
      headers: {
        accept: request.accept ?? json,
        'user-agent': this.#userAgent,
        ...(request.body === undefined ? {} : { 'content-type': request.contentType ?? json }),
        ...auth,
      },
      body: request.body === undefined ? null : JSON.stringify(request.body),
      signal,
      // A watch may be quiet for as long as it likes: who reads it has a watchdog.
      ...(request.verb === 'watch' ? { bodyTimeout: 0 } : {}),
    };
  }
}

const describe = ({ verb, method, path }: Request): string => `${verb === 'watch' ? 'WATCH' : method} ${path}`;

const acceptOf = (options: { metadataOnly?: boolean }, suffix: string): string =>
  options.metadataOnly ? partial(`PartialObjectMetadata${suffix}`) : json;

const dryRun = (options: { dryRun?: boolean }) => ({ dryRun: options.dryRun ? 'All' : undefined });

const placeOf = (object: NewKubeObject, at: At): { namespace?: string } => {
  const namespace = object.metadata.namespace ?? at.namespace;
  return namespace === undefined ? {} : { namespace };
};

function pathAt(
  resource: Resource,
  { namespace }: { namespace?: string },
  name?: string,
  subresource?: string,
): string {
  return pathOf(resource, {
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource }),
  });
}

async function readText(body: Dispatcher.ResponseData['body'], maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    // Leaving the loop destroys the stream.
    if (bytes > maxBytes) {
      const message = `an answer of more than ${maxBytes} bytes`;
      throw new KubeError({ message, code: malformed, reason: tooLong });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Resolves when nothing of the stream is left. */
async function closed(body: Dispatcher.ResponseData['body']): Promise<void> {
  if (body.closed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  body.once('close', resolve);
  body.on('error', () => {});
  body.destroy();
  await promise;
}

const malformedError = (what: string, why: string): KubeError =>
  new KubeError({ message: `${what}: ${why}`, code: malformed });

function parseJson(what: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw malformedError(what, `not JSON: ${JSON.stringify(shorten(text, 80))}`);
  }
}

function parseIfJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function parseEvent<T extends KubeObject>(what: string, line: string): WatchEvent<T> {
  const event = parseJson(what, line) as Partial<WatchEvent<T>> | null;
  if (typeof event?.type !== 'string' || typeof event.object !== 'object' || event.object === null) {
    throw malformedError(what, `not a watch event: ${JSON.stringify(shorten(line, 80))}`);
  }
  return event as WatchEvent<T>;
}

/** The Status object of a refusal; anything in between, such as a proxy, may answer plain text. */
function statusOf(text: string): KubeStatus | string {
  const parsed = parseIfJson(text);
  return typeof parsed === 'object' && parsed !== null ? (parsed as KubeStatus) : shorten(text, 200);
}
