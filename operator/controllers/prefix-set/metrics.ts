import { Counter, Histogram, type Registry } from 'prom-client';
import type { PrefixSetResult } from '../ip-blocklist/prefix-set.ts';

export class PrefixSetMetrics {
  readonly #reads: Counter;
  readonly #duration: Histogram;
  readonly #written: Counter;
  readonly #deleted: Counter;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#reads = new Counter({
      name: 'portcullis_operator_prefix_set_reads_total',
      help: 'Times that the ConfigMaps of a list were read, by what came of it.',
      labelNames: ['outcome'],
      registers,
    });
    this.#duration = new Histogram({
      name: 'portcullis_operator_prefix_set_read_duration_seconds',
      help: 'How long it took to read the ConfigMaps of a list and to cut them into chunks.',
      buckets: [0.01, 0.05, 0.2, 1, 5, 20],
      registers,
    });
    this.#written = new Counter({
      name: 'portcullis_operator_prefix_chunks_written_total',
      help: 'PrefixChunks that were made.',
      registers,
    });
    this.#deleted = new Counter({
      name: 'portcullis_operator_prefix_chunks_deleted_total',
      help: 'PrefixChunks that were deleted since no list names them.',
      registers,
    });
    for (const outcome of ['complete', 'lines-refused', 'kept']) this.#reads.inc({ outcome }, 0);
  }

  /** What it returns is called when the read is done. */
  startRead(): (result: PrefixSetResult) => void {
    const end = this.#duration.startTimer();
    return ({ problem, refused }) => {
      end();
      this.#reads.inc({ outcome: problem ? 'kept' : refused > 0 ? 'lines-refused' : 'complete' });
    };
  }

  written(): void {
    this.#written.inc();
  }

  deleted(): void {
    this.#deleted.inc();
  }
}
