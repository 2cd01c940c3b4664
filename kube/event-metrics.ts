import { Counter, type Registry } from 'prom-client';
import type { EventLoss, EventObserver } from './events.ts';

export function eventMetrics(registry: Registry): EventObserver {
  const written = new Counter({
    name: 'portcullis_kube_events_written_total',
    help: 'Writes of Events, first ones and new counts.',
    registers: [registry],
  });
  const lost = new Counter({
    name: 'portcullis_kube_events_lost_total',
    help: 'Occurrences that no Event counts.',
    labelNames: ['reason'],
    registers: [registry],
  });
  for (const reason of ['evicted', 'refused', 'ended'] satisfies EventLoss[]) lost.inc({ reason }, 0);
  return {
    written: () => written.inc(),
    lost: (occurrences, reason) => lost.inc({ reason }, occurrences),
  };
}
