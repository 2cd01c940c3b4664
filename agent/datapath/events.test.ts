import { describe, expect, test } from 'vitest';
import { encodeAddress, encodeBlockKey } from './codec.ts';
import { decodeEvent, type EventNames } from './events.ts';
import { blockEventStruct, blockFlag, connectionEventStruct, eventKind, reason } from './layout.ts';

const names: EventNames = {
  policy: (owner) => `policy-${owner}`,
  interfaceName: (ifindex) => `eth${ifindex}`,
  wallMs: (tick) => Number(tick) * 10,
};
const SOURCE = { family: 4, value: 0xc6336407n } as const;
const TARGET = { family: 6, value: (0x20010db8n << 96n) | 1n } as const;

function connectionRecord(): Buffer {
  const e = connectionEventStruct;
  const record = Buffer.alloc(e.bytes);
  record.writeUInt32LE(eventKind.EVENT_CONNECTION, e.kind);
  record.writeUInt32LE(3, e.owner);
  record.writeBigUInt64LE(500n, e.tick);
  encodeAddress(SOURCE).copy(record, e.source);
  encodeAddress(TARGET).copy(record, e.target);
  record.writeUInt16LE(40_000, e.sourcePort);
  record.writeUInt16LE(443, e.targetPort);
  record.writeUInt32LE(2, e.ifindex);
  record.writeUInt32LE(reason.PASS_NEW_CONNECTION, e.reason);
  return record;
}

function blockRecord(flags: number, portCount: number): Buffer {
  const e = blockEventStruct;
  const record = Buffer.alloc(e.bytes);
  record.writeUInt32LE(eventKind.EVENT_BLOCK, e.kind);
  record.writeUInt32LE(3, e.owner);
  record.writeBigUInt64LE(500n, e.tick);
  record.writeBigUInt64LE(6_500n, e.until);
  encodeAddress({ family: 6, value: (0x20010db8n << 96n) | 7n }).copy(record, e.source);
  encodeBlockKey({ source: { family: 6, value: 0x20010db8n << 96n, length: 64 }, owner: 3 }).copy(record, e.key);
  encodeAddress(TARGET).copy(record, e.target);
  record.writeUInt32LE(2, e.ifindex);
  record.writeUInt32LE(flags, e.flags);
  record.writeUInt32LE(15, e.probes);
  record.writeUInt32LE(portCount, e.portCount);
  for (let i = 0; i < 64; i++) record.writeUInt16LE(i + 1, e.ports + 2 * i);
  return record;
}

describe('an event of the ring', () => {
  test('tells of a connection in words', () => {
    expect(decodeEvent(connectionRecord(), names)).toEqual({
      ...{ kind: 'connection', policy: 'policy-3', atMs: 5_000, source: '198.51.100.7', sourcePort: 40_000 },
      ...{ target: '2001:db8::1', targetPort: 443, interfaceName: 'eth2', reason: 'new-connection' },
    });
  });

  test('tells of a block who was blocked, until when and for what', () => {
    expect(decodeEvent(blockRecord(0, 3), names)).toEqual({
      ...{ kind: 'block', policy: 'policy-3', atMs: 5_000, untilMs: 65_000, source: '2001:db8::7' },
      ...{ blocked: '2001:db8::/64', state: 'blocked', proven: false, probes: 15, ports: [1, 2, 3] },
      ...{ lastTarget: '2001:db8::1', interfaceName: 'eth2' },
    });
  });

  test('tells a record of Monitor and of a spared source from a block', () => {
    expect(decodeEvent(blockRecord(blockFlag.BLOCK_MONITOR, 1), names)).toMatchObject({ state: 'would-block' });
    expect(decodeEvent(blockRecord(blockFlag.BLOCK_SPARED, 1), names)).toMatchObject({ state: 'spared' });
    expect(decodeEvent(blockRecord(blockFlag.BLOCK_PROVEN, 1), names)).toMatchObject({
      state: 'blocked',
      proven: true,
    });
  });

  test('with a damaged port count is read no further than its ports', () => {
    expect(decodeEvent(blockRecord(0, 0xffff_ffff), names)).toMatchObject({
      ports: Array.from({ length: 64 }, (_, i) => i + 1),
    });
  });

  test('of an unknown kind, and one cut short, is left out', () => {
    const unknown = connectionRecord();
    unknown.writeUInt32LE(99, 0);
    expect(decodeEvent(unknown, names)).toBeUndefined();
    expect(decodeEvent(connectionRecord().subarray(0, connectionEventStruct.bytes - 1), names)).toBeUndefined();
    expect(decodeEvent(blockRecord(0, 1).subarray(0, blockEventStruct.bytes - 1), names)).toBeUndefined();
  });

  test('with a reason that this version does not know says so', () => {
    const record = connectionRecord();
    record.writeUInt32LE(999, connectionEventStruct.reason);
    expect(decodeEvent(record, names)).toMatchObject({ reason: 'unknown' });
  });
});
