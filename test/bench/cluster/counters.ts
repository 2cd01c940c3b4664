/** What is counted elsewhere: by the API server, and by the kernel for processes and connections. */
import { readdirSync, readFileSync } from 'node:fs';
import { run } from '../../support/command.ts';

const writeVerbs = ['APPLY', 'PATCH', 'POST', 'PUT', 'DELETE', 'DELETECOLLECTION'];

/** By `VERB resource[/subresource]`, and ` 429` where the server had no time: requests that it has answered, whatever the answer. */
export function requestsOf(metrics: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const [, labels, value] of metrics.matchAll(/^apiserver_request_total\{([^}]*)\} (\S+)$/gm)) {
    const label = (name: string) => new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(labels!)?.[1] ?? '';
    const subresource = label('subresource');
    const off = label('code') === '429' ? ' 429' : '';
    const key = `${label('verb')} ${label('resource')}${subresource === '' ? '' : `/${subresource}`}${off}`;
    found.set(key, (found.get(key) ?? 0) + Number(value));
  }
  return found;
}

export const isWrite = (key: string): boolean => writeVerbs.includes(key.slice(0, key.indexOf(' ')));

/** `later` less `earlier`, without what did not change. */
export function difference(later: ReadonlyMap<string, number>, earlier: ReadonlyMap<string, number>) {
  const changed = [...later].map(([key, count]) => [key, count - (earlier.get(key) ?? 0)] as const);
  return new Map(changed.filter(([, count]) => count !== 0).sort(([, a], [, b]) => b - a));
}

export const sum = (counts: Iterable<number>): number => [...counts].reduce((total, count) => total + count, 0);

export interface Connection {
  readonly pid: number;
  readonly localPort: number;
  /** TLS included, TCP and IP headers not. */
  readonly received: number;
  readonly sent: number;
}

/** TCP connections of this network namespace to a port, with what the kernel has counted on them. */
export async function connectionsTo(port: number): Promise<readonly Connection[]> {
  const { stdout } = await run(['ss', '-HtinpO', 'state', 'established', `dport = :${port}`]);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const number = (pattern: RegExp) => Number(pattern.exec(line)?.[1] ?? 0);
      return {
        pid: number(/pid=(\d+)/),
        localPort: number(/^\s*\d+\s+\d+\s+\S+:(\d+)\s/),
        received: number(/bytes_received:(\d+)/),
        sent: number(/bytes_acked:(\d+)/),
      };
    });
}

const ticksPerSecond = 100;

/** Seconds of CPU that a process has used, its threads included. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name, in parentheses, may hold anything; utime and stime are the 14th and 15th field.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/**
 * Seconds that threads of a process were ready to run and had no core: what a busy machine adds to every time that is measured.
 * Threads that have ended are not counted.
 */
export function waitSeconds(pid: number): number {
  const folder = `/proc/${pid}/task`;
  return sum(
    readdirSync(folder).map((task) => {
      try {
        return Number(readFileSync(`${folder}/${task}/schedstat`, 'utf8').split(' ')[1]) / 1e9;
      } catch {
        return 0;
      }
    }),
  );
}

export function memoryOf(pid: number): { readonly rssMiB: number; readonly peakMiB: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
  return { rssMiB: field('VmRSS'), peakMiB: field('VmHWM') };
}

/** Processes that ran or wanted to, averaged over a minute. */
export const load = (): number => Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]);
