import type { Datapath } from './datapath/datapath.ts';
import { decodeEvent, type EventNames } from './datapath/events.ts';
import { connectionEventStruct, eventKind } from './datapath/layout.ts';
import { RingBuffer } from './libbpf/ring-buffer.ts';
import type { ConnectionLog } from './telemetry/connections.ts';
import type { ScanRecorder } from './telemetry/scans.ts';

/** Events between two looks at the clock: a flood is counted, not decoded one by one. */
const EVENTS_A_LOOK = 256;

/** What the reader needs of the datapath: where the ring is, and what numbers in events stand for. */
export type EventSource = Pick<Datapath, 'tables' | 'owners' | 'clock'> & {
  readonly options: { readonly sizes: { readonly maxOwners: number } };
};

/** Reads the ring and hands events to telemetry. A connection beyond the log's rate is only counted, at 20 ns each. */
export class EventReader {
  readonly #datapath: EventSource;
  readonly #scans: ScanRecorder;
  readonly #connections: ConnectionLog;
  readonly #names: EventNames;
  /** Connections by owner since the last look that were not decoded. */
  readonly #counted: Uint32Array;
  readonly #onBlock: () => void;
  #seen = 0;
  #nowMs = 0;
  #hasRoom = true;

  constructor(
    datapath: EventSource,
    to: {
      scans: ScanRecorder;
      connections: ConnectionLog;
      interfaceName: (ifindex: number) => string | undefined;
      /** After each block that was heard of. */
      onBlock?: () => void;
    },
  ) {
    this.#datapath = datapath;
    this.#scans = to.scans;
    this.#connections = to.connections;
    this.#onBlock = to.onBlock ?? (() => {});
    this.#counted = new Uint32Array(datapath.options.sizes.maxOwners);
    this.#names = {
      policy: (owner) => this.#datapath.owners.byId(owner)?.name ?? `#${owner}`,
      interfaceName: (ifindex) => to.interfaceName(ifindex) ?? `#${ifindex}`,
      wallMs: (tick) => datapath.clock.toWallMs(tick),
    };
  }

  async run(signal: AbortSignal): Promise<void> {
    const ring = new RingBuffer(this.#datapath.tables.map('events'));
    await ring.follow(signal, (data, at, bytes) => this.#take(data, at, bytes));
    this.flush();
  }

  /** Tells what was counted and not told yet; to be called about once a second, for the end of a flood. */
  flush(): void {
    this.#look();
  }

  #take(data: DataView, at: number, bytes: number): void {
    if (this.#seen++ % EVENTS_A_LOOK === 0) this.#look();
    if (data.getUint32(at, true) === eventKind.EVENT_CONNECTION && !this.#hasRoom) {
      const owner = data.getUint32(at + connectionEventStruct.owner, true);
      if (owner < this.#counted.length) this.#counted[owner]!++;
      return;
    }
    // Copied: the ring's place is written again as soon as it is let go.
    const record = Buffer.from(new Uint8Array(data.buffer, data.byteOffset + at, bytes));
    const event = decodeEvent(record, this.#names);
    if (event?.kind === 'connection') {
      this.#connections.add(event, this.#nowMs);
      this.#hasRoom = this.#connections.hasRoom(this.#nowMs);
    } else if (event?.kind === 'block') {
      this.#scans.onEvent(event, this.#nowMs);
      this.#onBlock();
    }
  }

  #look(): void {
    this.#nowMs = Date.now();
    for (const [owner, count] of this.#counted.entries()) {
      if (count === 0) continue;
      this.#connections.count(this.#names.policy(owner), count, this.#nowMs);
      this.#counted[owner] = 0;
    }
    this.#hasRoom = this.#connections.hasRoom(this.#nowMs);
  }
}
