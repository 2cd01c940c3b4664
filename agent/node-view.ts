import { blockRecords } from './datapath/blocks.ts';
import type { Datapath } from './datapath/datapath.ts';
import { readView } from './datapath/read-view.ts';
import type { TrackedSources } from './datapath/tracked-sources.ts';
import type { BlockRecord, DatapathView } from './datapath/view.ts';
import type { HostSnapshot } from './host/snapshot.ts';

/** A full table is 65,536 records, which log, status, report and metrics may well share. */
const BLOCKS_MAX_AGE_MS = 1000;

/** What log, status, report and metrics read of the kernel, with interfaces by their names. */
export class NodeView {
  readonly #datapath: Datapath;
  readonly #tracked: TrackedSources;
  /** The newest that is known of the host. */
  host: HostSnapshot | undefined;
  #blocks: { readonly atMs: number; readonly records: readonly BlockRecord[] } | undefined;

  constructor(datapath: Datapath, tracked: TrackedSources) {
    this.#datapath = datapath;
    this.#tracked = tracked;
  }

  interfaceName(ifindex: number): string | undefined {
    return this.host?.links.find((link) => link.ifindex === ifindex)?.name ?? this.#datapath.interfaceName(ifindex);
  }

  /** At most a second old, unless forgetBlocks() was called since. */
  blocks(): readonly BlockRecord[] {
    const atMs = performance.now();
    if (this.#blocks && atMs - this.#blocks.atMs < BLOCKS_MAX_AGE_MS) return this.#blocks.records;
    const { tables, owners, clock } = this.#datapath;
    const records = blockRecords(tables, owners, clock, (ifindex) => this.interfaceName(ifindex));
    this.#blocks = { atMs, records };
    return records;
  }

  /** Something is known to have changed: the next blocks() reads them. */
  forgetBlocks(): void {
    this.#blocks = undefined;
  }

  datapath(): DatapathView {
    return readView({
      tables: this.#datapath.tables,
      owners: this.#datapath.owners,
      links: this.#datapath.attachedInterfaces(),
      setFill: this.#datapath.setFill(),
      sizes: this.#datapath.options.sizes,
      tracked: this.#tracked.counts,
      interfaceName: (ifindex) => this.interfaceName(ifindex),
    });
  }
}
