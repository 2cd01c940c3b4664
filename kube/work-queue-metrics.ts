import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { WorkQueueObserver } from './work-queue.ts';

/** Metrics of all work queues of a program, by the name of the queue. */
export class WorkQueueMetrics {
  readonly #depth: Gauge;
  readonly #adds: Counter;
  readonly #retries: Counter;
  readonly #runs: Histogram;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#depth = new Gauge({
      name: 'portcullis_kube_queue_depth',
      help: 'Objects that wait to be looked at.',
      labelNames: ['queue'],
      registers,
    });
    this.#adds = new Counter({
      name: 'portcullis_kube_queue_adds_total',
      help: 'Times that an object was to be looked at, before equal ones became one.',
      labelNames: ['queue'],
      registers,
    });
    this.#retries = new Counter({
      name: 'portcullis_kube_queue_retries_total',
      help: 'Runs that failed and are tried again.',
      labelNames: ['queue'],
      registers,
    });
    this.#runs = new Histogram({
      name: 'portcullis_kube_queue_run_duration_seconds',
      help: 'How long it took to look at one object.',
      labelNames: ['queue', 'outcome'],
      // From a run that finds nothing to do up to one that waits out a request's 30 s.
      buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2, 10, 30],
      registers,
    });
  }

  /** For the queue of that name. */
  of(queue: string): WorkQueueObserver {
    // All of them are there from the start: an absent counter cannot be told from one that nobody scraped.
    this.#depth.set({ queue }, 0);
    this.#adds.inc({ queue }, 0);
    this.#retries.inc({ queue }, 0);
    return {
      added: () => this.#adds.inc({ queue }),
      retried: () => this.#retries.inc({ queue }),
      depth: (keys) => this.#depth.set({ queue }, keys),
      ran: (durationMs, outcome) => this.#runs.observe({ queue, outcome }, durationMs / 1000),
    };
  }
}
