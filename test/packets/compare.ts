/** Runs one random sequence through the model and through the program in the kernel, and says where they part. */

import { decodeManual, decodeTrieKey } from '../../agent/datapath/codec.ts';
import { readLosses } from '../../agent/datapath/counters.ts';
import { blockFlag } from '../../agent/datapath/layout.ts';
import { walk } from '../../agent/datapath/tables.ts';
import type { Prefix } from '../../api/cidr.ts';
import { Model, type Outcome } from '../model/model.ts';
import { type Block, ModelTables } from '../model/tables.ts';
import { mapped } from '../support/address.ts';
import { type KernelNode, XDP_DROP } from './kernel-node.ts';
import { RANDOM_START, type RandomChange, type RandomFrame, type RandomWorld } from './random-frames.ts';

/** A run of frames, or of frames and changes; the same at each call. */
export type Sequence = () => Iterator<RandomFrame | RandomChange>;

type KernelEvent = ReturnType<KernelNode['events']>[number];

/** Owners of randomWorld: the node, policies, lists. */
const OWNERS = [0, 1, 2, 3, 4, 11, 12, 13];
/** Losses that would make a difference the model does not know: it forgets nothing. */
const LOSSES = ['first-target-evicted', 'source-evicted', 'block-evicted', 'block-table-full', 'ring-full'];
const EVENT_CONNECTION = 1;
const EVENT_BLOCK = 2;

export interface CompareOptions {
  readonly steps: number;
  readonly checkEvery: number;
  /** What the model is given in place of the world's own instances: a difference that must be found. */
  readonly modelled?: RandomWorld['instances'];
}

export interface Parted {
  readonly step: number;
  readonly what: string;
}

/**
 * Compares the verdict of each packet; the counters of all owners, the events and what was lost every `checkEvery`
 * packets and at the end; the blocks at the end. Returns the first difference.
 */
export async function compare(
  node: KernelNode,
  world: RandomWorld,
  sequence: Sequence,
  { steps, checkEvery, modelled = world.instances }: CompareOptions,
): Promise<Parted | undefined> {
  const tables = new ModelTables(world.tables);
  const models = modelled.map((config) => new Model(config, tables));
  await node.reset();
  for (const change of world.tables) await node.apply(change);
  const instances = [];
  for (const config of world.instances) instances.push(await node.instance(config));
  const lossesBefore = readLosses(node.tables);
  const before = node.counters(OWNERS);
  const counted = new Map<string, number>();
  let events: Outcome['events'][number][] = [];
  let now = RANDOM_START;
  node.tick = now;

  const check = (): string | undefined =>
    firstDifference('counters', countersSince(before, node.counters(OWNERS)), counted) ??
    differentEvents(node.events(), events) ??
    firstDifference('losses', lossesSince(lossesBefore, readLosses(node.tables)), new Map());

  const iterator = sequence();
  for (let step = 0; step < steps; step++) {
    const next: RandomFrame | RandomChange = iterator.next().value;
    if (next.tickAdvance > 0) {
      now += next.tickAdvance;
      node.tick = now;
    }
    if ('change' in next) {
      tables.apply(next.change);
      await node.apply(next.change);
      continue;
    }
    const outcome = models[next.instance]!.process(next.frame, now);
    const { action } = instances[next.instance]!.run(next.frame);
    for (const [owner, reason] of outcome.counts) {
      const name = `${owner} ${reason}`;
      counted.set(name, (counted.get(name) ?? 0) + 1);
    }
    events.push(...outcome.events);
    const verdict = action === XDP_DROP ? 'drop' : 'pass';
    const check1 = verdict === outcome.verdict ? undefined : `the program says ${verdict}`;
    const what = check1 ?? ((step + 1) % checkEvery === 0 ? check() : undefined);
    if (what !== undefined) return { step, what: `${what}\n${describe(next, now, outcome)}` };
    if ((step + 1) % checkEvery === 0) events = [];
  }
  const what = check() ?? differentBlocks(node, tables) ?? differentManualBlocks(node, tables);
  return what === undefined ? undefined : { step: steps - 1, what };
}

function describe({ frame, instance }: RandomFrame, now: number, { verdict, counts }: Outcome): string {
  const reasons = counts.map(([owner, reason]) => `${reason} of ${owner}`).join(', ');
  return `instance ${instance}, tick ${now}, the model says ${verdict}: ${reasons}\n${frame.toString('hex')}`;
}

function firstDifference(
  what: string,
  kernel: ReadonlyMap<string, number>,
  model: ReadonlyMap<string, number>,
): string | undefined {
  const differences = [...new Set([...kernel.keys(), ...model.keys()])]
    .filter((name) => (kernel.get(name) ?? 0) !== (model.get(name) ?? 0))
    .map((name) => `${name}: program ${kernel.get(name) ?? 0}, model ${model.get(name) ?? 0}`);
  return differences.length === 0 ? undefined : `${what} differ: ${differences.join('; ')}`;
}

function countersSince(before: ReadonlyMap<string, number>, now: ReadonlyMap<string, number>): Map<string, number> {
  return new Map([...now].map(([name, count]) => [name, count - (before.get(name) ?? 0)]));
}

function lossesSince(before: Readonly<Record<string, number>>, now: Readonly<Record<string, number>>) {
  return new Map(LOSSES.map((name) => [name, (now[name] ?? 0) - (before[name] ?? 0)]));
}

/** The newest target's port first; the kernel keeps the others in no order. */
const inKernelsOrder = (ports: readonly number[]): string => `${[ports[0], ...ports.slice(1).sort((a, b) => a - b)]}`;

const sourceOf = ({ source, sourceLength }: Pick<Block, 'source' | 'sourceLength'>): string => {
  const v4 = sourceLength === 32 && source >> 32n === 0xffffn;
  return `${v4 ? 4 : 6} ${(v4 ? source & 0xffff_ffffn : source).toString(16)}/${sourceLength}`;
};
const prefixText = ({ family, value, length }: Prefix): string => `${family} ${value.toString(16)}/${length}`;

function differentEvents(kernel: readonly KernelEvent[], model: readonly Outcome['events'][number][]) {
  const ofKernel = kernel.map((event) =>
    event.kind === EVENT_BLOCK
      ? `block of ${prefixText(event.source!)} until ${event.until}, ${event.probes} probes, ports ${inKernelsOrder(event.ports!)}`
      : event.kind === EVENT_CONNECTION
        ? 'connection'
        : `kind ${event.kind}`,
  );
  const ofModel = model.map((event) =>
    event.kind === 'block'
      ? `block of ${sourceOf(event.block)} until ${event.block.until}, ${event.block.probes} probes, ports ${inKernelsOrder(event.ports)}`
      : 'connection',
  );
  const at = Array.from({ length: Math.max(ofKernel.length, ofModel.length) }, (_, i) => i).find(
    (i) => ofKernel[i] !== ofModel[i],
  );
  return at === undefined
    ? undefined
    : `event ${at} differs: program ${ofKernel[at] ?? 'none'}, model ${ofModel[at] ?? 'none'}`;
}

function differentBlocks(node: KernelNode, tables: ModelTables): string | undefined {
  const ofKernel = new Map(
    node
      .blocks()
      .map(({ key, block }) => [
        `${key.owner} ${prefixText(key.source)}`,
        [
          ...[block.since, block.until, block.last].map(String),
          `dropped ${block.dropped}`,
          `probes ${block.probes}`,
          `ports ${inKernelsOrder(block.ports)}`,
          `flags ${block.flags}`,
        ].join(', '),
      ]),
  );
  const ofModel = new Map(
    [...tables.blocks.values()].map((block) => [
      `${block.owner} ${sourceOf(block)}`,
      [
        ...[block.since, block.until, block.last].map(String),
        `dropped ${block.dropped}`,
        `probes ${block.probes}`,
        `ports ${inKernelsOrder(block.ports)}`,
        `flags ${
          (block.monitor ? blockFlag.BLOCK_MONITOR : 0) |
          (block.spared ? blockFlag.BLOCK_SPARED : 0) |
          (block.proven ? blockFlag.BLOCK_PROVEN : 0)
        }`,
      ].join(', '),
    ]),
  );
  const name = [...new Set([...ofKernel.keys(), ...ofModel.keys()])].find(
    (key) => ofKernel.get(key) !== ofModel.get(key),
  );
  return name === undefined
    ? undefined
    : `block ${name} differs:\nprogram ${ofKernel.get(name) ?? 'has none'}\nmodel   ${ofModel.get(name) ?? 'has none'}`;
}

/** Manual blocks are the test's own; what the program writes there is how many packets each has dropped. */
function differentManualBlocks(node: KernelNode, tables: ModelTables): string | undefined {
  for (const name of ['manual4', 'manual6']) {
    for (const { key, value } of walk(node.tables.map(name))) {
      const { family, value: first, length } = decodeTrieKey(key);
      const { dropped } = decodeManual(value);
      const wanted = tables.manual.get(family, family === 4 ? mapped(Number(first)) : first)?.dropped;
      if (dropped !== wanted)
        return `manual block ${prefixText({ family, value: first, length })} dropped: program ${dropped}, model ${wanted}`;
    }
  }
  return undefined;
}
