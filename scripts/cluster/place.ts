import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where the cluster to play with is found. In a folder of root's own: a fixed name in /tmp would be anybody's. */
export const home = process.env.PORTCULLIS_CLUSTER_HOME || '/run/portcullis-cluster';
export const place = {
  kubeconfig: join(home, 'kubeconfig'),
  /** Programs for who plays: kubectl and its plugin. */
  bin: join(home, 'bin'),
  logs: join(home, 'log'),
  pid: join(home, 'pid'),
  /** Written when all of it runs. */
  ready: join(home, 'ready'),
  attacker: join(home, 'attacker'),
} as const;

/** The process that holds the cluster, undefined when none does. */
export function holder(): number | undefined {
  try {
    const pid = Number(readFileSync(place.pid, 'utf8'));
    // Ids are given out again: only a process that is what was started counts.
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return command.some((part) => part.endsWith('scripts/cluster.ts')) && command.includes('hold') ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** False for a process that has ended, whether or not somebody has taken note of that: in containers often nobody does. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
