import { realpathSync, watch as watchFolder } from 'node:fs';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { NetlinkError, NetlinkSocket, RouteGroup } from '../libbpf/netlink.ts';
import { readAddresses, readLinks } from './links.ts';
import { type ResolverPaths, readResolvers, resolverPaths } from './resolvers.ts';
import { readRoutes } from './routes.ts';
import type { HostSnapshot } from './snapshot.ts';

export interface WatchHostOptions {
  /** Called with the first snapshot at once, then after each burst of changes that changed something. */
  readonly onSnapshot: (snapshot: HostSnapshot) => void;
  /** Called when reading failed; the last snapshot stands and reading is tried again after a second. */
  readonly onFailure?: (error: Error) => void;
  /** How long changes are collected before the host is read again. */
  readonly debounceMs?: number;
  /** How often it is read although nothing was heard: resolver files on file systems without notification, XDP programs attached by a link. */
  readonly pollMs?: number;
  readonly resolvers?: ResolverPaths;
}

const ALL_GROUPS =
  RouteGroup.link | RouteGroup.ipv4Address | RouteGroup.ipv4Route | RouteGroup.ipv6Address | RouteGroup.ipv6Route;
const RETRY_MS = 1_000;
/** Reading may take a fifth of one core at most: a router with a million routes that never rest is read less often. */
const REST_PER_READ = 4;
/** Enough to empty a receive buffer of the default size; what comes meanwhile is heard as the next burst. */
const MAX_DRAINED = 4_096;

/** Reads everything once. `interrupted`: something changed meanwhile, so parts may contradict each other. */
export async function readHost(
  signal?: AbortSignal,
  paths: ResolverPaths = resolverPaths,
): Promise<{ snapshot: HostSnapshot; interrupted: boolean }> {
  const socket = new NetlinkSocket();
  try {
    const links = await readLinks(socket, signal);
    const addresses = await readAddresses(socket, signal);
    const routes = await readRoutes(socket, signal);
    const resolvers = await readResolvers(paths);
    return {
      snapshot: { links: links.rows, addresses: addresses.rows, routes: routes.rows, resolvers },
      interrupted: links.interrupted || addresses.interrupted || routes.interrupted,
    };
  } finally {
    socket.close();
  }
}

/**
 * Follows the host until `signal` aborts; resolves when nothing of it runs any
 * more. Rejects when the very first reading fails: without it nothing is known.
 *
 * News from the kernel only says that something changed. What the host looks
 * like is always read whole, since some changes are not announced: IPv4 routes
 * that go with their link, for one.
 */
export async function watchHost(signal: AbortSignal, options: WatchHostOptions): Promise<void> {
  const { onSnapshot, onFailure, debounceMs = 50, pollMs = 30_000, resolvers = resolverPaths } = options;
  const news = new News();
  const onAbort = () => news.tell();
  signal.addEventListener('abort', onAbort);
  // Listening starts before the first reading, so that no change falls between the two.
  const listening = new AbortController();
  const listeners = [listenToKernel(listening.signal, news, debounceMs, onFailure)];
  const folders = watchResolvers(resolvers, news);
  let last: HostSnapshot | undefined;
  try {
    while (!signal.aborted) {
      const startedMs = performance.now();
      let waitMs = pollMs;
      try {
        const { snapshot, interrupted } = await readHost(signal, resolvers);
        if (last === undefined || !isDeepStrictEqual(last, snapshot)) onSnapshot(snapshot);
        last = snapshot;
        if (interrupted) news.tell();
      } catch (error) {
        if (signal.aborted) break;
        if (last === undefined) throw error;
        onFailure?.(error as Error);
        waitMs = RETRY_MS;
      }
      const restMs = (performance.now() - startedMs) * REST_PER_READ;
      await news.wait(waitMs);
      if (!signal.aborted) await pause(Math.max(debounceMs, restMs), signal);
      news.forget();
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    listening.abort();
    folders.close();
    await Promise.all(listeners);
  }
}

/** One flag and one waiter. */
class News {
  #told = false;
  #wake: (() => void) | undefined;

  tell(): void {
    this.#told = true;
    this.#wake?.();
  }

  forget(): void {
    this.#told = false;
  }

  /** Resolves once something was told, or after `timeoutMs`. */
  wait(timeoutMs: number): Promise<void> {
    if (this.#told) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), timeoutMs);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}

async function listenToKernel(
  signal: AbortSignal,
  news: News,
  debounceMs: number,
  onFailure: ((error: Error) => void) | undefined,
): Promise<void> {
  while (!signal.aborted) {
    let socket: NetlinkSocket | undefined;
    try {
      socket = new NetlinkSocket(ALL_GROUPS);
      for (;;) {
        await socket.readable(signal);
        // Nothing is read for a while: a storm of changes then costs one wake-up each time, and what overflows meanwhile is no loss.
        await pause(debounceMs, signal);
        drain(socket);
        news.tell();
      }
    } catch (error) {
      if (signal.aborted) break;
      onFailure?.(error as Error);
      await pause(RETRY_MS, signal);
      news.tell();
    } finally {
      socket?.close();
    }
  }
}

function drain(socket: NetlinkSocket): void {
  for (let count = 0; count < MAX_DRAINED; count++) {
    try {
      if (socket.receive() === undefined) return;
    } catch (error) {
      // News was lost, and it says no more than any other: read everything again.
      if (!(error instanceof NetlinkError && error.code === 'ENOBUFS')) throw error;
    }
  }
}

/** Watches the folders rather than the files: these are replaced by rename, and may not be there yet. */
function watchResolvers(paths: ResolverPaths, news: News): { close(): void } {
  const folders = new Set<string>();
  for (const path of [paths.resolvConf, paths.upstreams]) {
    folders.add(dirname(path));
    try {
      folders.add(dirname(realpathSync(path)));
    } catch {
      // Not there: the folder of its name is watched, and the poll finds the rest.
    }
  }
  const watchers = [...folders].flatMap((folder) => {
    try {
      const watcher = watchFolder(folder, (_event, file) => {
        if (file === null || file.includes('resolv')) news.tell();
      });
      watcher.on('error', () => watcher.close());
      return [watcher];
    } catch {
      return [];
    }
  });
  return { close: () => watchers.forEach((watcher) => void watcher.close()) };
}
