// Runs the suites named as arguments, all of them without any, and ends with their sum alone on a line.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  parseAllowedSkips,
  readExitCode,
  readVitestReport,
  type SuiteResult,
  summaryLine,
  sumResults,
} from './sum-results.ts';

const root = join(import.meta.dirname, '..');
const bin = join(root, 'node_modules', '.bin');
const results = join(root, 'build', 'test-results');

const commands: Readonly<Record<string, readonly string[]>> = {
  types: ['tsc', '--noEmit'],
  lint: ['biome', 'check', '.'],
};
const vitestProjects = ['unit', 'packets', 'life'];
const all = [...Object.keys(commands), ...vitestProjects];

const wanted = process.argv.length > 2 ? process.argv.slice(2) : all;
const unknown = wanted.find((suite) => !all.includes(suite));
if (unknown) {
  process.stderr.write(`run-tests: unknown suite ${unknown}: one of ${all.join(', ')}\n`);
  process.exit(2);
}

rmSync(results, { recursive: true, force: true });
mkdirSync(results, { recursive: true });
const suites = wanted.map(runSuite);

const mustRunAll = process.env.CI === 'true';
const allowedSkips = parseAllowedSkips(readFileSync(join(root, 'test', 'allowed-skips.txt'), 'utf8'));
const summary = sumResults(suites, mustRunAll ? allowedSkips : undefined);
for (const problem of summary.problems) process.stdout.write(`problem: ${problem}\n`);
writeFileSync(join(results, 'summary.txt'), `${summaryLine(summary)}\n`);
process.stdout.write(`\n${summaryLine(summary)}\n`);
process.exit(summary.failed === 0 ? 0 : 1);

function runSuite(suite: string): SuiteResult {
  process.stdout.write(`\n=== ${suite}\n`);
  const command = commands[suite];
  if (command) return readExitCode(suite, run(command));
  const report = join(results, `${suite}.json`);
  const exitCode = run([
    'vitest',
    'run',
    '--project',
    suite,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ]);
  return readVitestReport(suite, existsSync(report) ? readFileSync(report, 'utf8') : undefined, exitCode);
}

function run([tool, ...args]: readonly string[]): number | null {
  // The tools' own `#!/usr/bin/env node` must find the project's Node.js, not the machine's.
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
  return spawnSync(join(bin, tool!), args, { cwd: root, env, stdio: 'inherit' }).status;
}
