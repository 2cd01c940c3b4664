import { describe, expect, test } from 'vitest';
import { RANDOM_START, randomFrames, randomSteps, randomWorld } from '../packets/random-frames.ts';
import { Model } from './model.ts';
import { parseIp } from './parse.ts';
import { REASONS, type Reason, verdictOf } from './reasons.ts';
import { ModelTables } from './tables.ts';

const take = (seed: number, count: number) => {
  const frames = randomFrames(seed);
  return Array.from({ length: count }, () => frames.next().value);
};

describe('the generator', () => {
  test('gives the same frames, ticks and interfaces for the same seed', () => {
    expect(take(7, 2_000)).toEqual(take(7, 2_000));
    expect(randomWorld(7)).toEqual(randomWorld(7));
  });

  test('gives other frames for a neighbouring seed', () => {
    const [one, other] = [take(7, 200), take(8, 200)];
    expect(one.filter((step, index) => step.frame.equals(other[index]!.frame)).length).toBeLessThan(5);
  });

  test('gives the same changes of tables for the same seed, never within the two ticks after a block', () => {
    const steps = (seed: number) => {
      const all = randomSteps(seed);
      return Array.from({ length: 3_000 }, () => all.next().value);
    };
    expect(steps(3)).toEqual(steps(3));
    const changes = steps(3).filter((step) => 'change' in step);
    expect(changes.length).toBeGreaterThan(20);
    expect(Math.min(...changes.map((step) => step.tickAdvance))).toBeGreaterThan(2);
  });

  test('frames are at least an Ethernet header long and fit one page', () => {
    for (const { frame } of take(5, 20_000)) {
      expect(frame.length).toBeGreaterThanOrEqual(14);
      expect(frame.length).toBeLessThan(1_514);
    }
  });

  test('reaches every reason that needs no socket, in a run of 60,000 steps', () => {
    const seen = new Set<Reason>();
    for (const seed of [1, 2, 3])
      for (const [, reason] of run(seed, 20_000).flatMap(({ counts }) => counts)) seen.add(reason);
    const missing = REASONS.filter((reason) => !seen.has(reason));
    expect(missing).toEqual(['PASS_LIVE_FLOW', 'PASS_ICMP_ERROR']);
  });
});

describe('whatever arrives', () => {
  const outcomes = [11, 12, 13, 14].flatMap((seed) => run(seed, 10_000));

  test("one final reason is counted, and before it at most a list's would-drop", () => {
    for (const { counts, verdict } of outcomes) {
      expect(counts.length).toBeLessThanOrEqual(2);
      expect(verdict).toBe(verdictOf(counts.at(-1)![1]));
      if (counts.length === 2) expect(counts[0]![1]).toBe('WOULD_DROP_LIST');
    }
  });

  test('a source in the never-block set is never dropped', () => {
    const spared = outcomes.filter((outcome) => outcome.neverBlock);
    expect(spared.length).toBeGreaterThan(1_000);
    expect(spared.filter(({ verdict }) => verdict === 'drop')).toEqual([]);
  });

  test('in Monitor, and where no policy governs, only lists and manual blocks drop, and what hides from lists', () => {
    const drops = outcomes.filter(({ enforce, verdict }) => !enforce && verdict === 'drop');
    expect(drops.length).toBeGreaterThan(100);
    expect(new Set(drops.map(({ counts }) => counts.at(-1)![1]))).toEqual(
      new Set(['DROP_LIST', 'DROP_MANUAL', 'DROP_VLAN_TAGS']),
    );
  });

  test('what is owned by no list and no policy is malformed, not IP or blocked by hand', () => {
    const reasons = outcomes
      .filter((one) => one.policy !== 0)
      .flatMap(({ counts }) => counts.filter(([owner]) => owner === 0));
    expect(new Set(reasons.map(([, reason]) => reason))).toEqual(
      new Set(['PASS_MALFORMED', 'PASS_NOT_IP', 'DROP_MANUAL']),
    );
  });
});

function run(seed: number, count: number) {
  const world = randomWorld(seed);
  const tables = new ModelTables(world.tables);
  const models = world.instances.map((config) => new Model(config, tables));
  const outcomes = [];
  let now = RANDOM_START;
  const steps = randomSteps(seed);
  for (let index = 0; index < count; index++) {
    const step = steps.next().value;
    now += step.tickAdvance;
    if ('change' in step) {
      tables.apply(step.change);
      continue;
    }
    const { config } = models[step.instance]!;
    const packet = parseIp(step.frame);
    const known = typeof packet === 'string' ? undefined : tables.classes.get(packet.version, packet.source);
    const outcome = models[step.instance]!.process(step.frame, now);
    outcomes.push({
      ...outcome,
      neverBlock: known?.neverBlock === true,
      enforce: config.enforce,
      policy: config.policy,
    });
  }
  return outcomes;
}
