// Runs the suites named as arguments, all of them without any, and ends with their sum alone on a line.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ControlPlaneUnavailable, controlPlaneBinaries } from '../test/cluster/control-plane/build.ts';
import { nodeBinaries, RealNodesUnavailable } from '../test/cluster/real-nodes/build.ts';
import { findBuilder, NoImageBuilder } from './images/builder.ts';
import {
  failedSuite,
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
const vitestProjects = ['unit', 'packets', 'cluster', 'life', 'images', 'nodes'];
/** What a suite needs and a machine may not have. Builds it where that can be, which takes some minutes the first time. */
const needs: Readonly<Record<string, () => unknown>> = {
  cluster: () => controlPlaneBinaries(),
  images: () => findBuilder(),
  nodes: () => nodeBinaries(),
};
const all = [...Object.keys(commands), ...vitestProjects];

const wanted = process.argv.length > 2 ? process.argv.slice(2) : all;
const unknown = wanted.find((suite) => !all.includes(suite));
if (unknown) {
  process.stderr.write(`run-tests: unknown suite ${unknown}: one of ${all.join(', ')}\n`);
  process.exit(2);
}

rmSync(results, { recursive: true, force: true });
mkdirSync(results, { recursive: true });
const mustRunAll = process.env.CI === 'true';
const notices: string[] = [];
const suites: SuiteResult[] = [];
for (const suite of wanted) suites.push(await runSuite(suite));

const allowedSkips = parseAllowedSkips(readFileSync(join(root, 'test', 'allowed-skips.txt'), 'utf8'));
const summary = sumResults(suites, mustRunAll ? allowedSkips : undefined);
for (const problem of summary.problems) process.stdout.write(`problem: ${problem}\n`);
for (const notice of notices) process.stdout.write(`\nNOT RUN: ${notice}\n`);
writeFileSync(join(results, 'summary.txt'), `${summaryLine(summary)}\n`);
process.stdout.write(`\n${summaryLine(summary)}\n`);
process.exit(summary.failed === 0 ? 0 : 1);

async function runSuite(suite: string): Promise<SuiteResult> {
  process.stdout.write(`\n=== ${suite}\n`);
  const command = commands[suite];
  if (command) return readExitCode(suite, run(command));
  const obstacle = await obstacleOf(suite);
  if (obstacle !== undefined && mustRunAll) return failedSuite(suite, obstacle);
  if (obstacle !== undefined) notices.push(`the suite ${suite}: ${obstacle}`);
  const report = join(results, `${suite}.json`);
  const exitCode = run(
    [
      'vitest',
      'run',
      '--project',
      suite,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
      // A pattern that no name has: every test is counted as skipped, and no hook runs.
      ...(obstacle === undefined ? [] : ['--testNamePattern=(?!)']),
    ],
    obstacle === undefined ? {} : { PORTCULLIS_SKIP_CLUSTER: '1' },
  );
  return readVitestReport(suite, existsSync(report) ? readFileSync(report, 'utf8') : undefined, exitCode);
}

/** Why this machine cannot run a suite. */
async function obstacleOf(suite: string): Promise<string | undefined> {
  try {
    await needs[suite]?.();
    return undefined;
  } catch (error) {
    const missing = [ControlPlaneUnavailable, RealNodesUnavailable, NoImageBuilder];
    if (missing.some((kind) => error instanceof kind)) return (error as Error).message;
    throw error;
  }
}

function run([tool, ...args]: readonly string[], added: NodeJS.ProcessEnv = {}): number | null {
  // The tools' own `#!/usr/bin/env node` must find the project's Node.js, not the machine's.
  const env = { ...process.env, ...added, PATH: `${bin}:${process.env.PATH}` };
  return spawnSync(join(bin, tool!), args, { cwd: root, env, stdio: 'inherit' }).status;
}
