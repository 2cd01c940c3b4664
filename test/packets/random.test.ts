import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ModelConfig } from '../model/model.ts';
import { TestNet } from '../support/namespaces.ts';
import { compare, type Sequence } from './compare.ts';
import { KernelNode, testSizes } from './kernel-node.ts';
import { randomFrames, randomSteps, randomWorld } from './random-frames.ts';

/** `make long-model` asks for more. */
const PACKETS = Number(process.env.MODEL_PACKETS ?? 100_000);
const STEPS_A_SEED = Math.min(PACKETS, 100_000 / 8);
/** The first seed; a difference names the one to begin with. */
const FIRST_SEED = Number(process.env.MODEL_SEED ?? 1);
const CHECK_EVERY = 1_000;

/** Large enough that nothing is ever evicted: the model forgets nothing. */
const SIZES = { ...testSizes, domains: 4096, maxBlocks: 65_536 };

let net: TestNet;
let node: KernelNode;
beforeAll(async () => {
  net = await TestNet.create();
  node = await KernelNode.create(net.pinPath(), SIZES);
});
afterAll(async () => {
  await node?.[Symbol.asyncDispose]();
  await net?.[Symbol.asyncDispose]();
});

const seeds = Array.from({ length: Math.ceil(PACKETS / STEPS_A_SEED) }, (_, i) => FIRST_SEED + i);

test.each(seeds)('the program and the model agree on seed %i', async (seed) => {
  const world = randomWorld(seed);
  // Every fourth world is left to itself, so that what is learned grows old; in the others tables change meanwhile.
  const sequence: Sequence = () => (seed % 4 === 0 ? randomFrames(seed) : randomSteps(seed));
  const parted = await compare(node, world, sequence, { steps: STEPS_A_SEED, checkEvery: CHECK_EVERY });
  if (!parted) return;
  // The counters tell it only at the next check: once more, to name the very packet.
  const exact = await compare(node, world, sequence, { steps: parted.step + 1, checkEvery: 1 });
  const { step, what } = exact ?? parted;
  expect.fail(`seed ${seed}, step ${step}: ${what}`);
});

const lies: Record<string, (config: ModelConfig) => Partial<ModelConfig>> = {
  'a window one tick longer': ({ windowTicks }) => ({ windowTicks: windowTicks + 1 }),
  'a block one tick longer': ({ unprovenTicks }) => ({ unprovenTicks: unprovenTicks + 1 }),
  'one target more': ({ threshold }) => ({ threshold: threshold + 1 }),
  'one extension header more': ({ maxExtensionHeaders }) => ({ maxExtensionHeaders: maxExtensionHeaders + 1 }),
};

test.each(Object.entries(lies))('a model with %s is found out', async (_, lie) => {
  const world = randomWorld(FIRST_SEED);
  const modelled = world.instances.map((config) => ({ ...config, ...lie(config) }));
  const options = { steps: STEPS_A_SEED, checkEvery: CHECK_EVERY, modelled };
  expect(await compare(node, world, () => randomSteps(FIRST_SEED), options)).toBeDefined();
});
