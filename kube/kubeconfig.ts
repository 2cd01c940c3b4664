import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import type { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { parse } from 'yaml';
import type { Access, Credentials, KubeTls } from './access.ts';
import { WatchedFile } from './watched-file.ts';

/** Certificates, keys and plugins' tokens are looked at again after this time; token files have a watch of their own. */
const maxAgeMs = 60_000;

export interface KubeconfigOptions {
  /** Merged as kubectl does: the first file that names something wins. */
  readonly paths: readonly string[];
  readonly context?: string;
  /** Instead of the cluster's. */
  readonly server?: string;
  readonly nowMs: () => number;
}

/** What applyOptions of the client library fills in. */
interface Applied extends KubeTls {
  headers?: Record<string, string>;
}

/** The files that kubectl would read; empty when there is none. */
export function kubeconfigPaths(env: Readonly<Record<string, string | undefined>>): string[] {
  const listed = (env.KUBECONFIG ?? '').split(delimiter).filter((path) => path !== '');
  const paths = listed.length > 0 ? listed : [join(env.HOME ?? homedir(), '.kube', 'config')];
  return paths.filter((path) => existsSync(path));
}

/**
 * Access by a kubeconfig: certificates, tokens, token files, exec and auth-provider plugins, proxy-url. The library that knows
 * all these is large and loaded here only, so that an agent in a pod does without it.
 */
export async function kubeconfigAccess(options: KubeconfigOptions): Promise<Access> {
  const library = await import('@kubernetes/client-node/dist/config.js');
  let loaded = load(library.KubeConfig, options);
  let credentials: Credentials | undefined;
  let atMs = Number.NEGATIVE_INFINITY;
  return {
    server: loaded.server,
    ...(loaded.namespace === undefined ? {} : { namespace: loaded.namespace }),
    ...(loaded.proxyUrl === undefined ? {} : { proxyUrl: loaded.proxyUrl }),
    async current() {
      if (credentials === undefined || options.nowMs() - atMs >= maxAgeMs) {
        atMs = options.nowMs();
        credentials = await credentialsOf(loaded.config);
      }
      if (loaded.tokenFile === undefined) return credentials;
      return {
        ...credentials,
        headers: { ...credentials.headers, authorization: `Bearer ${loaded.tokenFile.read()}` },
      };
    },
    forget() {
      credentials = undefined;
      loaded.tokenFile?.forget();
      try {
        // A new KubeConfig: the library's plugins keep a token until it expires, even when the server refuses it.
        loaded = load(library.KubeConfig, options);
      } catch {
        // Somebody is writing the file: what was read before may do.
      }
    },
  };
}

interface Loaded {
  readonly config: KubeConfig;
  readonly server: string;
  readonly namespace: string | undefined;
  readonly proxyUrl: string | undefined;
  readonly tokenFile: WatchedFile | undefined;
}

function load(Config: typeof KubeConfig, { paths, context, server, nowMs }: KubeconfigOptions): Loaded {
  const config = new Config();
  const tokenFiles = new Map<string, string>();
  for (const path of paths) {
    const next = new Config();
    try {
      const text = readFileSync(path, 'utf8');
      next.loadFromString(text);
      next.makePathsAbsolute(dirname(resolve(path)));
      collectTokenFiles(parse(text), dirname(resolve(path)), tokenFiles);
    } catch (error) {
      throw new Error(`kubeconfig ${path}: ${error instanceof Error ? error.message : error}`, { cause: error });
    }
    for (const one of next.clusters) if (!config.clusters.some(({ name }) => name === one.name)) config.addCluster(one);
    for (const one of next.users) if (!config.users.some(({ name }) => name === one.name)) config.addUser(one);
    for (const one of next.contexts) if (!config.contexts.some(({ name }) => name === one.name)) config.addContext(one);
    if (config.currentContext === undefined && next.currentContext) config.setCurrentContext(next.currentContext);
  }
  const where = `kubeconfig ${paths.join(', ')}`;
  if (context !== undefined) config.setCurrentContext(context);
  const name = config.getCurrentContext();
  if (!name) throw new Error(`${where}: no current-context; name a context`);
  const chosen = config.getContextObject(name);
  if (chosen === null) throw new Error(`${where}: there is no context ${JSON.stringify(name)}`);
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new Error(`${where}: context ${name} names an unknown cluster ${chosen.cluster}`);
  const user = config.getCurrentUser();
  const tokenFile = user === null ? undefined : tokenFiles.get(user.name);
  return {
    config,
    server: (server ?? cluster.server).replace(/\/+$/, ''),
    namespace: chosen.namespace,
    proxyUrl: cluster.proxyUrl,
    tokenFile: tokenFile === undefined ? undefined : new WatchedFile(tokenFile, maxAgeMs, nowMs),
  };
}

/** The library does not know `tokenFile`. */
function collectTokenFiles(document: unknown, folder: string, into: Map<string, string>): void {
  const users = (document as { users?: { name?: string; user?: { tokenFile?: string } }[] } | null)?.users ?? [];
  for (const { name, user } of users) {
    if (name !== undefined && user?.tokenFile && !into.has(name)) into.set(name, resolve(folder, user.tokenFile));
  }
}

async function credentialsOf(config: KubeConfig): Promise<Credentials> {
  const applied: Applied = {};
  // Private in the library's types; its public neighbours build an agent of their own for each call.
  await (config as unknown as { applyOptions(options: Applied): Promise<void> }).applyOptions(applied);
  const { headers = {}, ...tls } = applied;
  const user = config.getCurrentUser();
  const basic = user?.username
    ? { authorization: `Basic ${Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64')}` }
    : {};
  return {
    tls,
    tlsVersion: JSON.stringify(tls, (_key, value: unknown) =>
      Buffer.isBuffer(value) ? value.toString('base64') : value,
    ),
    headers: { ...basic, ...lowerCased(headers) },
  };
}

function lowerCased(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value.trim()]));
}
