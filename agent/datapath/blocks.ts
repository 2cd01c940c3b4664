import type { Prefix } from '../../api/cidr.ts';
import { BpfError } from '../libbpf/bpf-error.ts';
import { updateFlag } from '../libbpf/map.ts';
import type { TickClock } from './clock.ts';
import {
  type BlockKey,
  type BlockValue,
  blockState,
  decodeBlock,
  decodeBlockKey,
  encodeBlock,
  encodeBlockKey,
  formatSource,
} from './codec.ts';
import { blockFlag } from './layout.ts';
import { ManualBlocks } from './manual.ts';
import type { Owners } from './owners.ts';
import type { NodeTables } from './tables.ts';
import type { BlockRecord } from './view.ts';

export interface ScanBlock {
  readonly key: BlockKey;
  readonly value: BlockValue;
}

export const readScanBlocks = (tables: NodeTables): ScanBlock[] =>
  [...tables.map('blocks').entries()].map(({ key, value }) => ({
    key: decodeBlockKey(key),
    value: decodeBlock(value),
  }));

/** Deletes what has expired and what belongs to owners that are gone. The kernel checks expiry itself: this only makes room. */
export const collectBlocks = (tables: NodeTables, now: bigint, retired: ReadonlySet<number> = new Set()): number => {
  const map = tables.map('blocks');
  let deleted = 0;
  for (const { key, value } of readScanBlocks(tables)) {
    if (value.until > now && !retired.has(key.owner)) continue;
    const name = encodeBlockKey(key);
    // Reading a large table takes a while, in which the kernel may have blocked the source anew.
    const standing = map.lookup(name);
    if (!standing || (decodeBlock(standing).until > now && !retired.has(key.owner))) continue;
    if (map.delete(name)) deleted++;
  }
  return deleted;
};

/** Puts a block back after a reboot, unless the kernel has made one of the same source meanwhile. False when there is no room. */
export const restoreBlock = (tables: NodeTables, key: BlockKey, value: BlockValue): boolean => {
  try {
    tables.map('blocks').update(encodeBlockKey(key), encodeBlock(value), updateFlag.noExist);
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    if (error.code === 'E2BIG' || error.code === 'ENOSPC') return false;
    if (error.code !== 'EEXIST') throw error;
  }
  return true;
};

const isSame = (a: Prefix, b: Prefix): boolean => a.family === b.family && a.length === b.length && a.value === b.value;

/** True when a block's source is `source`, or its IPv6 prefix covers that address. */
const isAbout = (block: Prefix, source: Prefix): boolean => {
  if (isSame(block, source)) return true;
  if (block.family !== source.family || source.length < block.length) return false;
  const hostBits = BigInt((block.family === 4 ? 32 : 128) - block.length);
  return block.value >> hostBits === source.value >> hostBits;
};

/** Lifts every scan block that concerns a source, of all policies. It starts again at zero targets. Returns what was lifted. */
export const liftBlocks = (tables: NodeTables, source: Prefix): ScanBlock[] => {
  const map = tables.map('blocks');
  return readScanBlocks(tables).filter(({ key }) => isAbout(key.source, source) && map.delete(encodeBlockKey(key)));
};

/** All live blocks for people: scan blocks, records of Monitor and of spared sources, manual ones; newest first. */
export const blockRecords = (
  tables: NodeTables,
  owners: Owners,
  clock: TickClock,
  interfaceName: (ifindex: number) => string | undefined,
): BlockRecord[] => {
  const now = clock.now();
  const nowMs = Date.now();
  const wall = (tick: bigint): number => Math.round(nowMs + (Number(tick - now) * 1000) / clock.ticksPerSecond);
  const records: BlockRecord[] = [];
  for (const { key, value } of readScanBlocks(tables)) {
    if (value.until <= now) continue;
    const name = interfaceName(value.ifindex);
    records.push({
      source: formatSource(key.source),
      by: { kind: 'PortScanPolicy', name: owners.byId(key.owner)?.name ?? `#${key.owner}` },
      state: blockState(value.flags),
      proven: (value.flags & blockFlag.BLOCK_PROVEN) !== 0,
      probes: value.probes,
      ports: value.ports,
      ...(name !== undefined && { interfaceName: name }),
      sinceMs: wall(value.since),
      untilMs: wall(value.until),
      packetsDropped: value.dropped,
    });
  }
  for (const block of new ManualBlocks(tables).all()) {
    if (block.ownUntil <= now) continue;
    records.push({
      source: formatSource(block.source),
      by: { kind: 'Manual', name: 'manual' },
      state: 'blocked',
      proven: false,
      probes: 0,
      ports: [],
      sinceMs: wall(block.since),
      untilMs: wall(block.ownUntil),
      packetsDropped: block.dropped,
      reason: block.reason,
    });
  }
  return records.sort((a, b) => b.sinceMs - a.sinceMs);
};
