import { encodeKeys, synFrame } from './frames.ts';
import { figure, ratios, type Section, showGoal, showRatio, spreadOf, table } from './measure.ts';
import { BenchNode, shuffledAddress, standardPopulation } from './node.ts';
import { KEYS } from './objects.ts';
import { TimedRun } from './timed-run.ts';

const GOAL = 0.5;
/** Enough that both designs are full and each packet makes another source give way. */
const FILL_PASSES = 2;

export const floodSection: Section = {
  name: 'flood',
  title: 'A flood of SYNs from ever new sources, beside the same program with an LRU_HASH of 1M sources of 14 targets',
  run: async ({ short, print }) => {
    await using node = await BenchNode.create(standardPopulation);
    const frame = synFrame(0);
    let series = 5000;
    const newSources = () => {
      const ownOrder = series++;
      node.keys.use(encodeKeys(KEYS, (i) => ({ source: shuffledAddress(i, ownOrder), port: 80 })));
    };
    const bare = new TimedRun(await node.program('bare', 'rotated_bare'), frame);
    const guard = new TimedRun(await node.program('rotated-guard', 'rotated_guard', {}), frame);
    const lru = new TimedRun(await node.program('rotated-lru', 'rotated_lru', {}), frame);
    for (let pass = 0; pass < FILL_PASSES; pass++) {
      newSources();
      guard.run(frame, KEYS);
      lru.run(frame, KEYS);
    }
    const ns: Record<'bare' | 'guard' | 'lru', number[]> = { bare: [], guard: [], lru: [] };
    for (let round = 0; round < (short ? 3 : 9); round++) {
      for (const [name, run] of [
        ['bare', bare],
        ['guard', guard],
        ['lru', lru],
      ] as const) {
        newSources();
        ns[name].push(run.run(frame, KEYS).ns);
      }
    }
    const ratio = ratios(ns.guard, ns.lru);
    const rows = [
      ['bare', 'bare XDP_DROP with changing sources'],
      ['guard', 'Portcullis'],
      ['lru', 'LRU_HASH'],
    ] as const;
    print(
      table([
        ['design', 'ns', 'x bare'],
        ...rows.map(([name, label]) => [
          label,
          spreadOf(ns[name]).median.toFixed(0),
          showRatio(ratios(ns[name], ns.bare)),
        ]),
      ]),
    );
    print(`Portcullis / LRU_HASH: ${showRatio(ratio)}, goal ${showGoal(ratio.median, GOAL)}`);
    return {
      figures: [
        figure('flood of new sources', 'x LRU_HASH', ratio, GOAL),
        figure('flood of new sources', 'x XDP_DROP with changing sources', ratios(ns.guard, ns.bare)),
        figure('flood of new sources, LRU_HASH', 'x XDP_DROP with changing sources', ratios(ns.lru, ns.bare)),
      ],
    };
  },
};
