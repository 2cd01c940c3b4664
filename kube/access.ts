import type { ConnectionOptions } from 'node:tls';

/** What a TLS handshake needs beyond the address. */
export type KubeTls = Pick<
  ConnectionOptions,
  'ca' | 'cert' | 'key' | 'pfx' | 'passphrase' | 'servername' | 'rejectUnauthorized'
>;

/** How to reach an API server, and as whom; what it gives may change at any time, since files and tokens rotate. */
export interface Access {
  /** URL without a slash at its end; it may have a path. */
  readonly server: string;
  /** Of the context or the service account, when there is one. */
  readonly namespace?: string;
  readonly proxyUrl?: string;
  /** Asked before each request: cheap. Rejects with an error that names the file. */
  current(): Promise<Credentials>;
  /** After a 401: the next current() reads everything anew. */
  forget(): void;
}

export interface Credentials {
  readonly tls: KubeTls;
  /** Differs when `tls` differs. */
  readonly tlsVersion: string;
  /** Authorization and impersonation. */
  readonly headers: Readonly<Record<string, string>>;
}

/** `::1` needs brackets in a URL. */
export function serverUrl(host: string, port: string | number, protocol = 'https'): string {
  return `${protocol}://${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port}`;
}
