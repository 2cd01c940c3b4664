import type { FlowLookups } from './blocked.ts';
import type { ModelTables } from './tables.ts';
import { decide, type ModelConfig, type Outcome } from './verdict.ts';

export type { ModelConfig, Outcome } from './verdict.ts';

/** A policy as its defaults make it, at 100 ticks a second, but with a threshold that tests reach soon. */
export const DEFAULT_CONFIG: ModelConfig = {
  enforce: true,
  detect: true,
  allDestinations: false,
  blockAllTraffic: false,
  logConnections: false,
  policy: 1,
  threshold: 3,
  windowTicks: 6_000,
  blockTicks: 60_000,
  unprovenTicks: 6_000,
  ipv6PrefixLength: 64,
  setSlot: 0,
  maxExtensionHeaders: 8,
  ifindex: 1,
};

const NO_FLOWS: FlowLookups = { tcp: () => undefined, udp: () => undefined, tracked: () => undefined };

/**
 * The datapath of one interface as readable TypeScript. Interfaces of one node share their tables. Not in it: table
 * sizes and what is evicted when one is full, budgets for events.
 */
export class Model {
  readonly config: ModelConfig;
  readonly tables: ModelTables;
  readonly #flows: FlowLookups;

  constructor(config: ModelConfig, tables: ModelTables, flows: Partial<FlowLookups> = {}) {
    this.config = config;
    this.tables = tables;
    this.#flows = { ...NO_FLOWS, ...flows };
  }

  process(frame: Buffer, nowTick: number): Outcome {
    return decide(frame, nowTick, { config: this.config, tables: this.tables, flows: this.#flows });
  }
}
