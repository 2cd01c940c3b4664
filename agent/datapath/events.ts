import { formatAddress } from '../../api/cidr.ts';
import { blockState, decodeBlockKey, formatSource, readAddress } from './codec.ts';
import { reasonNames } from './counters.ts';
import { blockEventStruct, blockFlag, blockKeyStruct, connectionEventStruct, eventKind, eventPorts } from './layout.ts';
import type { DatapathEvent } from './view.ts';

export interface EventNames {
  policy(owner: number): string;
  interfaceName(ifindex: number): string;
  wallMs(tick: bigint): number;
}

/** One record of the ring, as bytes; copied by the caller, since the ring is reused. Undefined for a kind of a newer layout. */
export const decodeEvent = (record: Buffer, names: EventNames): DatapathEvent | undefined => {
  const kind = record.readUInt32LE(0);
  if (kind === eventKind.EVENT_CONNECTION && record.length >= connectionEventStruct.bytes) {
    const e = connectionEventStruct;
    return {
      kind: 'connection',
      policy: names.policy(record.readUInt32LE(e.owner)),
      atMs: names.wallMs(record.readBigUInt64LE(e.tick)),
      source: formatAddress(readAddress(record, e.source)),
      sourcePort: record.readUInt16LE(e.sourcePort),
      target: formatAddress(readAddress(record, e.target)),
      targetPort: record.readUInt16LE(e.targetPort),
      interfaceName: names.interfaceName(record.readUInt32LE(e.ifindex)),
      reason: reasonNames[record.readUInt32LE(e.reason)]?.reason ?? 'unknown',
    };
  }
  if (kind === eventKind.EVENT_BLOCK && record.length >= blockEventStruct.bytes) {
    const e = blockEventStruct;
    const flags = record.readUInt32LE(e.flags);
    const ports = Math.min(record.readUInt32LE(e.portCount), eventPorts);
    return {
      kind: 'block',
      policy: names.policy(record.readUInt32LE(e.owner)),
      atMs: names.wallMs(record.readBigUInt64LE(e.tick)),
      untilMs: names.wallMs(record.readBigUInt64LE(e.until)),
      source: formatAddress(readAddress(record, e.source)),
      blocked: formatSource(decodeBlockKey(record.subarray(e.key, e.key + blockKeyStruct.bytes)).source),
      state: blockState(flags),
      proven: (flags & blockFlag.BLOCK_PROVEN) !== 0,
      probes: record.readUInt32LE(e.probes),
      ports: Array.from({ length: ports }, (_, i) => record.readUInt16LE(e.ports + 2 * i)),
      lastTarget: formatAddress(readAddress(record, e.target)),
      interfaceName: names.interfaceName(record.readUInt32LE(e.ifindex)),
    };
  }
  return undefined;
};
