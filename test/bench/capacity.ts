import { TestRun } from '../../agent/libbpf/test-run.ts';
import { encodeKeys, synFrame } from './frames.ts';
import { figure, type Section, spreadOf, table } from './measure.ts';
import { BenchNode, emptyPopulation, POLICY, shuffledAddress } from './node.ts';
import { KEYS } from './objects.ts';
import { runAgain } from './timed-run.ts';

const XDP_DROP = 1;
const SCANNERS = 64;
/** Never one of the forged sources: 198.19.0.0 on, set aside for benchmarks. */
const FIRST_SCANNER = 0xc6130000;
/** Who is not cut off by then is not followed any further. */
const PROBES = 20;
const THOUSAND = 1000;
const FORGED = [0, 64, 256, 512, 786, 1000, 1500, 3000].map((thousands) => thousands * THOUSAND);
const FORGED_SHORT = [0, 64, 786].map((thousands) => thousands * THOUSAND);

const DESIGNS = [
  { label: 'Portcullis', object: 'rotated-guard', program: 'rotated_guard' },
  { label: 'LRU_HASH of 1M sources', object: 'rotated-lru', program: 'rotated_lru' },
] as const;

export const capacitySection: Section = {
  name: 'capacity',
  title: `Distinct probes of a slow scanner that pass (N = ${POLICY.distinctTargets}) with F forged sources of one SYN each between two probes`,
  run: async ({ short, print }) => {
    await using node = await BenchNode.create(emptyPopulation);
    const frame = synFrame(0);
    let series = 9000;
    /** Time stands still: what is lost is lost to want of room alone. */
    node.tick = 1_000_000n;
    const flood = (run: TestRun, sources: number): void => {
      for (let left = sources; left > 0; left -= KEYS) {
        const ownOrder = series++;
        node.keys.use(
          encodeKeys(KEYS, (i) => {
            const source = shuffledAddress(i, ownOrder);
            // A scanner must not be forged by chance, nor multicast, which nobody is.
            return { source: source >>> 16 === FIRST_SCANNER >>> 16 ? 1 : source, port: 80 };
          }),
        );
        runAgain(run, frame, Math.min(left, KEYS));
      }
    };
    const passedBefore = (run: TestRun, forged: number, batch: number): number[] => {
      node.forgetTracked();
      const first = FIRST_SCANNER + batch * SCANNERS;
      const passed = new Array<number>(SCANNERS).fill(0);
      const isCut = new Array<boolean>(SCANNERS).fill(false);
      for (let probe = 1; probe <= PROBES && isCut.includes(false); probe++) {
        node.keys.use(encodeKeys(SCANNERS, (i) => ({ source: first + i, port: probe })));
        for (let i = 0; i < SCANNERS; i++) {
          const { action } = run.run(frame);
          if (isCut[i]) continue;
          if (action === XDP_DROP) isCut[i] = true;
          else passed[i]!++;
        }
        flood(run, forged);
      }
      return passed;
    };

    let batch = 0;
    const curves = [];
    for (const { label, object, program } of DESIGNS) {
      const run = new TestRun(await node.program(object, program, { testClock: true }));
      // A full table is the case that matters.
      flood(run, short ? 0 : 2 * KEYS);
      for (const forged of short ? FORGED_SHORT : FORGED)
        curves.push({ label, forged, passed: passedBefore(run, forged, batch++) });
    }
    const rows = curves.map(({ label, forged, passed }) => {
      const exact = passed.filter((count) => count === POLICY.distinctTargets - 1).length;
      const free = passed.filter((count) => count === PROBES).length;
      return { label, forged, spread: spreadOf(passed), exact, free };
    });
    print(`${SCANNERS} scanners at once, ${PROBES} probes each at the most`);
    print(
      table([
        ['design', 'F', 'probes that passed: median (min-max)', 'cut off at exactly N', `not cut off by ${PROBES}`],
        ...rows.map(({ label, forged, spread, exact, free }) => [
          label,
          forged.toLocaleString('en'),
          `${spread.median} (${spread.min}-${spread.max})`,
          `${exact} of ${SCANNERS}`,
          `${free} of ${SCANNERS}`,
        ]),
      ]),
    );
    return {
      figures: rows.map(({ label, forged, spread }) =>
        figure(`${label}, ${forged} forged sources between two probes`, 'probes passed', spread),
      ),
    };
  },
};
