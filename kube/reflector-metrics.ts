import { Counter, Gauge, type Registry } from 'prom-client';
import type { Verb } from './http-client.ts';
import type { ReflectorObserver, RestartReason } from './reflector.ts';

type Gauges = Parameters<ReflectorObserver['track']>[1];

/** Metrics of the requests and watches of one program; give one to its client and its reflectors. */
export class KubeMetrics implements ReflectorObserver {
  readonly #tracked = new Map<string, Gauges>();
  readonly #restarts: Counter<'resource' | 'reason'>;
  readonly #listFailures: Counter<'resource'>;
  readonly #handlerErrors: Counter<'resource'>;
  readonly #requests: Counter<'verb' | 'code'>;

  constructor(registry: Registry) {
    const registers = [registry];
    const tracked = this.#tracked;
    new Gauge({
      name: 'portcullis_kube_watch_age_seconds',
      help: 'Time since the API server last told something of this kind: an event, a bookmark or a list.',
      labelNames: ['resource'],
      registers,
      collect() {
        this.reset();
        for (const [resource, gauges] of tracked) this.set({ resource }, gauges.ageSeconds());
      },
    });
    new Gauge({
      name: 'portcullis_kube_objects',
      help: 'Objects of this kind in the copy that the watch keeps.',
      labelNames: ['resource'],
      registers,
      collect() {
        this.reset();
        for (const [resource, gauges] of tracked) this.set({ resource }, gauges.objects());
      },
    });
    this.#restarts = new Counter({
      name: 'portcullis_kube_watch_restarts_total',
      help: 'Watches opened anew, by the reason for which the one before ended.',
      labelNames: ['resource', 'reason'],
      registers,
    });
    this.#listFailures = new Counter({
      name: 'portcullis_kube_list_failures_total',
      help: 'Lists that failed and are tried again.',
      labelNames: ['resource'],
      registers,
    });
    this.#handlerErrors = new Counter({
      name: 'portcullis_kube_handler_errors_total',
      help: 'Changes that the program failed to take; each is offered again.',
      labelNames: ['resource'],
      registers,
    });
    this.#requests = new Counter({
      name: 'portcullis_kube_requests_total',
      help: 'Requests to the API server by class of the answer: 2xx to 5xx, 429, or none.',
      labelNames: ['verb', 'code'],
      registers,
    });
  }

  track(name: string, gauges: Gauges): () => void {
    this.#tracked.set(name, gauges);
    // There from the start, since an absent counter cannot be told from one that nobody scraped. Of the reasons the usual one alone:
    // each is a series of each kind on each node.
    this.#restarts.inc({ resource: name, reason: 'ended' satisfies RestartReason }, 0);
    this.#listFailures.inc({ resource: name }, 0);
    this.#handlerErrors.inc({ resource: name }, 0);
    return () => {
      if (this.#tracked.get(name) === gauges) this.#tracked.delete(name);
    };
  }

  restarted(resource: string, reason: RestartReason): void {
    this.#restarts.inc({ resource, reason });
  }

  listFailed(resource: string): void {
    this.#listFailures.inc({ resource });
  }

  handlerFailed(resource: string): void {
    this.#handlerErrors.inc({ resource });
  }

  /** `status` 0: no answer. */
  request(verb: Verb, status: number): void {
    this.#requests.inc({ verb, code: classOf(status) });
  }
}

function classOf(status: number): string {
  if (status === 0) return 'none';
  // Apart from the other 4xx: it says that one is too fast, not wrong.
  return status === 429 ? '429' : `${Math.floor(status / 100)}xx`;
}
