import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning } from '../../test/support/is-running.ts';

/** Where the cluster to play with is found. In a folder of root's own: a fixed name in /tmp would be anybody's. */
export const home = process.env.PORTCULLIS_CLUSTER_HOME || '/run/portcullis-cluster';
export const place = {
  kubeconfig: join(home, 'kubeconfig'),
  /** Programs for who plays: kubectl and its plugin, helm, `attacker`. */
  bin: join(home, 'bin'),
  /** Its own words. */
  log: join(home, 'log'),
  /** A link to the folder with the logs of all programs. */
  logs: join(home, 'logs'),
  pid: join(home, 'pid'),
  /** Written when all of it runs. */
  ready: join(home, 'ready'),
} as const;

/** The process that was started last to hold the cluster, whether or not it still runs. */
export function lastHolder(): number | undefined {
  try {
    return Number(readFileSync(place.pid, 'utf8'));
  } catch {
    return undefined;
  }
}

/** The process that holds the cluster, undefined when none does. */
export function holder(): number | undefined {
  const pid = lastHolder();
  if (pid === undefined || !isRunning(pid)) return undefined;
  // Ids are given out again: only a process that is what was started counts.
  const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  return command.some((part) => part.endsWith('scripts/cluster.ts')) && command.includes('hold') ? pid : undefined;
}
