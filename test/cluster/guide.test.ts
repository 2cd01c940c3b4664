/**
 * Runs every command of docs/kubernetes.md in its order, on a world of three nodes. With UPDATE_GUIDE=1 (`make guide`) what
 * they print is written into the page; without, the page must say what a reader would see: the same commands, none of which fails.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { run } from '../support/command.ts';
import { attackerAddress, useWorld, type World } from './world.ts';

const root = join(import.meta.dirname, '..', '..');
const page = join(root, 'docs', 'kubernetes.md');
const section = /(<!-- guide -->\n```console\n)([\s\S]*?)(```\n<!-- end of guide -->)/g;
const command = /^(?:stranger)?\$ .*$/gm;

const world = useWorld({ nodes: 3, operators: 2 });

/** What a command prints on the reader's terminal. */
async function output(line: string, { plane, attacker, nodes }: World): Promise<string> {
  if (line.startsWith('stranger$ ')) {
    const argv = line.slice('stranger$ '.length).split(' ');
    const { stdout } = await attacker.exec([...argv, '-S', attackerAddress, '-e', nodes[0]!.name], {
      timeoutMs: 120_000,
    });
    return stdout;
  }
  const PATH = [join(plane.folder, 'plugins'), join(plane.kubectlPath, '..'), process.env.PATH].join(':');
  const env = { PATH, KUBECONFIG: plane.kubeconfig, KUBECACHEDIR: join(plane.folder, 'kubectl-cache'), KUBERC: 'off' };
  const { code, stdout, stderr } = await run(['sh', '-c', line.slice(2)], {
    allowFailure: true,
    timeoutMs: 60_000,
    env,
    cwd: root,
  });
  if (code !== 0) throw new Error(`${line}: ended with ${code}\n${stderr}${stdout}`);
  return stdout;
}

/** What the next command of the guide is to show must have come about: a reader would just look again. */
async function settle(line: string, { policyStatus, listStatus, until }: Bound): Promise<void> {
  const isBlocked = async () =>
    ((await policyStatus('web-node')).blocks ?? []).some(
      (block: { source: string; packetsDropped?: number }) => block.source === attackerAddress,
    );
  if (line.includes('nmap')) await until('the block to show in the status', isBlocked);
  if (line.includes('unblock')) await until('the block to go from the status', async () => !(await isBlocked()));
  if (line.includes('portcullis block '))
    await until('the list to have a status', async () => (await listStatus('block-203.0.113.8')).summary === '3/3');
}
interface Bound {
  policyStatus: World['policyStatus'];
  listStatus: World['listStatus'];
  until: World['until'];
}

it('says what a reader will see', async () => {
  const here = world();
  const bound: Bound = {
    policyStatus: (name) => here.policyStatus(name),
    listStatus: (name) => here.listStatus(name),
    until: (what, look, timeoutMs) => here.until(what, look, timeoutMs),
  };
  const text = readFileSync(page, 'utf8');
  const printed = new Map<string, string>();
  let written = text;
  for (const [whole, begin, inside, end] of text.matchAll(section)) {
    const parts: string[] = [];
    for (const [line] of inside!.matchAll(command)) {
      const shown = await output(line, here);
      printed.set(line, shown);
      parts.push(`${line}\n${shown.trimEnd()}\n`);
      await settle(line, bound);
    }
    written = written.replace(whole, () => begin + parts.join('\n') + end);
  }
  expect(printed.size).toBeGreaterThan(15);
  if (process.env.UPDATE_GUIDE === '1') writeFileSync(page, written);

  const of = (start: string) => [...printed].find(([line]) => line.startsWith(start))![1];
  expect(of('$ kubectl get portscanpolicies')).toMatch(/web-node +Enforce +True +3\/3/);
  expect(of('$ kubectl describe')).toContain(attackerAddress);
  expect(of('$ kubectl get nodereports')).toMatch(/node-a +Enforcing/);
  expect(of('$ kubectl portcullis explain')).toContain('node-a');
  expect(of('$ kubectl get sourceexceptions')).toContain(`${attackerAddress}/32`);
}, 240_000);
