/** What the datapath is built from: the agent's settings, and where its parts are. */
export interface DatapathOptions {
  /** A folder on a bpffs; created when it is not there. */
  readonly pinPath: string;
  readonly xdpMode: 'auto' | 'native' | 'generic';
  readonly maxExtensionHeaders: number;
  /** Each CPU. */
  readonly connectionEventsPerSecond: number;
  /** Each CPU. */
  readonly blockEventsPerSecond: number;
  readonly sizes: TableSizes;
}

export interface TableSizes {
  /** Power of two; each guards 56 first targets (24 guaranteed) and 3 tracked sources. */
  readonly domains: number;
  readonly maxBlocks: number;
  readonly maxManualBlocks: number;
  /** Never-block and on-link prefixes, each family. */
  readonly maxNeverBlock: number;
  readonly maxOwnAddresses: number;
  /** Flattened, for one group of interfaces, each family. */
  readonly maxListEntries: number;
  readonly maxAllowEntries: number;
  readonly maxOwners: number;
  /** Power of two, at least 16. */
  readonly concernCells: number;
  /** Power of two, at least a page. */
  readonly ringBufferBytes: number;
}

export const defaultSizes: TableSizes = {
  domains: 32_768,
  maxBlocks: 65_536,
  maxManualBlocks: 4096,
  maxNeverBlock: 4096,
  maxOwnAddresses: 4096,
  maxListEntries: 262_144,
  maxAllowEntries: 65_536,
  maxOwners: 256,
  concernCells: 1_048_576,
  ringBufferBytes: 1_048_576,
};
