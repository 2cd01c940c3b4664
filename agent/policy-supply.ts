import type { Registry } from 'prom-client';
import type { ScrapeAccess } from '../cli/scrape-access.ts';
import type { Finding } from './finding.ts';
import type { NodeReportObject } from './report/node-report.ts';
import type { RunSettings } from './settings.ts';
import type { PolicySnapshot } from './source/policy-source.ts';
import type { StateStore } from './state/state-store.ts';
import type { Log } from './telemetry/log.ts';

/** Where an agent's policies come from, what is kept of them over a restart, and who hears what became of them. */
export interface PolicySupply {
  /** What an earlier run knew is known. */
  readonly hasLastGood: boolean;
  /** What it waits for while it has no policies to give; undefined where it does not depend on anybody. */
  readonly waitsFor: string | undefined;
  /** Gives snapshots, and writes reports, until `signal` aborts and all of it has ended. */
  run(signal: AbortSignal, onSnapshot: (snapshot: PolicySnapshot) => void): Promise<void>;
  /** Writes down what a restart needs. @throws when the disk refuses */
  save(): Promise<void>;
  /** What is wrong with the supply itself, beside what its snapshots say. */
  findings(): readonly Finding[];
  /** Offers the report of this node; `build` is called when its turn comes. Nobody wants one of a host without cluster. */
  readonly offerReport?: (build: (node: { readonly name: string }) => NodeReportObject) => void;
  /** Who may scrape, where that is asked of an API server. */
  readonly scrapeAccess?: ScrapeAccess | undefined;
}

export interface SupplyParts {
  readonly settings: RunSettings;
  readonly state: StateStore | undefined;
  readonly log: Log;
  /** For metrics of what it does. */
  readonly registry: Registry;
}

/** Loads only what is needed: a reader of YAML costs 2 MB of memory, what talks to an API server 10. */
export async function openSupply(parts: SupplyParts): Promise<PolicySupply> {
  if (parts.settings.kubernetes) return await (await import('./cluster-supply.ts')).openCluster(parts);
  return await (await import('./directory-supply.ts')).openDirectory(parts);
}
