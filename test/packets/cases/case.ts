/** The table of cases: what is sent to an interface, and what must become of each packet. */
import type { ModelConfig } from '../../model/model.ts';
import type { Reason, Verdict } from '../../model/reasons.ts';
import type { ListEntry, Owner, SourceClass, TableChange } from '../../model/tables.ts';
import {
  type FrameSpec,
  frame,
  type Ipv4Spec,
  type Ipv6Spec,
  ipv4,
  ipv6,
  type Payload,
  tcp,
} from '../../support/packets.ts';

export interface Expectation {
  readonly verdict: Verdict;
  /** The final reason. */
  readonly reason: Reason;
  /** Whom it is counted for; checked when given. */
  readonly owner?: Owner;
  /** Counted besides the final reason. */
  readonly also?: readonly (readonly [Owner, Reason])[];
  /** Fields of the block event; checked when given. Every *_SCAN_DETECTED has one, nothing else. */
  readonly block?: { readonly until?: number; readonly ports?: readonly number[]; readonly source?: string };
}

export interface FrameStep {
  readonly frame: Buffer;
  /** Index into the case's instances, default 0. */
  readonly instance?: number;
  /** Present tick from this step on; default: unchanged, START at first. */
  readonly atTick?: number;
  /** Sent so many times, each with the same expectation. Default 1. */
  readonly repeat?: number;
  readonly expect: Expectation;
}

export interface ChangeStep {
  readonly change: TableChange;
  readonly atTick?: number;
}

export type Step = FrameStep | ChangeStep;

export interface Case {
  /** Unique, says what holds. */
  readonly name: string;
  /** Set when the case shows what is not detected or not stopped: the sentence that docs/limits.md says about it. */
  readonly limit?: string;
  /** Differences to DEFAULT_CONFIG, for all instances. */
  readonly config?: Partial<ModelConfig>;
  /** One entry an interface, each with its differences to `config`. Default: one interface. */
  readonly instances?: readonly Partial<ModelConfig>[];
  /** Applied after STANDARD_TABLES. */
  readonly tables?: readonly TableChange[];
  readonly steps: readonly Step[];
}

/** Tick of a case's first packet. All ticks in cases are absolute. */
export const START = 1_000_000;

export const POLICY = 1;
export const OTHER_POLICY = 2;
export const LIST = 11;
export const OTHER_LIST = 12;

export const NODE4 = '192.0.2.1';
export const NODE4_SECOND = '192.0.2.2';
export const NODE6 = '2001:db8:0:1::1';
export const NODE6_SECOND = '2001:db8:0:1::2';
export const NODE6_LINK_LOCAL = 'fe80::1';
export const GATEWAY4 = '192.0.2.254';
export const GATEWAY6 = 'fe80::fe';
export const RESOLVER4 = '203.0.113.53';
export const RESOLVER6 = '2001:db8:53::53';
export const STRANGER4 = '198.51.100.7';
export const STRANGER6 = '2001:db8:bad::7';
/** An address that the node forwards to. */
export const POD4 = '10.0.0.9';
export const POD6 = '2001:db8:0:9::9';

export const neverBlock = (prefix: string): TableChange => classed(prefix, { neverBlock: true });
export const onLink = (prefix: string): TableChange => classed(prefix, { onLink: true });
export const classed = (prefix: string, value: SourceClass | null): TableChange => ({
  table: 'classes',
  prefix,
  value,
});
export const listed = (prefix: string, value: Partial<ListEntry> | null = {}, slot = 0): TableChange => ({
  table: 'lists',
  slot,
  prefix,
  value: value && { owner: LIST, enforce: true, allTraffic: true, ...value },
});
export const allowed = (prefix: string, until: number, slot = 0): TableChange => ({
  table: 'allows',
  slot,
  prefix,
  value: { until },
});
export const manuallyBlocked = (prefix: string, until: number): TableChange => ({
  table: 'manual',
  prefix,
  value: { until },
});
export const unblocked = (source: string, owner: Owner = POLICY): TableChange => ({
  table: 'blocks',
  owner,
  source,
  value: null,
});
export const own = (address: string): TableChange => ({ table: 'own', address, value: true });

const NODE_ADDRESSES = [NODE4, NODE4_SECOND, NODE6, NODE6_SECOND, NODE6_LINK_LOCAL];

/** What every case starts with: the node's own addresses, and the never-block set that an agent would compute. */
export const STANDARD_TABLES: readonly TableChange[] = [
  ...NODE_ADDRESSES.map(own),
  ...['192.0.2.1', '192.0.2.2', 'fe80::1', GATEWAY4, GATEWAY6, RESOLVER4, RESOLVER6].map(neverBlock),
  ...['0.0.0.0', '127.0.0.0/8', '224.0.0.0/4', '255.255.255.255', '::', '::1', 'ff00::/8'].map(neverBlock),
  onLink('2001:db8:0:1::/64'),
  // Flags of wider entries are carried into narrower ones.
  ...[NODE6, NODE6_SECOND].map((address) => classed(address, { neverBlock: true, onLink: true })),
];

export const pass = (reason: Reason, owner?: Owner): Expectation => ({
  verdict: 'pass',
  reason,
  ...(owner === undefined ? {} : { owner }),
});
export const drop = (reason: Reason, owner?: Owner): Expectation => ({
  verdict: 'drop',
  reason,
  ...(owner === undefined ? {} : { owner }),
});

type FrameOptions = Omit<FrameSpec, 'packet'>;
type IpOptions = Partial<Omit<Ipv4Spec, 'payload' | 'source'>> & Partial<Omit<Ipv6Spec, 'payload' | 'source'>>;

/** A frame to the node (or `destination`) in the IP version of its source. */
export function from(source: string, payload: Payload, ip: IpOptions = {}, options: FrameOptions = {}): Buffer {
  const packet = source.includes(':')
    ? ipv6({ destination: NODE6, ...ip, source, payload })
    : ipv4({ destination: NODE4, ...ip, source, payload });
  return frame({ ...options, packet });
}

/** A new connection's first packet, from STRANGER4 to the node unless told. */
export function syn(port: number, source = STRANGER4, ip: IpOptions = {}, options: FrameOptions = {}): Buffer {
  return from(source, tcp({ flags: 'S', destinationPort: port }), ip, options);
}

/** Frames that each must get the same. */
export function each(frames: readonly Buffer[], expect: Expectation): FrameStep[] {
  return frames.map((bytes) => ({ frame: bytes, expect }));
}

/**
 * A scan that is seen: the frames up to the last pass for `reason`, the last is dropped as the Nth, and every one of
 * them sent again is dropped because its source is blocked.
 */
export function scanIsBlocked(frames: readonly Buffer[], reason: Reason = 'PASS_PROBE'): FrameStep[] {
  return [
    ...each(frames.slice(0, -1), pass(reason, POLICY)),
    ...each(frames.slice(-1), drop('DROP_SCAN_DETECTED', POLICY)),
    ...each(frames, drop('DROP_SCAN_BLOCKED', POLICY)),
  ];
}

/** Ports 1..count. */
export function ports(count: number, first = 1): number[] {
  return Array.from({ length: count }, (_, index) => first + index);
}
