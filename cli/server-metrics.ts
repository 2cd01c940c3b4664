import { Counter, type Registry } from 'prom-client';
import { type Refusal, refusals } from './scrape-access.ts';

/** Counts what the server of the metrics refuses. */
export class ServerMetrics {
  readonly #refused: Counter<'reason'>;
  readonly #tlsFailures: Counter;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#refused = new Counter({
      name: 'portcullis_scrapes_refused_total',
      help: 'Scrapes that were refused, by the reason, and connections beyond what one host, or all, may have.',
      labelNames: ['reason'],
      registers,
    });
    this.#tlsFailures = new Counter({
      name: 'portcullis_metrics_tls_failures_total',
      help: 'Looks at tls.crt and tls.key, every 10 seconds, that found a pair which cannot be used. The one before stays.',
      registers,
    });
    // A series that begins at 0 lets rate() and increase() see its first step.
    for (const reason of [...Object.keys(refusals), 'too-many-connections']) this.#refused.inc({ reason }, 0);
  }

  refused(reason: Refusal | 'too-many-connections'): void {
    this.#refused.inc({ reason });
  }

  tlsFailed(): void {
    this.#tlsFailures.inc();
  }
}
