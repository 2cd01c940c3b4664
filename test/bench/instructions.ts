import { figure, type Section, table } from './measure.ts';
import { BenchNode, emptyPopulation, POLICY } from './node.ts';

const CONFIGS = [
  { label: 'Enforce, defaults', policy: POLICY },
  { label: 'Monitor', policy: { ...POLICY, enforce: false } },
  { label: 'connectionLog: All', policy: { ...POLICY, logConnections: true } },
  { label: 'traffic: All', policy: { ...POLICY, blockAllTraffic: true } },
  { label: 'destinations: All', policy: { ...POLICY, allDestinations: true } },
  { label: 'distinctTargets: 1', policy: { ...POLICY, distinctTargets: 1 } },
] as const;

export const instructionsSection: Section = {
  name: 'instructions',
  title: 'Instructions of the program and what the verifier walked (its bound is 1,000,000)',
  run: async ({ print }) => {
    await using node = await BenchNode.create(emptyPopulation);
    const rows = [];
    for (const { label, policy } of CONFIGS) {
      const startedMs = performance.now();
      const program = await node.guard({ policy });
      rows.push({ label, loadMs: performance.now() - startedMs, ...program.info() });
    }
    print(
      table([
        ['policy', 'verified', 'instructions', 'JITed bytes', 'ms to load'],
        ...rows.map(({ label, verifiedInstructions, instructions, jitedBytes, loadMs }) => [
          label,
          verifiedInstructions.toLocaleString('en'),
          instructions.toLocaleString('en'),
          jitedBytes.toLocaleString('en'),
          loadMs.toFixed(0),
        ]),
      ]),
    );
    return {
      figures: rows.map(({ label, verifiedInstructions }) =>
        figure(label, 'verified instructions', verifiedInstructions),
      ),
    };
  },
};
