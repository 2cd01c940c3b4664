import { parsePrefixOrAddress } from '../../api/cidr.ts';
import { readScanBlocks, restoreBlock } from '../datapath/blocks.ts';
import type { TickClock } from '../datapath/clock.ts';
import { formatSource } from '../datapath/codec.ts';
import { blockFlag } from '../datapath/layout.ts';
import type { ManualBlock, ManualBlocks } from '../datapath/manual.ts';
import type { Owners } from '../datapath/owners.ts';
import type { NodeTables } from '../datapath/tables.ts';
import type { SavedBlock } from './state-store.ts';

export interface BlockTables {
  readonly tables: NodeTables;
  readonly owners: Owners;
  readonly clock: TickClock;
  readonly manual: ManualBlocks;
}

const RECORD_ONLY = blockFlag.BLOCK_MONITOR | blockFlag.BLOCK_SPARED;

/** Two megabytes of file: under a flood of forged sources the rest is not worth a reboot, nor the disk. */
const MOST_SAVED = 10_000;

/**
 * Blocks in force, as they are written to disk: those by hand, then the ones that last longest. Records that block
 * nobody are not worth a reboot.
 */
export const saveableBlocks = ({ tables, owners, clock, manual }: BlockTables): SavedBlock[] => {
  const now = clock.now();
  const nowMs = clock.toWallMs(now);
  // Rounded to seconds, so that an unchanged table gives an unchanged file although the two clocks drift.
  const wall = (tick: bigint): number => Math.round(nowMs / 1000 + Number(tick - now) / clock.ticksPerSecond) * 1000;
  const scans = readScanBlocks(tables)
    .filter(({ value }) => value.until > now && (value.flags & RECORD_ONLY) === 0)
    .sort((a, b) => Number(b.value.until - a.value.until))
    .slice(0, MOST_SAVED)
    .flatMap(({ key, value }): SavedBlock[] => {
      const policy = owners.byId(key.owner)?.name;
      if (policy === undefined) return [];
      const { flags, probes, ports, dropped } = value;
      return [
        {
          source: formatSource(key.source),
          policy,
          flags,
          probes,
          ports,
          sinceMs: wall(value.since),
          untilMs: wall(value.until),
          packetsDropped: dropped,
        },
      ];
    });
  const byHand = manual
    .all()
    .filter(({ ownUntil }) => ownUntil > now)
    .map(
      ({ source, since, ownUntil, dropped, reason }): SavedBlock => ({
        source: formatSource(source),
        flags: 0,
        probes: 0,
        ports: [],
        sinceMs: wall(since),
        untilMs: wall(ownUntil),
        packetsDropped: dropped,
        reason,
      }),
    );
  return [...byHand, ...scans];
};

/** Puts blocks of an earlier boot back: those of policies that still exist, and for which there is room. Returns how many. */
export const restoreBlocks = (saved: readonly SavedBlock[], { tables, owners, clock, manual }: BlockTables): number => {
  let restored = 0;
  const byHand: Omit<ManualBlock, 'until'>[] = [];
  // The table may be smaller than it was: the newest blocks are worth the most.
  for (const block of saved.toSorted((a, b) => b.sinceMs - a.sinceMs)) {
    const source = parsePrefixOrAddress(block.source);
    if (!source) continue;
    const until = clock.toTick(block.untilMs);
    const since = clock.toTick(block.sinceMs);
    const { flags, probes, ports, packetsDropped: dropped, reason = '' } = block;
    if (block.policy === undefined) {
      byHand.push({ source, ownUntil: until, since, dropped, reason });
      continue;
    }
    const owner = owners.idOf({ kind: 'PortScanPolicy', name: block.policy });
    if (owner === undefined) continue;
    const value = { until, since, last: since, dropped, flags, probes, ifindex: 0, ports };
    if (restoreBlock(tables, { source, owner }, value)) restored++;
  }
  tables.refillRings();
  return restored + manual.restore(byHand);
};
