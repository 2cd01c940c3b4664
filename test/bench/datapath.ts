import type { BpfProgram } from '../../agent/libbpf/program.ts';
import { ackFrame, encodeKeys, type Probe, synFrame, udpFrame } from './frames.ts';
import { figure, ratios, type Section, showGoal, showRatio, spreadOf, table } from './measure.ts';
import {
  BenchNode,
  type InstanceOptions,
  POLICY,
  type Range,
  shuffledAddress,
  standardPopulation,
  UNLIMITED_EVENTS,
} from './node.ts';
import { KEYS } from './objects.ts';
import { startReader } from './reader-process.ts';
import { TimedRun } from './timed-run.ts';

const XDP_DROP = 1;
const XDP_PASS = 2;

/** One row: a kind of packet, from one hot source or from sources random over many. */
interface Scenario {
  readonly kind: string;
  readonly sources: 'hot' | 'random';
  readonly action: number;
  readonly frame: Buffer;
  readonly goal?: number;
  readonly instance: InstanceOptions;
  /** Without: the frame as it is, and a plain XDP_DROP to compare with. */
  readonly keys?: (round: number) => Buffer;
  readonly packets: number;
  /** Before the keys are walked and timed. */
  readonly prepare?: (round: number, run: (packets: number) => void) => void;
}

const HOT_SOURCE = 0xcb00710a; // 203.0.113.10
const HOT_PACKETS = 1_000_000;
/** Fits the first-level cache and is more than a domain holds: in one domain each of them is always unknown. */
const HOT_KEYS = 1024;

const inRange = ({ first, length }: Range, random: number): number =>
  length === 32 ? first : (first | (random & (2 ** (32 - length) - 1))) >>> 0;

/** Sources out of these ranges, in random order. */
const keysWithin = (ranges: readonly Range[], series: number): Buffer =>
  encodeKeys(KEYS, (i) => {
    const random = shuffledAddress(i, series);
    return { source: inRange(ranges[random % ranges.length]!, shuffledAddress(i, series + 1)), port: 80 };
  });

const anySource =
  (series: number, port = 80) =>
  (i: number): Probe => ({ source: shuffledAddress(i, series), port });

/** Below N = 15 targets a source, one after another or shuffled over all sources. */
const TARGETS = POLICY.distinctTargets - 1;
const MANY_TARGETS_SOURCES = 16_384;
const manyTargets = (count: number, series: number, isShuffled: boolean): Buffer => {
  const probes = isShuffled
    ? Array.from({ length: count }, (_, i) => i).sort((a, b) => shuffledAddress(a, 7) - shuffledAddress(b, 7))
    : undefined;
  return encodeKeys(count, (i) => {
    const probe = probes?.[i] ?? i;
    return { source: shuffledAddress(Math.floor(probe / TARGETS), series), port: 1 + (probe % TARGETS) };
  });
};

const scenarios = (node: BenchNode, short: boolean): Scenario[] => {
  const { listed, allowed, blocked } = standardPopulation;
  const hot = short ? HOT_PACKETS / 4 : HOT_PACKETS;
  const random = short ? KEYS / 4 : KEYS;
  const once = <T>(make: () => T): (() => T) => {
    let made: T | undefined;
    return () => {
      made ??= make();
      return made;
    };
  };
  const anywhere = once(() => encodeKeys(KEYS, anySource(200)));
  const listedKeys = once(() => keysWithin(listed, 300));
  const allowedKeys = once(() => keysWithin(allowed, 302));
  const blockedKeys = once(() =>
    keysWithin(
      blocked.map((first) => ({ first, length: 32 })),
      304,
    ),
  );
  const manyKeys = once(() => manyTargets(KEYS / 4, 400, true));
  // Each pass starts with sources that were never seen.
  const newSources = (round: number) => encodeKeys(KEYS, anySource(1000 + round));
  const forget = () => node.forgetTracked();
  const learn = (_: number, run: (packets: number) => void) => {
    node.forgetTracked();
    run(KEYS);
  };
  const plain = {};
  const logged = { policy: { ...POLICY, logConnections: true } };
  const loggedAll = { ...logged, connectionEventsPerSecond: UNLIMITED_EVENTS };

  const simple = (
    kind: string,
    action: number,
    frame: (source: number) => Buffer,
    hotSource: number,
    keys: () => Buffer,
    goals: readonly [number?, number?],
  ): Scenario[] => {
    const row = { kind, action, instance: plain, frame: frame(hotSource) };
    return [
      { ...row, sources: 'hot', packets: hot, ...(goals[0] !== undefined && { goal: goals[0] }) },
      { ...row, sources: 'random', packets: random, keys, ...(goals[1] !== undefined && { goal: goals[1] }) },
    ];
  };
  const unknown = (kind: string, instance: InstanceOptions): Scenario[] => [
    {
      kind,
      sources: 'hot',
      action: XDP_PASS,
      frame: synFrame(HOT_SOURCE),
      instance: { ...instance, oneDomain: true },
      keys: (round) => encodeKeys(HOT_KEYS, anySource(2000 + round)),
      packets: hot,
      goal: 10,
    },
    {
      kind,
      sources: 'random',
      action: XDP_PASS,
      frame: synFrame(HOT_SOURCE),
      instance,
      keys: newSources,
      packets: random,
      goal: 15,
    },
  ];

  return [
    ...simple('unconcerned TCP', XDP_PASS, ackFrame, HOT_SOURCE, anywhere, [1.4, 2]),
    ...simple('unconcerned UDP', XDP_PASS, udpFrame, HOT_SOURCE, anywhere, [1.4, 2]),
    ...simple('allowed, TCP', XDP_PASS, ackFrame, allowed[0]!.first, allowedKeys, []),
    ...simple('listed, TCP', XDP_DROP, ackFrame, listed[0]!.first, listedKeys, []),
    ...simple('blocked, SYN', XDP_DROP, synFrame, blocked[0]!, blockedKeys, [3, 5]),
    ...simple('blocked, UDP', XDP_DROP, udpFrame, blocked[0]!, blockedKeys, [3, 5]),
    ...simple('blocked, ACK (socket look-up)', XDP_DROP, ackFrame, blocked[0]!, blockedKeys, []),
    {
      kind: 'SYN, known source, same target',
      sources: 'hot',
      action: XDP_PASS,
      frame: synFrame(HOT_SOURCE),
      instance: plain,
      packets: hot,
      prepare: forget,
    },
    {
      kind: 'SYN, known source, same target',
      sources: 'random',
      action: XDP_PASS,
      frame: synFrame(HOT_SOURCE),
      instance: plain,
      keys: anywhere,
      packets: random,
      prepare: learn,
    },
    {
      kind: `SYN, known source, new target (1 to ${TARGETS} of ${TARGETS + 1})`,
      sources: 'hot',
      action: XDP_PASS,
      frame: synFrame(HOT_SOURCE),
      instance: { ...plain, oneDomain: true },
      keys: (round) => manyTargets(KEYS / 4, 3000 + round, false),
      packets: hot,
      prepare: forget,
    },
    {
      kind: `SYN, known source, new target (1 to ${TARGETS} of ${TARGETS + 1})`,
      sources: 'random',
      action: XDP_PASS,
      frame: synFrame(HOT_SOURCE),
      instance: plain,
      keys: manyKeys,
      packets: Math.min(random, MANY_TARGETS_SOURCES * TARGETS),
      prepare: forget,
    },
    ...unknown('SYN, unknown source', plain),
    ...unknown('SYN, unknown source, told (50,000 events/s)', logged),
    ...unknown('SYN, unknown source, all of them told', loggedAll),
  ];
};

interface Measured {
  readonly scenario: Scenario;
  readonly ns: number[];
  readonly bareNs: number[];
  readonly rotatedNs: number[];
}

export const datapathSection: Section = {
  name: 'datapath',
  title:
    'Cost of a packet as a ratio to a bare XDP_DROP: 50 never-block, 10,000 listed, 100 allowed prefixes, 1,000 blocked sources',
  run: async ({ short, print }) => {
    await using node = await BenchNode.create(standardPopulation);
    await using _reader = await startReader(node.pinPath);
    const anyFrame = udpFrame(HOT_SOURCE);
    const bare = new TimedRun(await node.program('bare', 'bare'), anyFrame);
    const rotated = new TimedRun(await node.program('bare', 'rotated_bare'), anyFrame);
    const guards = new Map<string, TimedRun>();
    const guardFor = async ({ instance, keys }: Scenario): Promise<TimedRun> => {
      const name = JSON.stringify([instance, keys !== undefined]);
      const known = guards.get(name);
      if (known) return known;
      let program: BpfProgram;
      if (keys) program = await node.program('rotated-guard', 'rotated_guard', instance);
      else program = await node.guard(instance);
      const run = new TimedRun(program, anyFrame);
      guards.set(name, run);
      return run;
    };

    const measured: Measured[] = scenarios(node, short).map((scenario) => ({
      scenario,
      ns: [],
      bareNs: [],
      rotatedNs: [],
    }));
    for (const { scenario } of measured) await guardFor(scenario);
    const rounds = short ? 3 : 11;
    for (let round = 0; round < rounds; round++) {
      for (const { scenario, ns, bareNs, rotatedNs } of measured) {
        const guard = await guardFor(scenario);
        const keys = scenario.keys?.(round);
        if (keys) node.keys.use(keys);
        scenario.prepare?.(round, (packets) => guard.run(scenario.frame, packets));
        bareNs.push(bare.run(scenario.frame, HOT_PACKETS).ns);
        if (keys) {
          rotatedNs.push(rotated.run(scenario.frame, scenario.packets).ns);
          node.keys.use(keys);
        }
        const { action, ns: packetNs } = guard.run(scenario.frame, scenario.packets);
        if (action !== scenario.action)
          throw new Error(`${scenario.kind}, ${scenario.sources}: action ${action}, not ${scenario.action}`);
        ns.push(packetNs);
      }
    }

    const rows = measured.map(({ scenario, ns, bareNs, rotatedNs }) => {
      const toBare = ratios(ns, bareNs);
      const toRotated = rotatedNs.length ? ratios(ns, rotatedNs) : undefined;
      return { scenario, ns: spreadOf(ns), toBare, toRotated, judged: toRotated ?? toBare };
    });
    const spread = spreadOf(measured.flatMap(({ bareNs }) => bareNs));
    print(
      `a bare XDP_DROP took ${spread.median.toFixed(1)} ns (${spread.min.toFixed(1)}-${spread.max.toFixed(1)}), median of ${rounds} rounds`,
    );
    print(
      table([
        ['packet', 'sources', 'ns', 'x bare XDP_DROP', 'x the same with changing sources', 'goal'],
        ...rows.map(({ scenario, ns, toBare, toRotated, judged }) => [
          scenario.kind,
          scenario.sources,
          ns.median.toFixed(0),
          showRatio(toBare),
          toRotated ? showRatio(toRotated) : '',
          showGoal(judged.median, scenario.goal),
        ]),
      ]),
    );
    return {
      figures: rows.flatMap(({ scenario, toBare, toRotated, judged }) => {
        const name = `${scenario.kind}, ${scenario.sources}`;
        return [
          figure(name, toRotated ? 'x XDP_DROP with changing sources' : 'x XDP_DROP', judged, scenario.goal),
          ...(toRotated ? [figure(name, 'x XDP_DROP', toBare)] : []),
        ];
      }),
    };
  },
};
