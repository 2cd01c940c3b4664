/**
 * Random packets and random sequences over time, for comparing two implementations of the datapath. Mostly meaningful:
 * few sources, targets and ports, so that thresholds are reached and tables hit; then lies, flipped bytes, cuts and
 * noise. Everything follows from the seed.
 */
import type { ModelConfig } from '../model/model.ts';
import type { TableChange } from '../model/tables.ts';
import { addressBytes, formatAddress, prefixMask, toAddress } from '../support/address.ts';
import { complement, fold, pseudoHeaderSum, sumWords } from '../support/internet-checksum.ts';
import { EXTENSION, type Extension, frame, ipv4, ipv6, raw, type Tag } from '../support/packets.ts';

export interface RandomFrame {
  readonly frame: Buffer;
  /** Ticks that pass before this frame. */
  readonly tickAdvance: number;
  /** Index into the instances of randomWorld. */
  readonly instance: number;
}

export interface RandomChange {
  readonly change: TableChange;
  readonly tickAdvance: number;
}

export interface RandomWorld {
  readonly instances: readonly ModelConfig[];
  /** Contents of the tables at RANDOM_START; frames of randomFrames hold no tick beyond that. */
  readonly tables: readonly TableChange[];
}

/** Present tick before the first frame. */
export const RANDOM_START = 1_000_000;

const OWN4 = ['192.0.2.1', '192.0.2.2'];
const OWN6 = ['2001:db8:0:1::1', 'fe80::1'];
const TARGETS4 = [...OWN4, ...OWN4, ...OWN4, '10.0.0.9', '192.0.2.255', '224.0.0.1', '255.255.255.255'];
const TARGETS6 = [...OWN6, ...OWN6, ...OWN6, '2001:db8:0:9::9', '2001:db8:0:1::3', 'ff02::1'];
const SOURCES4 = [
  ...['1.0.0.1', '126.3.2.1', '128.0.0.0', '191.255.255.254', '198.51.100.0', '198.51.100.7', '198.51.100.127'],
  ...['198.51.100.128', '198.51.100.255', '203.0.113.9', '203.0.113.200', '223.255.255.254', '192.0.2.99'],
  ...['192.0.2.254', '192.0.2.1', '127.0.0.1', '0.0.0.0', '224.0.0.5'],
];
const SOURCES6 = [
  ...['2001:db8:bad::7', '2001:db8:bad::8', '2001:db8:bad:1::7', '2001:db8:bad:ff::7', '2001:db8:bad:100::7'],
  ...['2606:4700::1111', 'fd00::1', '::2', '2001:db8:0:1::77', '2001:db8:0:1::78', 'fe80::77', 'fe80::78'],
  ...['fe80::fe', '2001:db8:0:1::1', '::1', 'ff02::5', '2001:db8:53::53'],
];
const NEVER_BLOCK = [
  ...['192.0.2.254', '192.0.2.1', '192.0.2.2', '127.0.0.0/8', '0.0.0.0', '224.0.0.0/4', '255.255.255.255'],
  ...['fe80::fe', 'fe80::1', '::1', '::', 'ff00::/8', '2001:db8:53::/64'],
];
const LISTABLE = [
  ...['203.0.113.9', '203.0.113.0/24', '198.51.100.127', '198.51.100.128/25', '191.0.0.0/8', '126.3.2.1'],
  ...['2001:db8:bad:ff::/64', '2001:db8:bad:100::7', '2606::/16', 'fd00::/8', '2001:db8:0:1::78'],
];
const ALLOWABLE = ['1.0.0.1', '198.51.100.0/26', '203.0.113.128/25', 'fd00::1', '2001:db8:bad:1::/64', 'fe80::78'];
/** Sources that move in and out of the never-block set; none is on-link, since that would change its mask. */
const RECLASSABLE = ['203.0.113.200', '128.0.0.0', '2001:db8:bad:100::7', '2606:4700::1111'];
const LIST_OWNERS = [11, 12, 13];
const INSTANCES = 6;
/** Sources of each IP version that send most of a scene's frames. */
const SCENE_SOURCES = 2;
/** Frames at the very tick where a window or a block ends: enough that some come from the source it is about. */
const EDGE_FRAMES = 12;

/** The interfaces, policies and first table contents for a seed. */
export function randomWorld(seed: number): RandomWorld {
  const random = new Random(seed ^ 0x776f726c);
  const policy = (owner: number, settings: Partial<ModelConfig>): ModelConfig => ({
    enforce: true,
    detect: true,
    allDestinations: false,
    blockAllTraffic: false,
    logConnections: random.chance(0.5),
    policy: owner,
    threshold: 1 + random.below(6),
    windowTicks: 20 + random.below(300),
    blockTicks: 200 + random.below(600),
    unprovenTicks: 20 + random.below(200),
    ipv6PrefixLength: random.pick([48, 56, 60, 64, 64, 65, 100, 128]),
    setSlot: 0,
    maxExtensionHeaders: random.pick([0, 1, 2, 4, 8]),
    ifindex: owner,
    ...settings,
  });
  const first = policy(1, {});
  return {
    instances: [
      first,
      policy(2, { enforce: false, setSlot: 1 }),
      policy(3, { blockAllTraffic: true, allDestinations: true, setSlot: 2 }),
      policy(0, { enforce: false, detect: false, ifindex: 4 }),
      // One policy on two interfaces: all that belongs to the policy is the same.
      { ...first, ifindex: 5, setSlot: 1 },
      policy(4, { enforce: false, blockAllTraffic: true, allDestinations: true, setSlot: 2, ifindex: 6 }),
    ],
    tables: [
      ...[...OWN4, ...OWN6].map((address): TableChange => ({ table: 'own', address, value: true })),
      ...NEVER_BLOCK.map((prefix): TableChange => ({ table: 'classes', prefix, value: { neverBlock: true } })),
      { table: 'classes', prefix: '2001:db8:0:1::/64', value: { onLink: true } },
      { table: 'classes', prefix: '2001:db8:0:1::1', value: { neverBlock: true, onLink: true } },
      ...Array.from({ length: 12 }, () => randomEntry(random, RANDOM_START)),
    ],
  };
}

/** An endless run of frames for the interfaces of randomWorld(seed). */
export function* randomFrames(seed: number): Generator<RandomFrame, never> {
  const random = new Random(seed);
  const builder = new FrameBuilder(random);
  const { instances } = randomWorld(seed);
  let now = RANDOM_START;
  for (;;) {
    builder.newScene();
    const interfaces = [random.below(INSTANCES), random.below(INSTANCES)];
    const seen: { tick: number; instance: number }[] = [];
    for (let length = 50 + random.below(300); length > 0; length--) {
      const instance = random.chance(0.9) ? random.pick(interfaces) : random.below(INSTANCES);
      const tickAdvance = randomTicks(random);
      now += tickAdvance;
      seen.push({ tick: now, instance });
      yield { frame: builder.next(), tickAdvance, instance };
      if (!random.chance(0.03)) continue;
      // To the very tick at which something seen in this scene becomes too old, or the one before, and several frames there.
      const old = random.pick(seen);
      const { windowTicks, unprovenTicks } = instances[old.instance]!;
      const edge = old.tick + (random.chance(0.7) ? windowTicks : unprovenTicks) - random.below(2);
      if (edge <= now) continue;
      for (let count = 0; count < EDGE_FRAMES; count++) {
        yield { frame: builder.next(), tickAdvance: edge - now, instance: old.instance };
        now = edge;
      }
    }
  }
}

/** Frames with changes of the tables among them, one in about fifty. */
export function* randomSteps(seed: number): Generator<RandomFrame | RandomChange, never> {
  const random = new Random(seed ^ 0x73746570);
  const world = randomWorld(seed);
  let now = RANDOM_START;
  for (const step of randomFrames(seed)) {
    now += step.tickAdvance;
    yield step;
    if (!random.chance(0.02)) continue;
    // More than the two ticks for which a source that has just become a block is held to be one.
    const tickAdvance = 3 + random.below(10);
    now += tickAdvance;
    yield { change: randomChange(random, world, now), tickAdvance };
  }
  throw new Error('unreachable: frames never end');
}

/** Slow against the windows of randomWorld, so that thresholds are reached, with a leap now and then. */
function randomTicks(random: Random): number {
  const kind = random.below(1_000);
  if (kind < 600) return 0;
  if (kind < 985) return 1 + random.below(3);
  return kind < 998 ? random.below(60) : random.below(900);
}

function randomEntry(random: Random, now: number): TableChange {
  const value = random.chance(0.3) ? null : { until: now + random.below(4_000) };
  switch (random.below(6)) {
    case 0:
      return { table: 'manual', prefix: random.pick(LISTABLE), value };
    case 1:
    case 2:
      return { table: 'allows', slot: random.below(3), prefix: random.pick(ALLOWABLE), value };
    default:
      return {
        table: 'lists',
        slot: random.below(3),
        prefix: random.pick(LISTABLE),
        value: value && {
          owner: random.pick(LIST_OWNERS),
          enforce: random.chance(0.5),
          allTraffic: random.chance(0.5),
          spared: random.chance(0.2),
        },
      };
  }
}

function randomChange(random: Random, world: RandomWorld, now: number): TableChange {
  const kind = random.below(10);
  if (kind < 5) return randomEntry(random, now);
  if (kind < 6) {
    const value = random.chance(0.5) ? { neverBlock: true } : null;
    return { table: 'classes', prefix: random.pick(RECLASSABLE), value };
  }
  if (kind < 7) return { table: 'own', address: OWN4[1] as string, value: random.chance(0.7) || null };
  const { policy, ipv6PrefixLength } = random.pick(world.instances);
  const source = random.pick(random.chance(0.5) ? SOURCES4 : SOURCES6);
  return { table: 'blocks', owner: policy, source: blockedPrefix(source, ipv6PrefixLength), value: null };
}

function blockedPrefix(source: string, ipv6PrefixLength: number): string {
  if (!source.includes(':')) return source;
  const single = source.startsWith('fe80:') || source.startsWith('2001:db8:0:1:');
  const length = single ? 128 : ipv6PrefixLength;
  return `${formatAddress(toAddress(source) & prefixMask(length))}/${length}`;
}

/** xoshiro128**: fast, and long enough that a run of a million frames does not repeat. */
class Random {
  readonly #state = new Uint32Array(4);

  constructor(seed: number) {
    // SplitMix32, so that neighbouring seeds give unlike states.
    let mix = seed >>> 0;
    for (let index = 0; index < 4; index++) {
      mix = (mix + 0x9e3779b9) >>> 0;
      let word = Math.imul(mix ^ (mix >>> 16), 0x85ebca6b);
      word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
      this.#state[index] = word ^ (word >>> 16);
    }
  }

  /** 0 .. 2^32 - 1. */
  word(): number {
    const state = this.#state;
    const [a, b, c, d] = [state[0]!, state[1]!, state[2]!, state[3]!];
    const scrambled = Math.imul(b, 5);
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0;
    state[2] = c ^ a;
    state[3] = d ^ b;
    state[1] = b ^ state[2];
    state[0] = a ^ state[3];
    state[2] = state[2] ^ (b << 9);
    state[3] = (state[3] << 11) | (state[3] >>> 21);
    return result;
  }

  /** 0 .. limit - 1. */
  below(limit: number): number {
    return Math.floor((this.word() / 0x1_0000_0000) * limit);
  }

  chance(probability: number): boolean {
    return this.word() < probability * 0x1_0000_0000;
  }

  pick<Value>(values: readonly Value[]): Value {
    return values[this.below(values.length)] as Value;
  }
}

/** Everything in front of the transport header; addresses and lengths are written for each frame. */
interface Template {
  readonly bytes: Buffer;
  readonly version: 4 | 6;
  readonly ipAt: number;
  /** Where the number of the transport protocol stands. */
  readonly protocolAt: number;
}

const TAGS: Tag[][] = [
  ...new Array<Tag[]>(20).fill([]),
  ...[[{}], [{}], [{ tpid: 0x88a8 }, {}], [{ tpid: 0x88a8 }, {}], [{}, {}], [{ tpid: 0x88a8 }], [{}, {}, {}]],
];

const CHAINS: Extension[][] = [
  ...new Array<Extension[]>(12).fill([]),
  ...(Object.keys(EXTENSION) as Extension['kind'][]).map((kind): Extension[] => [{ kind }]),
  [{ kind: 'hop-by-hop', bytes: 24 }, { kind: 'destination' }],
  [{ kind: 'ah', bytes: 12 }],
  [{ kind: 'destination', lengthField: 3 }],
  [{ kind: 'fragment', more: true }],
  [{ kind: 'fragment', more: true }],
  [{ kind: 'destination' }, { kind: 'fragment', more: true }, { kind: 'destination' }],
  [{ kind: 'fragment', offset: 1 }],
  [
    { kind: 'routing', bytes: 24 },
    { kind: 'fragment', offset: 9, more: true },
  ],
  [
    { kind: 'fragment', more: true },
    { kind: 'fragment', offset: 3 },
  ],
  ...[2, 3, 4, 5, 8, 9].map((count) => new Array<Extension>(count).fill({ kind: 'destination' })),
];

function templates(): Template[] {
  const nothing = raw(0, 0);
  const four = TAGS.flatMap((tags) =>
    [0, 0, 0, 4, 8, 40].map((options): Template => {
      const packet = ipv4({ source: '0.0.0.0', destination: '0.0.0.0', options, payload: nothing });
      const ipAt = 14 + tags.length * 4;
      return { bytes: frame({ packet, tags, padTo: 0 }), version: 4, ipAt, protocolAt: ipAt + 9 };
    }),
  );
  const six = TAGS.flatMap((tags) =>
    CHAINS.map((extensions): Template => {
      const packet = ipv6({ source: '::', destination: '::', extensions, payload: nothing });
      const bytes = frame({ packet, tags, padTo: 0 });
      const ipAt = 14 + tags.length * 4;
      const lastBytes = extensions.at(-1)?.bytes ?? 8;
      const protocolAt = extensions.length === 0 ? ipAt + 6 : bytes.length - lastBytes;
      return { bytes, version: 6, ipAt, protocolAt };
    }),
  );
  return [...four, ...six];
}

const PORTS = [22, 22, 80, 80, 443, 443, 8080, 53, 0, 65_535, 256, 1];
const SYN_FLAGS = [2, 2, 2, 2, 2, 0xc2, 0x0a];
const PROBE_FLAGS = [0, 1, 0x29, 3, 6, 0x08, 0xff];
const FLOW_FLAGS = [0x10, 0x10, 0x18, 0x11, 0x12, 4, 0x14, 0x16];
const PROTOCOLS = [1, 17, 17, 50, 58, 58, 59, 132, 6];
const ETHERTYPES = [0x0806, 0x8847, 0x8864, 0x86dd, 0x0800, 0x8100, 0x88a8, 0x002e];

class FrameBuilder {
  readonly #random: Random;
  readonly #four: readonly Template[];
  readonly #six: readonly Template[];
  readonly #sources = { 4: SOURCES4.map(addressBytes), 6: SOURCES6.map(addressBytes) };
  readonly #targets = { 4: TARGETS4.map(addressBytes), 6: TARGETS6.map(addressBytes) };
  #scene: Record<4 | 6, readonly Buffer[]> = this.#sources;

  constructor(random: Random) {
    this.#random = random;
    const all = templates();
    this.#four = all.filter((template) => template.version === 4);
    this.#six = all.filter((template) => template.version === 6);
  }

  /** From here on most frames come from other sources than before. */
  newScene(): void {
    const some = (all: readonly Buffer[]) => Array.from({ length: SCENE_SOURCES }, () => this.#random.pick(all));
    this.#scene = { 4: some(this.#sources[4]), 6: some(this.#sources[6]) };
  }

  next(): Buffer {
    const random = this.#random;
    if (random.chance(0.02)) return this.#noise();
    const template = random.pick(random.chance(0.5) ? this.#four : this.#six);
    const protocol = random.chance(0.85) ? 6 : random.pick(PROTOCOLS);
    const built = this.#build(template, protocol);
    return random.chance(0.12) ? this.#spoil(built, template) : built;
  }

  #build(template: Template, protocol: number): Buffer {
    const random = this.#random;
    const { bytes: head, version, ipAt } = template;
    const transportAt = head.length;
    let transportBytes = protocol === 6 ? 20 + 4 * random.pick([0, 0, 1, 5, 10]) : 8 + random.below(40);
    const headerBytes = transportBytes;
    if (protocol === 6) transportBytes += random.pick([0, 0, 0, 7, 40]);
    const whole = Buffer.alloc(transportAt + transportBytes);
    head.copy(whole);
    whole[template.protocolAt] = protocol;
    const source = random.pick((random.chance(0.85) ? this.#scene : this.#sources)[version]);
    const target = random.pick(this.#targets[version]);
    source.copy(whole, ipAt + (version === 4 ? 12 : 8));
    target.copy(whole, ipAt + (version === 4 ? 16 : 24));
    if (protocol === 6) this.#writeTcp(whole, transportAt, headerBytes, source, target);
    else this.#writeOther(whole, transportAt, template, protocol);
    const cut = random.chance(0.08) ? random.below(Math.min(transportBytes, 24)) : transportBytes;
    const packetEnd = transportAt + cut;
    if (version === 4) {
      whole.writeUInt16BE(packetEnd - ipAt, ipAt + 2);
      if (random.chance(0.12)) whole.writeUInt16BE(random.pick([0x2000, 0x2000, 0x2001, 0x0001, 0x4000]), ipAt + 6);
    } else whole.writeUInt16BE(packetEnd - ipAt - 40, ipAt + 4);
    const packet = whole.subarray(0, packetEnd);
    return packetEnd < 60 && random.chance(0.9) ? Buffer.concat([packet, Buffer.alloc(60 - packetEnd)]) : packet;
  }

  #writeTcp(whole: Buffer, at: number, headerBytes: number, source: Buffer, target: Buffer): void {
    const random = this.#random;
    whole.writeUInt16BE(1024 + random.below(60_000), at);
    whole.writeUInt16BE(random.chance(0.95) ? random.pick(PORTS) : random.below(65_536), at + 2);
    whole.writeUInt32BE(random.word(), at + 4);
    whole.writeUInt32BE(random.word(), at + 8);
    whole[at + 12] = (headerBytes / 4) << 4;
    const kind = random.below(100);
    const known = kind < 55 ? SYN_FLAGS : kind < 75 ? PROBE_FLAGS : FLOW_FLAGS;
    whole[at + 13] = kind < 95 ? random.pick(known) : random.below(256);
    whole.fill(1, at + 20, at + headerBytes);
    whole.fill(random.below(256), at + headerBytes);
    const pseudo = pseudoHeaderSum(source, target, 6, whole.length - at);
    const right = complement(pseudo + sumWords(whole, at));
    const checksum = random.below(100);
    const value = checksum < 85 ? right : checksum < 95 ? fold(pseudo) : random.below(65_536);
    whole.writeUInt16BE(value, at + 16);
  }

  #writeOther(whole: Buffer, at: number, { version, ipAt }: Template, protocol: number): void {
    const random = this.#random;
    for (let index = at; index < whole.length; index++) whole[index] = random.below(256);
    if (protocol !== 58 && protocol !== 1) return;
    // ICMP errors, requests and neighbour discovery at the edges of their ranges.
    whole[at] = random.pick([3, 11, 12, 8, 1, 2, 4, 128, 132, 133, 135, 137, 138]);
    if (version === 6 && random.chance(0.7)) whole[ipAt + 7] = 255;
  }

  /** One lie, flipped byte or cut; the checksum stays as it was. */
  #spoil(packet: Buffer, { version, ipAt, bytes: head }: Template): Buffer {
    const random = this.#random;
    const spoiled = Buffer.from(packet);
    switch (random.below(8)) {
      case 0:
        return spoiled.subarray(0, Math.min(spoiled.length, 14 + random.below(spoiled.length)));
      case 1:
        spoiled.writeUInt16BE(random.below(version === 4 ? 160 : 120), ipAt + (version === 4 ? 2 : 4));
        return spoiled;
      case 2:
        spoiled[ipAt] = random.below(256);
        return spoiled;
      case 3:
        spoiled.writeUInt16BE(random.pick(ETHERTYPES), ipAt - 2);
        return spoiled;
      case 4:
        return Buffer.concat([spoiled, Buffer.alloc(random.below(40), 0x5a)]);
      case 5: {
        // The data offset, or the flags.
        const at = head.length + 12 + random.below(2);
        if (at < spoiled.length) spoiled[at] = random.below(256);
        return spoiled;
      }
      default: {
        const at = 12 + random.below(spoiled.length - 12);
        spoiled[at] = (spoiled[at] as number) ^ (1 << random.below(8));
        return spoiled;
      }
    }
  }

  #noise(): Buffer {
    const random = this.#random;
    const bytes = Buffer.alloc(14 + random.below(120));
    for (let index = 0; index < bytes.length; index++) bytes[index] = random.below(256);
    if (random.chance(0.7)) {
      const version = random.pick([4, 6] as const);
      bytes.writeUInt16BE(version === 4 ? 0x0800 : 0x86dd, 12);
      if (bytes.length > 19) {
        bytes[14] = version === 4 ? 0x45 : 0x60;
        bytes.writeUInt16BE(Math.max(0, bytes.length - (version === 4 ? 14 : 54)), version === 4 ? 16 : 18);
      }
    }
    return bytes;
  }
}
