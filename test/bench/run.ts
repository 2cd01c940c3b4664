// `make bench`: measures and prints for a person, and writes build/bench.json. Needs root.
//   node test/bench/run.ts [--short] [SECTION...]
import { mkdirSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { agentSection } from './agent.ts';
import { capacitySection } from './capacity.ts';
import { datapathSection } from './datapath.ts';
import { floodSection } from './flood.ts';
import { instructionsSection } from './instructions.ts';
import type { Figure, Section } from './measure.ts';
import { enterOwnNamespace } from './node.ts';
import { readerSection } from './reader.ts';
import { vethSection } from './veth.ts';

const sections: readonly Section[] = [
  datapathSection,
  floodSection,
  vethSection,
  readerSection,
  agentSection,
  instructionsSection,
  capacitySection,
];

const args = process.argv.slice(2);
const names = args.filter((arg) => arg !== '--short');
const short = args.includes('--short');
const unknown = names.find((name) => !sections.some((section) => section.name === name));
if (unknown !== undefined) {
  process.stderr.write(`bench: unknown section ${unknown}: ${sections.map(({ name }) => name).join(', ')}\n`);
  process.exit(2);
}
if (process.getuid?.() !== 0) {
  process.stderr.write('bench: needs root, to load programs and make network namespaces\n');
  process.exit(2);
}

const exitCode = enterOwnNamespace();
if (exitCode !== undefined) process.exit(exitCode);

const results: { section: string; figures: readonly Figure[]; error?: string }[] = [];
for (const section of sections) {
  if (names.length > 0 && !names.includes(section.name)) continue;
  process.stdout.write(`\n== ${section.name}: ${section.title}\n`);
  try {
    const { figures } = await section.run({ short, print: (text) => process.stdout.write(`${text}\n`) });
    results.push({ section: section.name, figures });
  } catch (error) {
    // One section that cannot run on this machine must not hide what the others measured.
    process.stdout.write(`FAILED: ${error instanceof Error ? error.stack : error}\n`);
    results.push({ section: section.name, figures: [], error: String(error) });
    process.exitCode = 1;
  }
}
const build = join(import.meta.dirname, '..', '..', 'build');
mkdirSync(build, { recursive: true });
const report = { kernel: release(), node: process.version, short, atMs: Date.now(), results };
writeFileSync(join(build, 'bench.json'), `${JSON.stringify(report, null, 2)}\n`);
const judged = results.flatMap(({ figures }) => figures.filter(({ goal }) => goal !== undefined));
const missed = judged.filter(({ met }) => !met);
process.stdout.write(`\n${judged.length - missed.length} of ${judged.length} goals met; figures in build/bench.json\n`);
for (const { name, value, unit, goal } of missed)
  process.stdout.write(`missed: ${name}: ${value} ${unit}, goal ${goal}\n`);
