import { type BpfMap, u32 } from '../libbpf/map.ts';
import type { OwnerKey } from '../resolve/desired-state.ts';
import { ownerKind, ownerStruct } from './layout.ts';

/** A retired id waits as long as the longest window: until then tracking may still hold votes under it. */
const RETIREMENT_MS = 3_600_000;

const kinds = {
  PortScanPolicy: ownerKind.OWNER_PORT_SCAN_POLICY,
  IpBlocklist: ownerKind.OWNER_IP_BLOCKLIST,
} as const;

export interface Owner extends OwnerKey {
  readonly id: number;
  /** Wall clock; 0 = in use. */
  readonly retiredAtMs: number;
}

/** Ids by which the kernel's tables name policies and lists; pinned, so that ids and counters outlive the agent. Id 0 is the node. */
export class Owners {
  readonly #map: BpfMap;
  readonly #owners = new Map<number, Owner>();

  constructor(map: BpfMap) {
    this.#map = map;
    for (const { key, value } of map.entries()) {
      const kind = value.readUInt32LE(ownerStruct.kind);
      const name = value.toString(
        'utf8',
        ownerStruct.name,
        ownerStruct.name + value.readUInt32LE(ownerStruct.nameBytes),
      );
      const known = Object.entries(kinds).find(([, number]) => number === kind);
      if (!known) continue;
      const id = key.readUInt32LE(0);
      const retiredAtMs = Number(value.readBigUInt64LE(ownerStruct.retiredAtMs));
      this.#owners.set(id, { id, kind: known[0] as OwnerKey['kind'], name, retiredAtMs });
    }
  }

  get all(): readonly Owner[] {
    return [...this.#owners.values()];
  }

  get capacity(): number {
    return this.#map.shape.maxEntries - 1;
  }

  byId(id: number): Owner | undefined {
    return this.#owners.get(id);
  }

  idOf({ kind, name }: OwnerKey): number | undefined {
    for (const owner of this.#owners.values())
      if (owner.kind === kind && owner.name === name && owner.retiredAtMs === 0) return owner.id;
    return undefined;
  }

  /**
   * Gives every wanted object an id and retires the others. Returns the ids that were retired by this call, whose
   * blocks are to be lifted, and the objects for which there is no id left.
   */
  assign(wanted: readonly OwnerKey[], nowMs: number, keepOthers = false): { retired: number[]; refused: OwnerKey[] } {
    const names = new Set(wanted.map(({ kind, name }) => `${kind}/${name}`));
    const retired: number[] = [];
    for (const owner of this.all) {
      if (keepOthers || owner.retiredAtMs !== 0 || names.has(`${owner.kind}/${owner.name}`)) continue;
      this.#write({ ...owner, retiredAtMs: nowMs });
      retired.push(owner.id);
    }
    const refused: OwnerKey[] = [];
    for (const key of wanted) {
      if (this.idOf(key) !== undefined) continue;
      const id = this.#idFor(key, nowMs);
      if (id === undefined) refused.push(key);
      else this.#write({ ...key, id, retiredAtMs: 0 });
    }
    return { retired, refused };
  }

  /** The same name gets its old id and counters back; else a free one, else one whose retirement is over. */
  #idFor({ kind, name }: OwnerKey, nowMs: number): number | undefined {
    const before = this.all.find((owner) => owner.kind === kind && owner.name === name);
    if (before) return before.id;
    for (let id = 1; id < this.#map.shape.maxEntries; id++) if (!this.#owners.has(id)) return id;
    const over = this.all
      .filter(({ retiredAtMs }) => retiredAtMs !== 0 && nowMs - retiredAtMs >= RETIREMENT_MS)
      .sort((a, b) => a.retiredAtMs - b.retiredAtMs);
    return over[0]?.id;
  }

  #write(owner: Owner): void {
    const value = Buffer.alloc(ownerStruct.bytes);
    value.writeUInt32LE(kinds[owner.kind], ownerStruct.kind);
    // Object names are at most 253 bytes of ASCII.
    value.writeUInt32LE(value.write(owner.name, ownerStruct.name, 'utf8'), ownerStruct.nameBytes);
    value.writeBigUInt64LE(BigInt(owner.retiredAtMs), ownerStruct.retiredAtMs);
    this.#map.update(u32(owner.id), value);
    this.#owners.set(owner.id, owner);
  }
}
