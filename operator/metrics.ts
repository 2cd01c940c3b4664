import { Gauge, type Registry } from 'prom-client';
import { ServerMetrics } from '../cli/server-metrics.ts';
import { eventMetrics } from '../kube/event-metrics.ts';
import type { EventObserver } from '../kube/events.ts';
import type { LeaderChange } from '../kube/leader.ts';
import { leaderMetrics } from '../kube/leader-metrics.ts';
import { KubeMetrics } from '../kube/reflector-metrics.ts';
import { WorkQueueMetrics } from '../kube/work-queue-metrics.ts';

/** Metrics that every replica has, leader or not; those of a controller come with it. */
export interface OperatorMetrics {
  readonly kube: KubeMetrics;
  readonly queues: WorkQueueMetrics;
  readonly events: EventObserver;
  readonly leaderChanged: (change: LeaderChange) => void;
  readonly server: ServerMetrics;
}

export function operatorMetrics(registry: Registry, version: string, leaseName: string): OperatorMetrics {
  new Gauge({
    name: 'portcullis_operator_info',
    help: '1, with the version of the operator.',
    labelNames: ['version'],
    registers: [registry],
  }).set({ version }, 1);
  return {
    kube: new KubeMetrics(registry),
    queues: new WorkQueueMetrics(registry),
    events: eventMetrics(registry),
    leaderChanged: leaderMetrics(registry, leaseName),
    server: new ServerMetrics(registry),
  };
}
