// `make bench-cluster`: prints the table of docs/scale.md and writes build/bench-cluster.json.
//   node test/bench/cluster/run.ts [--short | --changes] [AGENTS...]
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fullPlan, measure, type ScalePlan, type ScaleResult } from './measure.ts';
import { tableOf } from './table.ts';

const args = process.argv.slice(2);
const short = args.includes('--short');
const onlyChanges = args.includes('--changes');
const sizes = args.filter((arg) => !['--short', '--changes'].includes(arg)).map(Number);
if (sizes.some((size) => !Number.isInteger(size) || size < 1 || size > 4096)) {
  process.stderr.write('bench-cluster: [--short | --changes] [AGENTS...], numbers of agents from 1 to 4096\n');
  process.exit(2);
}
// Too short for the reports to be renewed: good for the bytes and not for the writes of the steady state.
const briefly = { quietMs: 0, steadyMs: 5000, scanned: 0, onsetMs: 1000, scanMs: 1000 };
const shortened = (plan: ScalePlan): ScalePlan =>
  onlyChanges
    ? { ...plan, ...briefly, changes: 4 }
    : short
      ? { ...plan, changes: 3, quietMs: 10_000, steadyMs: 60_000, onsetMs: 30_000, scanMs: 60_000 }
      : plan;

const results: ScaleResult[] = [];
for (const size of sizes.length > 0 ? sizes : [30, 100, 300]) {
  process.stdout.write(`\n== ${size} agents\n`);
  const result = await measure(shortened(fullPlan(size)), (text) => process.stdout.write(`${text}\n`));
  results.push(result);
  for (const trouble of result.troubles.slice(0, 10)) process.stdout.write(`  said: ${trouble}\n`);
}
const build = join(import.meta.dirname, '..', '..', '..', 'build');
mkdirSync(build, { recursive: true });
const asJson = (_key: string, value: unknown) => (value instanceof Map ? Object.fromEntries(value) : value);
writeFileSync(
  join(build, 'bench-cluster.json'),
  `${JSON.stringify({ atMs: Date.now(), short, results }, asJson, 2)}\n`,
);
process.stdout.write(`\n${tableOf(results)}\nall figures are in build/bench-cluster.json\n`);
process.exit();
