/** The order of verdicts for one frame: the specification that the BPF program is compared with. */
import { type Address, prefixMask } from '../support/address.ts';
import { type BlockedVerdict, type FlowLookups, newConnectionsTest } from './blocked.ts';
import { checksumCounts, type IpPacket, parseIp, parseTransport, segmentKind, TCP, type Transport } from './parse.ts';
import { type Reason, type Verdict, verdictOf } from './reasons.ts';
import { type Block, blockKey, type ModelTables, type Owner } from './tables.ts';

/** The configuration of one interface's instance. */
export interface ModelConfig {
  /** Mode Enforce; else Monitor. */
  readonly enforce: boolean;
  /** A policy governs this interface. */
  readonly detect: boolean;
  /** detection.destinations: All. */
  readonly allDestinations: boolean;
  /** block.traffic: All; else NewConnections. */
  readonly blockAllTraffic: boolean;
  readonly logConnections: boolean;
  /** Owner id of the governing policy, 0 = none. */
  readonly policy: Owner;
  /** N, 1..64. */
  readonly threshold: number;
  readonly windowTicks: number;
  readonly blockTicks: number;
  readonly unprovenTicks: number;
  /** 48..128. */
  readonly ipv6PrefixLength: number;
  /** Which list and allow tables this interface uses. */
  readonly setSlot: number;
  readonly maxExtensionHeaders: number;
  readonly ifindex: number;
}

export interface ConnectionEvent {
  readonly kind: 'connection';
  readonly owner: Owner;
  readonly source: Address;
  readonly target: Address;
  readonly sourcePort: number;
  readonly targetPort: number;
  /** The flags byte. */
  readonly flags: number;
  readonly reason: Reason;
}

export interface BlockEvent {
  readonly kind: 'block';
  /** As sent, not masked. */
  readonly source: Address;
  readonly block: Readonly<Block>;
  /** Of the Nth probe. */
  readonly target: Address;
  /** All N, newest first. */
  readonly ports: readonly number[];
}

export interface Outcome {
  readonly verdict: Verdict;
  /** The final reason last; before it a list's WOULD_DROP_LIST when the packet went on. */
  readonly counts: readonly (readonly [Owner, Reason])[];
  readonly events: readonly (ConnectionEvent | BlockEvent)[];
}

export interface Machine {
  readonly config: ModelConfig;
  readonly tables: ModelTables;
  readonly flows: FlowLookups;
}

/** Apart from every owner id, which are smaller. */
const WHILE_BLOCKED = 0x800;

/** The kernel's record keeps this many ports. */
const BLOCK_PORTS = 16;

export function decide(frame: Buffer, now: number, machine: Machine): Outcome {
  const { policy } = machine.config;
  const packet = parseIp(frame);
  if (packet === 'hidden') {
    const { detect, enforce } = machine.config;
    return final(policy, detect && !enforce ? 'WOULD_DROP_VLAN_TAGS' : 'DROP_VLAN_TAGS');
  }
  if (packet === 'not-ip') return final(0, 'PASS_NOT_IP');
  if (packet === 'malformed') return final(0, 'PASS_MALFORMED');
  if (packet.neighbourDiscovery) return final(policy, 'PASS_NEIGHBOUR_DISCOVERY');
  const { neverBlock = false, onLink = false } = machine.tables.classes.get(packet.version, packet.source) ?? {};
  return new Decision(packet, now, machine, neverBlock, onLink).take();
}

function final(owner: Owner, reason: Reason): Outcome {
  return { verdict: verdictOf(reason), counts: [[owner, reason]], events: [] };
}

class Decision {
  readonly #packet: IpPacket;
  readonly #now: number;
  readonly #machine: Machine;
  readonly #neverBlock: boolean;
  readonly #sourceLength: number;
  readonly #maskedSource: Address;
  readonly #counts: [Owner, Reason][] = [];
  readonly #events: (ConnectionEvent | BlockEvent)[] = [];
  #transport: Transport | undefined;

  constructor(packet: IpPacket, now: number, machine: Machine, neverBlock: boolean, onLink: boolean) {
    this.#packet = packet;
    this.#now = now;
    this.#machine = machine;
    this.#neverBlock = neverBlock;
    const own128 = onLink || isLinkLocal(packet.source);
    this.#sourceLength = packet.version === 4 ? 32 : own128 ? 128 : machine.config.ipv6PrefixLength;
    this.#maskedSource = packet.version === 4 ? packet.source : packet.source & prefixMask(this.#sourceLength);
  }

  take(): Outcome {
    const blocked = this.#neverBlock ? undefined : (this.#lists() ?? this.#manual() ?? this.#allow() ?? this.#block());
    const [owner, reason] = blocked ?? [this.#machine.config.policy, this.#detect()];
    this.#counts.push([owner, reason]);
    return { verdict: verdictOf(reason), counts: this.#counts, events: this.#events };
  }

  #lists(): [Owner, Reason] | undefined {
    const { config, tables } = this.#machine;
    const entry = tables.list(config.setSlot).get(this.#packet.version, this.#packet.source);
    if (!entry || entry.spared) return undefined;
    const { pass } = entry.allTraffic ? {} : this.#newConnections();
    if (entry.enforce) return [entry.owner, pass ?? 'DROP_LIST'];
    if (!pass) this.#counts.push([entry.owner, 'WOULD_DROP_LIST']);
    return undefined;
  }

  #manual(): [Owner, Reason] | undefined {
    const entry = this.#machine.tables.manual.get(this.#packet.version, this.#packet.source);
    if (!entry || entry.until <= this.#now) return undefined;
    entry.dropped++;
    return [0, 'DROP_MANUAL'];
  }

  #allow(): [Owner, Reason] | undefined {
    const { config, tables } = this.#machine;
    const entry = tables.allow(config.setSlot).get(this.#packet.version, this.#packet.source);
    return entry && entry.until > this.#now ? [config.policy, 'PASS_ALLOWED'] : undefined;
  }

  #block(): [Owner, Reason] | undefined {
    const { enforce, detect, policy, blockAllTraffic, blockTicks } = this.#machine.config;
    const block = detect ? this.#liveBlock() : undefined;
    if (!block || block.spared || (enforce && block.monitor)) return undefined;
    const { pass, proven }: BlockedVerdict = this.#newConnections();
    if (proven) {
      block.proven = true;
      block.until = Math.max(block.until, block.since + blockTicks);
    }
    // Where all traffic is cut the test tells only whether the source is real.
    if (pass && !blockAllTraffic) return [policy, pass];
    if (block.last !== this.#now) this.#renew(block);
    block.dropped++;
    block.last = this.#now;
    return [policy, enforce ? 'DROP_SCAN_BLOCKED' : 'WOULD_DROP_SCAN_BLOCKED'];
  }

  /**
   * A blocked source that goes on to N targets is blocked anew from then on. Looked at once a tick, and only in whole
   * segments right behind the IP header; counted apart, so that a source whose block ends starts again at no target.
   */
  #renew(block: Block): void {
    const { policy, threshold, windowTicks, blockTicks, unprovenTicks } = this.#machine.config;
    const transport = this.#readTransport();
    if (transport.kind !== 'tcp' || transport.fragmented || this.#packet.protocol !== TCP) return;
    if (segmentKind(transport.flags) === 'other' || !this.#countsAsDestination()) return;
    if (!checksumCounts(this.#packet, transport)) return;
    const vote = this.#machine.tables.votes.cast({
      owner: policy | WHILE_BLOCKED,
      source: this.#maskedSource,
      target: this.#packet.destination,
      port: transport.destinationPort,
      now: this.#now,
      threshold,
      windowTicks,
    });
    if (vote.kind !== 'nth') return;
    block.until = Math.max(block.until, this.#now + (block.proven || block.monitor ? blockTicks : unprovenTicks));
  }

  #detect(): Reason {
    const { enforce, detect } = this.#machine.config;
    const transport = this.#readTransport();
    const nothing: Reason = this.#neverBlock ? 'PASS_NEVER_BLOCK' : 'PASS_OTHER';
    switch (transport.kind) {
      case 'later-fragment':
        return nothing;
      case 'malformed':
        return 'PASS_MALFORMED';
      case 'chain-too-long':
        if (this.#neverBlock) return 'PASS_NEVER_BLOCK';
        return enforce && detect ? 'DROP_EXTENSION_HEADERS' : 'WOULD_DROP_EXTENSION_HEADERS';
      case 'other':
        return nothing;
    }
    if (!detect) return nothing;
    if (transport.kind === 'tcp-malformed') return 'PASS_MALFORMED';
    const kind = transport.kind === 'tcp-short' ? 'probe' : segmentKind(transport.flags);
    if (kind === 'other') return nothing;
    if (!this.#countsAsDestination()) return 'PASS_NOT_OWN_ADDRESS';
    if (transport.kind === 'tcp' && !checksumCounts(this.#packet, transport)) return 'PASS_BAD_CHECKSUM';
    const record = this.#neverBlock ? this.#liveBlock() : undefined;
    if (record?.spared) {
      // Reported already: what it goes on to probe is counted there.
      record.dropped++;
      record.last = this.#now;
      return 'PASS_NEVER_BLOCK';
    }
    const voted = this.#vote(transport.destinationPort);
    if (voted) return voted;
    if (kind === 'probe') return 'PASS_PROBE';
    if (transport.kind === 'tcp') this.#logConnection(transport);
    return 'PASS_NEW_CONNECTION';
  }

  #countsAsDestination(): boolean {
    const { config, tables } = this.#machine;
    const { version, destination } = this.#packet;
    if (!config.allDestinations) return tables.own.has(destination);
    if (version === 6) return destination >> 120n !== 0xffn;
    const v4 = destination & 0xffff_ffffn;
    return v4 >> 28n !== 0xen && v4 !== 0xffff_ffffn;
  }

  /** The reason when the vote decides the packet. */
  #vote(port: number): Reason | undefined {
    const { enforce, policy, threshold, windowTicks } = this.#machine.config;
    const vote = this.#machine.tables.votes.cast({
      owner: policy,
      source: this.#maskedSource,
      target: this.#packet.destination,
      port,
      now: this.#now,
      threshold,
      windowTicks,
    });
    if (vote.kind === 'settled') {
      if (this.#neverBlock) return 'PASS_NEVER_BLOCK';
      return enforce ? 'DROP_SCAN_BLOCKED' : 'WOULD_DROP_SCAN_BLOCKED';
    }
    if (vote.kind !== 'nth') return undefined;
    this.#record(vote.ports);
    if (this.#neverBlock) return 'SPARED_SCAN_DETECTED';
    return enforce ? 'DROP_SCAN_DETECTED' : 'WOULD_DROP_SCAN_DETECTED';
  }

  #record(ports: readonly number[]): void {
    const { enforce, policy, threshold, blockTicks, unprovenTicks, ifindex } = this.#machine.config;
    const spared = this.#neverBlock;
    const monitor = !spared && !enforce;
    const block: Block = {
      source: this.#maskedSource,
      sourceLength: this.#sourceLength,
      owner: policy,
      since: this.#now,
      last: this.#now,
      until: this.#now + (spared || monitor ? blockTicks : unprovenTicks),
      dropped: 1,
      probes: threshold,
      ports: ports.slice(0, BLOCK_PORTS),
      ifindex,
      monitor,
      spared,
      proven: false,
    };
    this.#machine.tables.blocks.set(blockKey(block.source, block.sourceLength, policy), block);
    this.#events.push({
      kind: 'block',
      source: this.#packet.source,
      block: { ...block },
      target: this.#packet.destination,
      ports,
    });
  }

  #logConnection(tcp: { sourcePort: number; destinationPort: number; flags: number }): void {
    if (!this.#machine.config.logConnections) return;
    this.#events.push({
      kind: 'connection',
      owner: this.#machine.config.policy,
      source: this.#packet.source,
      target: this.#packet.destination,
      sourcePort: tcp.sourcePort,
      targetPort: tcp.destinationPort,
      flags: tcp.flags,
      reason: 'PASS_NEW_CONNECTION',
    });
  }

  #liveBlock(): Block | undefined {
    const key = blockKey(this.#maskedSource, this.#sourceLength, this.#machine.config.policy);
    const block = this.#machine.tables.blocks.get(key);
    return block && block.until > this.#now ? block : undefined;
  }

  #newConnections(): BlockedVerdict {
    const { tables, flows } = this.#machine;
    const own = tables.own.has(this.#packet.destination);
    return newConnectionsTest(this.#packet, this.#readTransport(), own, flows);
  }

  #readTransport(): Transport {
    this.#transport ??= parseTransport(this.#packet, this.#machine.config.maxExtensionHeaders);
    return this.#transport;
  }
}

function isLinkLocal(source: Address): boolean {
  return source >> 118n === 0xfe80n >> 6n;
}
