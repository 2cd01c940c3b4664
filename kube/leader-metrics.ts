import { Counter, Gauge, type Registry } from 'prom-client';
import type { LeaderChange } from './leader.ts';

/** Gives what LeaderOptions.onChange takes. */
export function leaderMetrics(registry: Registry, lease: string): (change: LeaderChange) => void {
  const registers = [registry];
  const leader = new Gauge({
    name: 'portcullis_kube_leader',
    help: '1 while this process leads.',
    labelNames: ['lease'],
    registers,
  });
  const changes = new Counter({
    name: 'portcullis_kube_leader_changes_total',
    help: 'Times that this process gained, released or lost the lead.',
    labelNames: ['lease', 'change'],
    registers,
  });
  leader.set({ lease }, 0);
  for (const change of ['gained', 'released', 'lost'] satisfies LeaderChange[]) changes.inc({ lease, change }, 0);
  return (change) => {
    leader.set({ lease }, change === 'gained' ? 1 : 0);
    changes.inc({ lease, change });
  };
}
