import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isRunning } from '../../scripts/cluster/place.ts';
import { type CommandResult, nodePath, run } from '../support/command.ts';

const root = join(import.meta.dirname, '..', '..');
let folder: string;
let env: Record<string, string>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pc-playground-'));
  // Not the one that somebody may be playing with.
  env = { PORTCULLIS_CLUSTER_HOME: join(folder, 'home') };
});
afterEach(async () => {
  await cluster('stop');
  rmSync(folder, { recursive: true, force: true });
});

function cluster(command: string): Promise<CommandResult> {
  return run([nodePath, join(root, 'scripts', 'cluster.ts'), command], {
    env,
    timeoutMs: 150_000,
    allowFailure: true,
  });
}

/** The lines that `make cluster` tells to type, which start as given, with what it exports. */
async function type(instructions: string, start: string): Promise<string> {
  const lines = instructions.split('\n').map((line) => line.trim());
  const [exports, line] = [
    lines.find((each) => each.startsWith('export ')),
    lines.find((each) => each.startsWith(start)),
  ];
  if (line === undefined) throw new Error(`nobody is told to type ${start}: ${instructions}`);
  return (await run(['sh', '-c', `${exports}\n${line}`], { cwd: root, timeoutMs: 60_000 })).stdout;
}

test('make cluster starts a cluster where what it tells to type works, and make cluster-stop ends all of it', async () => {
  const started = await cluster('start');
  expect(started).toMatchObject({ code: 0, stderr: '' });
  const told = started.stdout;
  expect(await type(told, 'kubectl get nodes')).toMatch(/node-a +Ready[\s\S]*node-b +Ready/);
  await type(told, 'kubectl apply');
  expect(await type(told, 'kubectl wait')).toContain('condition met');
  // nmap ends before an agent has told anybody.
  expect(await type(told, 'nsenter')).toContain('closed');
  await expect
    .poll(() => type(told, 'kubectl portcullis blocked'), { timeout: 60_000, interval: 500 })
    .toMatch(/100\.66\.6\.6 +web-node +node-a/);
  expect(await type(told, 'kubectl describe')).toContain('100.66.6.6');

  expect((await cluster('start')).stdout).toContain('It runs already');
  const holder = readFileSync(join(folder, 'home', 'pid'), 'utf8');
  expect(await cluster('stop')).toMatchObject({ code: 0, stdout: 'the cluster is gone\n' });
  expect(existsSync(join(folder, 'home'))).toBe(false);
  expect(isRunning(Number(holder))).toBe(false);
  expect((await run(['ip', 'netns', 'list'])).stdout).not.toContain(`pc-${holder}-`);
  expect(await cluster('stop')).toMatchObject({ code: 0, stdout: 'no cluster runs\n' });
});
