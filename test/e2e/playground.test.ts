/**
 * What a newcomer does: `make cluster`, the README's quick start, then the commands of the pages of the guide. With UPDATE_GUIDE=1
 * (`make guide`) what these print is written into the pages; without, none of them may fail, and the telling ones must say what they are
 * there for.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { leftOf } from '../../scripts/cluster/leftovers.ts';
import { attackerAddress, quickStart } from '../../scripts/cluster/quick-start.ts';
import { isRunning } from '../support/is-running.ts';
import { waitFor } from '../support/wait-for.ts';
import { runGuide } from './guide.ts';
import { Playground } from './playground.ts';

const root = join(import.meta.dirname, '..', '..');
const settleTimeoutMs = 60_000;
const playground = new Playground();
let told: string;

beforeAll(async () => {
  const { code, stdout, stderr } = await playground.make('cluster');
  expect(code, stderr).toBe(0);
  told = stdout;
}, 900_000);
afterAll(async () => {
  await playground.make('cluster-stop');
  playground[Symbol.dispose]();
}, 120_000);

/** The commands that the README shows, without what stands beside them as a comment. */
function quickStartOfReadme(): readonly string[] {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const block = /^## Quick start on a cluster\n[\s\S]*?\n```sh\n([\s\S]*?)```/m.exec(readme)?.[1] ?? '';
  return block
    .split('\n')
    .map((line) => line.replace(/\s+#.*$/, ''))
    .filter((line) => line !== '');
}

async function status(policy: string) {
  return JSON.parse(await playground.type(`kubectl get portscanpolicy ${policy} -o json`)).status ?? {};
}

async function isBlocked(source: string): Promise<boolean> {
  const { blocks = [] } = await status('web-node');
  return blocks.some((block: { source: string; packetsDropped?: number }) => block.source === source);
}

/** What a command brings about shows a moment later. */
async function settle(line: string): Promise<void> {
  const until = (what: string, probe: () => Promise<boolean>) =>
    waitFor(probe, settleTimeoutMs, { what: `${what}, after ${line}`, intervalMs: 200 });
  if (line.startsWith('helm install'))
    await until('the reports', async () => {
      const { items } = JSON.parse(await playground.type('kubectl get nodereports -o json'));
      return items.length === 2 && items.every((report: Report) => report.status?.state === 'Enforcing');
    });
  if (line.includes('attacker nmap')) await until('the block', () => isBlocked(attackerAddress));
  if (line.includes('portcullis unblock')) await until('its end', async () => !(await isBlocked(attackerAddress)));
  if (line.includes('portcullis block '))
    await playground.type('kubectl wait --for=condition=Programmed ipblocklists --all --timeout=60s');
}
interface Report {
  readonly status?: { readonly state?: string };
}

describe('the cluster of make cluster', () => {
  test('is told of as the README shows it', () => {
    const inShell = quickStartOfReadme();
    expect(inShell[0]).toBe('make cluster');
    expect(inShell.at(-1)).toBe('make cluster-stop');
    expect(inShell.slice(2, -1)).toEqual(quickStart);
    expect(told).toContain(inShell[1]!.replaceAll('/run/portcullis-cluster', playground.home));
    for (const line of quickStart) expect(told).toContain(`\n  ${line}\n`);
  });

  test('is there once: a second start says what to type, too', async () => {
    const again = await playground.make('cluster');
    expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining('It runs already.') });
    expect(again.stdout).toContain(quickStart[0]);
  });

  test('does what the quick start promises, line by line', async () => {
    const [, exports, ...lines] = quickStartOfReadme();
    await playground.type(exports!);
    expect(await playground.type('kubectl get nodes')).toMatch(/node-a +Ready[\s\S]*node-b +Ready/);
    const before = await playground.type(lines.find((line) => line.startsWith('attacker'))!);
    expect(before).toMatch(/22\/tcp +open[\s\S]*989\/tcp +open/);

    const shown: Record<string, string> = {};
    for (const line of lines.slice(0, -1)) {
      shown[line.split(' ').slice(0, 3).join(' ')] = await playground.type(line);
      await settle(line);
    }
    expect(shown['helm install portcullis']).toContain('STATUS: deployed');
    expect(shown['kubectl wait --for=condition=Programmed']).toContain('condition met');
    // 15 distinct targets are a scan: 14 probes are answered.
    expect(shown['attacker nmap -Pn']).toContain('Not shown: 986 filtered tcp ports (no-response)');
    expect(shown['kubectl describe portscanpolicy']).toMatch(/Source: +100\.66\.6\.6/);
    expect(shown['kubectl portcullis blocked']).toMatch(/100\.66\.6\.6 +web-node +node-a/);
    expect(shown['kubectl portcullis unblock']).toContain('Let in on 1 node that had blocked it: node-a.');
    expect(shown['helm uninstall portcullis']).toContain('release "portcullis" uninstalled');
    const after = await playground.type(lines.find((line) => line.startsWith('attacker'))!);
    expect(after).toMatch(/22\/tcp +open[\s\S]*989\/tcp +open/);
    // The guide begins with a cluster that nobody used.
    await playground.type('kubectl delete portscanpolicies,ipblocklists,sourceexceptions,events --all');
  }, 600_000);

  test('does what the guide shows', async () => {
    const update = process.env.UPDATE_GUIDE === '1';
    const type = (line: string) => playground.type(line);
    const printed = await runGuide(join(root, 'docs', 'kubernetes.md'), { type, settle, update });
    expect(printed.length).toBeGreaterThan(15);
    const of = (start: string) => printed.find(({ line }) => line.startsWith(start))?.shown;
    expect(of('kubectl get portscanpolicies')).toMatch(/web-node +Enforce +True +2\/2/);
    expect(of('kubectl describe')).toContain(attackerAddress);
    expect(of('kubectl get nodereports')).toMatch(/node-a +Enforcing/);
    expect(of('kubectl portcullis explain')).toContain('node-a');
    expect(of('kubectl get sourceexceptions')).toContain(`${attackerAddress}/32`);
    expect(of('helm uninstall')).toContain('2 detached, 0 not');
  }, 600_000);

  test('ends as a whole', async () => {
    const pid = Number(readFileSync(join(playground.home, 'pid'), 'utf8'));
    expect(leftOf(pid)).not.toEqual([]);
    expect(await playground.make('cluster-stop')).toMatchObject({ code: 0, stdout: 'the cluster is gone\n' });
    expect(existsSync(playground.home)).toBe(false);
    expect(isRunning(pid)).toBe(false);
    expect(leftOf(pid)).toEqual([]);
    expect(await playground.make('cluster-stop')).toMatchObject({ code: 0, stdout: 'no cluster runs\n' });
  });
});
