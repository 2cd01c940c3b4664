import { release } from 'node:os';
import { encodeConfig, loadInstance } from '../../../agent/datapath/instance.ts';
import { slotsFor } from '../../../agent/datapath/tables.ts';
import type { DesiredPolicy } from '../../../agent/resolve/desired-state.ts';
import { KernelNode, testSizes } from '../../packets/kernel-node.ts';
import { TestNet } from '../../support/namespaces.ts';
import type { Checks } from './report.ts';

interface Shape {
  readonly name: string;
  readonly policy: DesiredPolicy | undefined;
}

const thresholds = [1, 2, 15, 64];

/** Every program an interface can be given: what a policy does not use, the verifier removes, and so sees another one. */
function shapesOf(distinctTargets: number): Shape[] {
  const shapes: Shape[] = [];
  for (const enforce of [false, true])
    for (const blockAllTraffic of [false, true])
      for (const allDestinations of [false, true])
        for (const logConnections of [false, true]) {
          const name = [
            enforce ? 'Enforce' : 'Monitor',
            blockAllTraffic ? 'All' : 'NewConnections',
            `N=${distinctTargets}`,
            ...(allDestinations ? ['all destinations'] : []),
            ...(logConnections ? ['connection log'] : []),
          ].join(', ');
          shapes.push({ name, policy: policyOf({ enforce, blockAllTraffic, allDestinations, logConnections }) });
        }
  return shapes;

  function policyOf(differences: Partial<DesiredPolicy>): DesiredPolicy {
    return {
      name: 'test',
      enforce: true,
      distinctTargets,
      windowMs: 60_000,
      allDestinations: false,
      ipv6PrefixLength: 64,
      blockDurationMs: 600_000,
      unprovenDurationMs: 60_000,
      blockAllTraffic: false,
      logConnections: false,
      ...differences,
    };
  }
}

const framesOfSeveralBuffers = (): boolean => {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return major > 5 || (major === 5 && minor >= 18);
};

/** The guard program in every shape: that the verifier takes it, and how much it looked at. */
export async function run(checks: Checks): Promise<void> {
  await using net = await TestNet.create();
  const counts: number[] = [];
  let slowestMs = 0;
  // The kernel that has no frames of several buffers must refuse the flag: else the agent would be wrong to leave it out.
  const fragChoices = framesOfSeveralBuffers() ? [true, false] : [false];
  for (const distinctTargets of thresholds) {
    await using node = await KernelNode.create(net.pinPath(), testSizes, slotsFor(distinctTargets));
    const shapes = shapesOf(distinctTargets);
    if (distinctTargets === thresholds[0]) shapes.unshift({ name: 'lists only', policy: undefined });
    for (const { name, policy } of shapes)
      for (const frags of fragChoices)
        await checks.check(`loads: ${name}${frags ? '' : ', without frags'}`, async () => {
          const config = encodeConfig(
            { policy, owner: 1, setSlot: 0, testClock: false },
            { options: node.options, tables: node.tables, frags },
          );
          const startedAt = performance.now();
          using program = await loadInstance(config, node.tables, frags);
          slowestMs = Math.max(slowestMs, performance.now() - startedAt);
          const { verifiedInstructions, instructions } = program.info();
          counts.push(verifiedInstructions);
          checks.figure(
            `verified instructions ${verifiedInstructions}, of ${instructions}: ${name}${frags ? '' : ', without frags'}`,
          );
        });
  }
  checks.figure(
    `verified instructions: ${Math.min(...counts)} to ${Math.max(...counts)} in ${counts.length} shapes; slowest load ${Math.round(slowestMs)} ms on an emulated CPU`,
  );
}
