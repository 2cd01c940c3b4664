import type { Dispatcher } from 'undici';
import type { Access, Credentials } from './access.ts';
import type { Clock } from './clock.ts';
import { Pool, ProxyAgent } from './undici-parts.ts';

export interface ConnectionsOptions {
  readonly access: Access;
  readonly requestTimeoutMs: number;
  /** Off: HTTP/1.1 only. */
  readonly allowH2: boolean;
  readonly clock: Clock;
}

/** Beyond the period in which either program sends something. */
const keepAliveMs = 60_000;
/** Below the idle timeouts of the usual load balancers. */
const tcpKeepAliveMs = 30_000;
const maxConnectMs = 10_000;

/**
 * One dispatcher to one server. With HTTP/2, which API servers prefer, all requests and watches share one TCP connection: 5,000
 * agents with 6 watches are 5,000 connections and not 30,000, and an agent takes 81 MB instead of 97. Servers without it get an
 * HTTP/1.1 connection for each watch.
 */
export class Connections {
  readonly #options: ConnectionsOptions;
  #current: { readonly dispatcher: Dispatcher; readonly tlsVersion: string } | undefined;
  /** Of older certificates: watches on them run to their end. */
  readonly #retired = new Set<Dispatcher>();
  #isClosed = false;
  #openedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** When the present dispatcher was made. */
  get openedAtMs(): number {
    return this.#openedAtMs;
  }

  for(credentials: Credentials): Dispatcher {
    if (this.#isClosed) throw new Error('the client is closed');
    const old = this.#current;
    if (old !== undefined && old.tlsVersion === credentials.tlsVersion) return old.dispatcher;
    const dispatcher = this.#open(credentials);
    this.#openedAtMs = this.#options.clock.nowMs();
    this.#current = { dispatcher, tlsVersion: credentials.tlsVersion };
    if (old !== undefined) this.#retire(old.dispatcher);
    return dispatcher;
  }

  /** What begins from now on gets new connections; what runs on the present ones goes on to its end. */
  renew(): void {
    if (this.#current === undefined) return;
    this.#retire(this.#current.dispatcher);
    this.#current = undefined;
  }

  #retire(dispatcher: Dispatcher): void {
    this.#retired.add(dispatcher);
    dispatcher.close().then(
      () => this.#retired.delete(dispatcher),
      () => this.#retired.delete(dispatcher),
    );
  }

  #open({ tls }: Credentials): Dispatcher {
    const { access, requestTimeoutMs, allowH2 } = this.#options;
    const connect = { ...tls, keepAlive: true, keepAliveInitialDelay: tcpKeepAliveMs, preferH2: allowH2 };
    const timeouts = {
      connectTimeout: Math.min(requestTimeoutMs, maxConnectMs),
      headersTimeout: requestTimeoutMs,
      bodyTimeout: requestTimeoutMs,
      keepAliveTimeout: keepAliveMs,
    };
    if (access.proxyUrl !== undefined) {
      return new ProxyAgent({ uri: access.proxyUrl, requestTls: connect, allowH2, ...timeouts });
    }
    return new Pool(new URL(access.server).origin, { connect, allowH2, ...timeouts });
  }

  async drop(): Promise<void> {
    const all = [...this.#retired];
    if (this.#current !== undefined) all.push(this.#current.dispatcher);
    this.#current = undefined;
    this.#retired.clear();
    await Promise.all(all.map((dispatcher) => dispatcher.destroy()));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.drop();
  }
}
