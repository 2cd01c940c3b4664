import type { BpfMap } from '../libbpf/map.ts';
import type { BpfProgram } from '../libbpf/program.ts';
import type { DesiredPolicy } from '../resolve/desired-state.ts';
import { conntrackSupport } from './kernel.ts';
import { configStruct, instanceFlag } from './layout.ts';
import type { DatapathOptions } from './options.ts';
import { GUARD, loadError, type NodeTables, ringEntries, withGuardObject } from './tables.ts';

/** What makes one program differ from another: interfaces with equal values share one. */
export interface InstanceConfig {
  readonly policy: DesiredPolicy | undefined;
  readonly owner: number;
  readonly setSlot: number;
  readonly testClock: boolean;
}

const prefixMask = (length: number): bigint => ((1n << BigInt(length)) - 1n) << BigInt(128 - length);
const MASK_64 = 0xffff_ffff_ffff_ffffn;

/** The program's read-only constants, as struct config has them. */
export const encodeConfig = (
  config: InstanceConfig,
  node: { readonly options: DatapathOptions; readonly tables: NodeTables; readonly frags: boolean },
): Buffer => {
  const { policy } = config;
  const { options, tables } = node;
  const { ticksPerSecond, secret, slots } = tables.layout;
  const ticks = (ms: number): bigint => BigInt(Math.max(1, Math.round((ms * ticksPerSecond) / 1000)));
  const flags =
    (policy ? instanceFlag.INSTANCE_DETECT : 0) |
    (policy?.enforce ? instanceFlag.INSTANCE_ENFORCE : 0) |
    (policy?.allDestinations ? instanceFlag.INSTANCE_ALL_DESTINATIONS : 0) |
    (policy?.blockAllTraffic ? instanceFlag.INSTANCE_BLOCK_ALL_TRAFFIC : 0) |
    (policy?.logConnections ? instanceFlag.INSTANCE_LOG_CONNECTIONS : 0) |
    (config.testClock ? instanceFlag.INSTANCE_TEST_CLOCK : 0) |
    (node.frags ? instanceFlag.INSTANCE_FRAGS : 0);
  const mask = prefixMask(policy?.ipv6PrefixLength ?? 64);
  const value = Buffer.alloc(configStruct.bytes);
  value.writeUInt32LE(flags, configStruct.flags);
  value.writeUInt32LE(config.owner, configStruct.policy);
  value.writeUInt32LE(policy?.distinctTargets ?? 1, configStruct.threshold);
  value.writeUInt32LE(slots, configStruct.slots);
  value.writeBigUInt64LE(ticks(policy?.windowMs ?? 1000), configStruct.windowTicks);
  value.writeBigUInt64LE(ticks(policy?.blockDurationMs ?? 1000), configStruct.blockTicks);
  value.writeBigUInt64LE(ticks(policy?.unprovenDurationMs ?? 1000), configStruct.unprovenTicks);
  value.writeBigUInt64LE(mask >> 64n, configStruct.v6Mask);
  value.writeBigUInt64LE(mask & MASK_64, configStruct.v6Mask + 8);
  value.writeUInt32LE(policy?.ipv6PrefixLength ?? 64, configStruct.v6Length);
  value.writeUInt32LE(config.setSlot, configStruct.setSlot);
  value.writeUInt32LE(options.maxExtensionHeaders, configStruct.maxExtensionHeaders);
  value.writeUInt32LE(options.sizes.domains - 1, configStruct.domainMask);
  value.writeUInt32LE(options.sizes.concernCells - 1, configStruct.cellMask);
  value.writeUInt32LE(ringEntries(options.sizes) - 1, configStruct.ringMask);
  value.writeUInt32LE(options.connectionEventsPerSecond, configStruct.connectionEventsPerSecond);
  value.writeUInt32LE(options.blockEventsPerSecond, configStruct.blockEventsPerSecond);
  value.writeUInt32LE(ticksPerSecond, configStruct.ticksPerSecond);
  value.writeBigUInt64LE(secret[0], configStruct.secret);
  value.writeBigUInt64LE(secret[1], configStruct.secret + 8);
  return value;
};

/**
 * Loads one instance onto the node's tables; `extra` stands in for maps that are not the node's. It asks connection
 * tracking where the kernel lets it, unless `conntrack` says otherwise.
 * @throws PortcullisError BpfLoadFailed with the verifier's log
 */
export const loadInstance = async (
  config: Buffer,
  tables: NodeTables,
  frags: boolean,
  extra: ReadonlyMap<string, BpfMap> = new Map(),
  conntrack?: boolean,
): Promise<BpfProgram> => {
  const features = { frags, conntrack: conntrack ?? (await conntrackSupport()).available };
  return await withGuardObject(features, async (object) => {
    tables.reuseIn(object);
    for (const [name, map] of extra) object.reuse(name, map);
    object.setReadOnlyData(config);
    try {
      await object.load(GUARD);
    } catch (error) {
      throw loadError(error);
    }
    return object.takeProgram(GUARD);
  });
};
