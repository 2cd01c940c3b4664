import { PortcullisError } from '../../api/errors.ts';
import type { BpfProgram } from '../libbpf/program.ts';
import { KernelClock } from './clock.ts';
import { ConcernFilter } from './concern.ts';
import { loadClockProgram } from './kernel.ts';
import { ManualBlocks } from './manual.ts';
import { Owners } from './owners.ts';
import { Pins } from './pins.ts';
import { checkCapabilities, explainRefusal } from './privileges.ts';
import { NodeTables } from './tables.ts';

/** The pinned tables as commands use them, whether an agent runs or not. Dispose of it after use. */
export class PinnedDatapath implements Disposable {
  readonly pins: Pins;
  readonly tables: NodeTables;
  readonly owners: Owners;
  readonly clock: KernelClock;
  readonly manual: ManualBlocks;
  readonly concern: ConcernFilter;
  readonly #clockProgram: BpfProgram;

  private constructor(pins: Pins, tables: NodeTables, clockProgram: BpfProgram) {
    this.pins = pins;
    this.tables = tables;
    this.#clockProgram = clockProgram;
    this.owners = new Owners(tables.map('owners'));
    this.clock = new KernelClock(clockProgram, tables.layout.ticksPerSecond);
    this.manual = new ManualBlocks(tables);
    this.concern = new ConcernFilter(tables.map('concern'), tables.layout.secret[0]);
  }

  /** @throws PortcullisError NotRoot, NothingPinned, LayoutMismatch, LayoutForeign */
  static async open(pinPath: string): Promise<PinnedDatapath> {
    if (process.geteuid?.() !== 0) throw new PortcullisError('NotRoot', 'reading pinned tables needs root', {});
    checkCapabilities();
    const pins = new Pins(pinPath);
    const tables = pins.exists() ? openTables(pins) : undefined;
    if (!tables)
      throw new PortcullisError('NothingPinned', `nothing is pinned at ${pinPath}`, {
        field: '--pin-path',
        value: pinPath,
      });
    return new PinnedDatapath(pins, tables, await loadClockProgram());
  }

  [Symbol.dispose](): void {
    this.concern.close();
    this.tables.close();
    this.#clockProgram.close();
  }
}

const openTables = (pins: Pins): NodeTables | undefined => {
  try {
    return NodeTables.openExisting(pins);
  } catch (error) {
    throw explainRefusal(error);
  }
};
