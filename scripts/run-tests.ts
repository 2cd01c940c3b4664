// Runs the suites named as arguments, all of them without any, and ends with their sum alone on a line.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PrometheusUnavailable, prometheusBinaries } from '../test/chart/prometheus.ts';
import { ControlPlaneUnavailable, controlPlaneBinaries } from '../test/cluster/control-plane/build.ts';
import { helmBinary, nodeBinaries, RealNodesUnavailable } from '../test/cluster/real-nodes/build.ts';
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
/**
 * Suites of a lane run one after the other, lanes side by side: most tests on clusters and whole hosts wait for something. What
 * the second lane prints is shown when its suite ends, so that the two are not mixed.
 */
const lanes: readonly (readonly string[])[] = [
  [...Object.keys(commands), 'unit', 'chart', 'packets', 'images', 'life'],
  ['cluster', 'nodes', 'e2e'],
];
/** What a suite needs and a machine may not have. Builds it where that can be, which takes some minutes the first time. */
const needs: Readonly<Record<string, () => unknown>> = {
  chart: async () => [await helmBinary(), prometheusBinaries()],
  cluster: async () => [await controlPlaneBinaries(), await helmBinary(), prometheusBinaries()],
  e2e: async () => [await nodeBinaries(), await helmBinary(), findBuilder()],
  images: () => findBuilder(),
  nodes: () => nodeBinaries(),
};
const all = lanes.flat();

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
const suites = (
  await Promise.all(
    lanes.map(async (lane, index) => {
      const ended: SuiteResult[] = [];
      for (const suite of lane.filter((each) => wanted.includes(each))) ended.push(await runSuite(suite, index > 0));
      return ended;
    }),
  )
).flat();

const allowedSkips = parseAllowedSkips(readFileSync(join(root, 'test', 'allowed-skips.txt'), 'utf8'));
const summary = sumResults(suites, mustRunAll ? allowedSkips : undefined);
for (const problem of summary.problems) process.stdout.write(`problem: ${problem}\n`);
for (const notice of notices) process.stdout.write(`\nNOT RUN: ${notice}\n`);
writeFileSync(join(results, 'summary.txt'), `${summaryLine(summary)}\n`);
process.stdout.write(`\n${summaryLine(summary)}\n`);
process.exit(summary.failed === 0 ? 0 : 1);

async function runSuite(suite: string, isAside: boolean): Promise<SuiteResult> {
  process.stdout.write(`\n=== ${suite}${isAside ? ': runs aside, and is shown when it has ended' : ''}\n`);
  const log = isAside && wanted.length > 1 ? join(results, `${suite}.log`) : undefined;
  try {
    return await runHere(suite, log);
  } finally {
    if (log !== undefined && existsSync(log))
      process.stdout.write(`\n=== ${suite} ended\n${readFileSync(log, 'utf8')}\n`);
  }
}

async function runHere(suite: string, log: string | undefined): Promise<SuiteResult> {
  const command = commands[suite];
  if (command) return readExitCode(suite, await run(command, log));
  const obstacle = await obstacleOf(suite);
  if (obstacle !== undefined && mustRunAll) return failedSuite(suite, obstacle);
  if (obstacle !== undefined) notices.push(`the suite ${suite}: ${obstacle}`);
  const report = join(results, `${suite}.json`);
  const exitCode = await run(
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
    log,
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
    const missing = [ControlPlaneUnavailable, RealNodesUnavailable, NoImageBuilder, PrometheusUnavailable];
    if (missing.some((kind) => error instanceof kind)) return (error as Error).message;
    throw error;
  }
}

/** @param log the file that takes what it prints; undefined: shown as it comes */
async function run(
  [tool, ...args]: readonly string[],
  log: string | undefined,
  added: NodeJS.ProcessEnv = {},
): Promise<number | null> {
  // The tools' own `#!/usr/bin/env node` must find the project's Node.js, not the machine's.
  const env = { ...process.env, ...added, PATH: `${bin}:${process.env.PATH}` };
  const output = log === undefined ? 'inherit' : openSync(log, 'w');
  const child = spawn(join(bin, tool!), args, { cwd: root, env, stdio: ['ignore', output, output] });
  if (typeof output === 'number') closeSync(output);
  const [exitCode] = await once(child, 'close');
  return exitCode as number | null;
}
