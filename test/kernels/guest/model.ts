import { compare } from '../../packets/compare.ts';
import { KernelNode, testSizes } from '../../packets/kernel-node.ts';
import { randomSteps, randomWorld } from '../../packets/random-frames.ts';
import { TestNet } from '../../support/namespaces.ts';
import type { Checks } from './report.ts';

const seeds = [1, 2, 3, 5];
const stepsOfSeed = 2_500;

/** Random packets on this kernel and in the model: what no case thought of. */
export async function run(checks: Checks): Promise<void> {
  await using net = await TestNet.create();
  // Large enough that nothing is ever evicted: the model forgets nothing.
  await using node = await KernelNode.create(net.pinPath(), { ...testSizes, domains: 4096, maxBlocks: 65_536 });
  for (const seed of seeds)
    await checks.check(`the program and the model agree on ${stepsOfSeed} packets of seed ${seed}`, async () => {
      const world = randomWorld(seed);
      const parted = await compare(node, world, () => randomSteps(seed), { steps: stepsOfSeed, checkEvery: 500 });
      if (parted) throw new Error(`step ${parted.step}: ${parted.what}`);
    });
}
