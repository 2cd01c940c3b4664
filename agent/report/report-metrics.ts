import { Counter, Gauge, type Registry } from 'prom-client';
import type { Reporter } from './reporter.ts';

/** Shows on the agent's registry what became of the reports. */
export function registerReportMetrics(
  registry: Registry,
  reporter: Pick<Reporter, 'counts' | 'lastSuccessAgeMs'>,
): void {
  const registers = [registry];
  new Counter({
    name: 'portcullis_report_writes_total',
    help: 'Attempts to write the NodeReport of this node, by what came of them.',
    labelNames: ['result'],
    registers,
    collect() {
      this.reset();
      const { ok, refused, unanswered } = reporter.counts;
      this.inc({ result: 'ok' }, ok);
      this.inc({ result: 'refused' }, refused);
      this.inc({ result: 'unanswered' }, unanswered);
    },
  });
  new Counter({
    name: 'portcullis_report_suppressed_total',
    help: 'Changes of the report that were not written by themselves, to spare the API server.',
    registers,
    collect() {
      this.reset();
      this.inc(reporter.counts.suppressed);
    },
  });
  new Gauge({
    name: 'portcullis_report_last_success_age_seconds',
    help: 'Seconds since the NodeReport was last written; no value before the first time.',
    registers,
    collect() {
      const ageMs = reporter.lastSuccessAgeMs;
      if (ageMs === undefined) this.remove();
      else this.set(ageMs / 1000);
    },
  });
}
