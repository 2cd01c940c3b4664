import { Counter, Gauge, type Registry } from 'prom-client';
import type { RefusedFact } from './read-facts.ts';
import { type FactsSlices, sliceNames } from './reconcile.ts';

const reasons: readonly RefusedFact['reason'][] = ['NotAnAddress', 'NotAPrefix', 'NotUsable', 'TooWide', 'TooMany'];

export class ClusterFactsMetrics {
  readonly #prefixes: Gauge;
  readonly #refused: Gauge;
  readonly #withoutRanges: Gauge;
  readonly #writes: Counter;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#prefixes = new Gauge({
      name: 'portcullis_operator_facts_prefixes',
      help: 'Prefixes that are published for the never-block set.',
      labelNames: ['holds'],
      registers,
    });
    this.#refused = new Gauge({
      name: 'portcullis_operator_facts_refused',
      help: 'Addresses and ranges that objects of the cluster claim now and that are not believed.',
      labelNames: ['reason'],
      registers,
    });
    this.#withoutRanges = new Gauge({
      name: 'portcullis_operator_nodes_without_pod_ranges',
      help: 'Nodes that do not tell the ranges of their pods.',
      registers,
    });
    this.#writes = new Counter({
      name: 'portcullis_operator_facts_writes_total',
      help: 'Slices of ClusterFacts that were written or deleted.',
      registers,
    });
  }

  show(slices: FactsSlices, refused: readonly RefusedFact[], nodesWithoutPodRanges: number): void {
    for (const holds of Object.keys(sliceNames)) {
      const ofSort = [...slices.values()].filter((slice) => slice.holds === holds);
      this.#prefixes.set(
        { holds },
        ofSort.reduce((sum, { count }) => sum + count, 0),
      );
    }
    for (const reason of reasons) {
      this.#refused.set({ reason }, refused.filter((fact) => fact.reason === reason).length);
    }
    this.#withoutRanges.set(nodesWithoutPodRanges);
  }

  wrote(): void {
    this.#writes.inc();
  }
}
