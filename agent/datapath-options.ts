import type { DatapathOptions } from './datapath/options.ts';
import { type RunSettings, trackingDomains } from './settings.ts';

/** What the datapath is told of the settings. */
export const datapathOptions = (settings: RunSettings): DatapathOptions => ({
  pinPath: settings.pinPath,
  xdpMode: settings.xdpMode,
  maxExtensionHeaders: settings.maxExtensionHeaders,
  connectionEventsPerSecond: settings.connectionEventsPerSecond,
  blockEventsPerSecond: settings.blockEventsPerSecond,
  sizes: {
    domains: trackingDomains(settings.maxFirstTargets),
    maxBlocks: settings.maxBlocks,
    maxManualBlocks: settings.maxManualBlocks,
    maxNeverBlock: settings.maxNeverBlock,
    maxOwnAddresses: settings.maxOwnAddresses,
    maxListEntries: settings.maxListEntries,
    maxAllowEntries: settings.maxAllowEntries,
    maxOwners: settings.maxOwners,
    concernCells: settings.concernCells,
    ringBufferBytes: settings.ringBufferBytes,
  },
});
