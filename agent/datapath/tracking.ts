import { setImmediate } from 'node:timers/promises';
import type { Prefix } from '../../api/cidr.ts';
import { BpfObject } from '../libbpf/object.ts';
import { TestRun } from '../libbpf/test-run.ts';
import { addressFromHalves, writeAddress } from './codec.ts';
import { domainStruct, firstStruct, firstsPerDomain, sourceStruct, sourcesPerDomain } from './layout.ts';
import { objectImage } from './objects.ts';
import type { PrefixMatch } from './prefix-match.ts';
import { loadError, type NodeTables } from './tables.ts';

/** 512 KiB at a time, after which others get their turn. */
const DOMAINS_A_PART = 256;
/** bpf/tracking.h. */
const WHILE_BLOCKED = 0x800;
const KIND_V4 = 0;
const KIND_V6_PREFIX = 1;

/** struct request of bpf/forget.bpf.c: prefix, mask, domain, policy. */
const request = { bytes: 40, prefix: 0, mask: 16, domain: 32, policy: 36 } as const;

/** Policies by owner id, or all of them. */
export type PolicyIds = ReadonlySet<number> | 'all';

interface Tracked {
  readonly source: Prefix;
  readonly owner: number;
}

/**
 * Forgets the targets of tracked sources inside of some prefixes, under their domains' locks: what tracks others goes on
 * meanwhile. Returns how many sources were forgotten. A table of 64 MiB is read in about 100 ms, in parts.
 */
export const forgetTracked = async (tables: NodeTables, wanted: PrefixMatch<PolicyIds>): Promise<number> => {
  const found = await findTracked(tables, wanted);
  if (found.length === 0) return 0;
  using object = BpfObject.open(objectImage('forget'));
  object.reuse('domains', tables.map('domains'));
  try {
    await object.load('forget');
  } catch (error) {
    throw loadError(error);
  }
  const program = object.takeProgram('forget');
  try {
    const run = new TestRun(program);
    let forgotten = 0;
    for (const [index, { domain, prefix, policy }] of found.entries()) {
      // The program's return value is what it counted.
      forgotten += run.run(encodeRequest(domain, prefix, policy)).action;
      if (index % DOMAINS_A_PART === DOMAINS_A_PART - 1) await setImmediate();
    }
    return forgotten;
  } finally {
    program.close();
  }
};

interface Found {
  readonly domain: number;
  readonly prefix: Prefix;
  /** 0: of all policies. */
  readonly policy: number;
}

const findTracked = async (tables: NodeTables, wanted: PrefixMatch<PolicyIds>): Promise<Found[]> => {
  const map = tables.map('domains');
  const buffer = Buffer.alloc(DOMAINS_A_PART * domainStruct.bytes);
  const found: Found[] = [];
  for (let start = 0; start < map.shape.maxEntries; start += DOMAINS_A_PART) {
    const values = map.readArray(start, Math.min(DOMAINS_A_PART, map.shape.maxEntries - start), buffer);
    for (let at = 0; at < values.length; at += domainStruct.bytes) {
      const domain = start + at / domainStruct.bytes;
      const asked = new Map<string, Found>();
      for (const { source, owner } of trackedIn(values, at, wanted)) {
        for (const { prefix, said } of wanted.around(source)) {
          if (said !== 'all' && !said.has(owner)) continue;
          const policy = said === 'all' ? 0 : owner;
          asked.set(`${prefix.family} ${prefix.value} ${prefix.length} ${policy}`, { domain, prefix, policy });
        }
      }
      found.push(...asked.values());
    }
    await setImmediate();
  }
  return found;
};

/** Sources of one domain in the families that are asked for. How long a tracked IPv6 prefix is cannot be told: as if an address. */
function* trackedIn(values: Buffer, domain: number, wanted: PrefixMatch<PolicyIds>): Generator<Tracked> {
  for (let i = 0; i < sourcesPerDomain; i++) {
    if (values.readUInt16LE(domain + domainStruct.sourceTags + 2 * i) === 0) continue;
    const at = domain + domainStruct.sources + i * sourceStruct.bytes;
    const address = addressFromHalves(
      values.readBigUInt64LE(at + sourceStruct.address),
      values.readBigUInt64LE(at + sourceStruct.address + 8),
    );
    if (!wanted.has(address.family)) continue;
    const owner = values.readUInt32LE(at + sourceStruct.owner) & ~WHILE_BLOCKED;
    yield { source: { ...address, length: address.family === 4 ? 32 : 128 }, owner };
  }
  for (let i = 0; i < firstsPerDomain; i++) {
    if (values.readUInt16LE(domain + domainStruct.firstTags + 2 * i) === 0) continue;
    const at = domain + domainStruct.firsts + i * firstStruct.bytes;
    // The stamp's lower half: two bits of the tick, two of kind, twelve of the owner, sixteen of the port.
    const stamp = values.readUInt32LE(at + firstStruct.stamp);
    const kind = (stamp >>> 28) & 3;
    const owner = (stamp >>> 16) & 0xfff & ~WHILE_BLOCKED;
    if (kind === KIND_V4 && wanted.has(4))
      yield { source: { family: 4, value: BigInt(values.readUInt32LE(at + firstStruct.key)), length: 32 }, owner };
    else if (kind === KIND_V6_PREFIX && wanted.has(6)) {
      const prefix = values.readBigUInt64LE(at + firstStruct.key) << 64n;
      yield { source: { family: 6, value: prefix, length: 128 }, owner };
    }
  }
}

const encodeRequest = (domain: number, { family, value, length }: Prefix, policy: number): Buffer => {
  // Frames are at least 14 bytes; a request is longer.
  const frame = Buffer.alloc(request.bytes);
  const hostBits = BigInt((family === 4 ? 32 : 128) - length);
  const mask = ((1n << 128n) - 1n) ^ ((1n << hostBits) - 1n);
  writeAddress(frame, request.prefix, { family, value });
  writeAddress(frame, request.mask, { family: 6, value: mask });
  frame.writeUInt32LE(domain, request.domain);
  frame.writeUInt32LE(policy, request.policy);
  return frame;
};
