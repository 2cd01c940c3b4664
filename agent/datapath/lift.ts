import { setImmediate } from 'node:timers/promises';
import type { Prefix } from '../../api/cidr.ts';
import type { ScanBlock } from './blocks.ts';
import { decodeBlock, decodeBlockKey, encodeBlockKey } from './codec.ts';
import { blockFlag } from './layout.ts';
import type { Owners } from './owners.ts';
import { PrefixMatch } from './prefix-match.ts';
import type { NodeTables } from './tables.ts';
import { forgetTracked, type PolicyIds } from './tracking.ts';
import { trustedPrefix } from './tries.ts';

/** About 10 ms, after which others get their turn. */
const BLOCKS_A_TURN = 4096;

/** Whose scan blocks are to be lifted. */
export interface LiftRequest {
  /** Canonical prefix: every source that lies inside of it. A wider block, of the IPv6 prefix around it, stays. */
  readonly cidr: string;
  /** Names of PortScanPolicies; absent or empty: of all policies. Names that no policy here has are passed over. */
  readonly policies?: readonly string[];
}

export interface Lifted {
  /** What was taken out, blocks of mode Monitor among it. */
  readonly blocks: readonly ScanBlock[];
  /** Sources that were on their way to a block, or went on scanning while blocked. */
  readonly forgotten: number;
}

/**
 * Takes out scan blocks and what was learned of their sources, who start again at no target. Lists, blocks by hand and
 * reports of spared sources stay. One pass over each table, however many requests there are.
 */
export const liftRequested = async (
  tables: NodeTables,
  owners: Owners,
  requests: readonly LiftRequest[],
): Promise<Lifted> => {
  const wanted = matchOf(requests, owners);
  if (!wanted.has(4) && !wanted.has(6)) return { blocks: [], forgotten: 0 };
  const map = tables.map('blocks');
  const lifted: ScanBlock[] = [];
  // After reading: deleting while a table is walked in batches could skip some.
  for (const [index, block] of (await standingBlocks(tables, wanted)).entries()) {
    if (map.delete(encodeBlockKey(block.key))) lifted.push(block);
    if (index % BLOCKS_A_TURN === BLOCKS_A_TURN - 1) await setImmediate();
  }
  return { blocks: lifted, forgotten: await forgetTracked(tables, wanted) };
};

const matchOf = (requests: readonly LiftRequest[], owners: Owners): PrefixMatch<PolicyIds> => {
  const match = new PrefixMatch<PolicyIds>();
  for (const { cidr, policies = [] } of requests) {
    const ids = policies.map((name) => owners.idOf({ kind: 'PortScanPolicy', name })).filter((id) => id !== undefined);
    if (policies.length > 0 && ids.length === 0) continue;
    match.add(trustedPrefix(cidr), policies.length === 0 ? 'all' : new Set(ids), (a, b) =>
      a === 'all' || b === 'all' ? 'all' : new Set([...a, ...b]),
    );
  }
  return match;
};

const standingBlocks = async (tables: NodeTables, wanted: PrefixMatch<PolicyIds>): Promise<ScanBlock[]> => {
  const found: ScanBlock[] = [];
  let read = 0;
  for (const { key: keyBytes, value: valueBytes } of tables.map('blocks').entries()) {
    if (++read % BLOCKS_A_TURN === 0) await setImmediate();
    const key = decodeBlockKey(keyBytes);
    if (!isWanted(key.source, key.owner, wanted)) continue;
    const value = decodeBlock(valueBytes);
    if (!(value.flags & blockFlag.BLOCK_SPARED)) found.push({ key, value });
  }
  return found;
};

const isWanted = (source: Prefix, owner: number, wanted: PrefixMatch<PolicyIds>): boolean => {
  for (const { said } of wanted.around(source)) if (said === 'all' || said.has(owner)) return true;
  return false;
};
