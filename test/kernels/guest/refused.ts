import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { agentScript, portScanPolicy } from '../../support/agent.ts';
import { nodePath, TestNet } from '../../support/namespaces.ts';
import type { Checks } from './report.ts';

/** A kernel below the supported minimum: the agent says which error it is and what to do, and touches nothing. */
export async function run(checks: Checks): Promise<void> {
  await using net = await TestNet.create();
  const guard = await net.namespace('guard');
  await guard.ip('link add guard0 type veth peer name far0', 'link set guard0 up', 'link set far0 up');
  const policies = join(net.folder(), 'policies');
  mkdirSync(policies);
  writeFileSync(join(policies, 'guard.yaml'), JSON.stringify(portScanPolicy(['guard0'])));
  const pinPath = net.pinPath();

  const { code, stdout, stderr } = await guard.exec(
    [nodePath, agentScript, 'run', '--policies', policies, '--pin-path', pinPath],
    { allowFailure: true },
  );
  checks.figure(
    `exit code ${code}, standard error: ${stderr.trim()}${stdout ? `, standard output: ${stdout.trim()}` : ''}`,
  );
  await checks.check('ends with an error of its own', async () => {
    if (code === 0 || code === null) throw new Error(`it ended with ${code}`);
  });
  await checks.check('says KernelTooOld and nothing else', async () => {
    const errors = `${stdout}${stderr}`.split('\n').filter((line) => line.trim() !== '');
    const codes = new Set(`${stdout}${stderr}`.match(/\b(KernelTooOld|NoBtf|BpfLoadFailed|NotRoot|PinPath\w+)\b/g));
    if (codes.size !== 1 || !codes.has('KernelTooOld') || /^\s+at /m.test(stderr)) throw new Error(errors.join('\n'));
  });
  await checks.check('touches nothing', async () => {
    const link = await guard.exec(['ip', '-d', 'link', 'show', 'guard0']);
    if (/xdp/.test(link.stdout)) throw new Error(link.stdout);
    if (existsSync(pinPath) && readdirSync(pinPath).length > 0) throw new Error(`pins: ${readdirSync(pinPath)}`);
  });
  await checks.check('check, which needs no kernel, works', async () => {
    const checked = await guard.exec([nodePath, agentScript, 'check', policies], { allowFailure: true });
    if (checked.code !== 0) throw new Error(`${checked.code}: ${checked.stdout}${checked.stderr}`);
  });
}
