/** examples/systemd/portcullis-agent.service under a real systemd, which is PID 1 of namespaces of its own. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseCommandLine } from '../../agent/settings.ts';
import { type CommandResult, RunningCommand, run } from '../support/command.ts';
import { waitFor } from '../support/wait-for.ts';

const root = join(import.meta.dirname, '../..');
const text = readFileSync(join(root, 'examples/systemd/portcullis-agent.service'), 'utf8');
const name = 'portcullis-agent.service';

const folder = mkdtempSync(join(tmpdir(), 'pc-systemd-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the unit', () => {
  it('says nothing that systemd does not understand', async () => {
    const file = join(folder, name);
    // Programs must be where it says.
    writeFileSync(file, text.replaceAll('/opt/portcullis', root));
    const { code, stdout, stderr } = await run(['systemd-analyze', 'verify', file], { allowFailure: true });
    // It looks at units of the machine too, and complains about those.
    expect(`${stdout}${stderr}`.split('\n').filter((line) => line.includes(name))).toEqual([]);
    expect(code).toBe(0);
  });

  it('gives the agent flags that it knows', () => {
    const [, command] = /^ExecStart=((?:.*\\\n)*.*)$/m.exec(text)!;
    const [, , ...args] = command!.replaceAll('\\\n', ' ').split(/\s+/);
    expect(parseCommandLine(args, {}).name).toBe('run');
  });
});

describe('under systemd', () => {
  let machine: RunningCommand;
  let init: number;

  beforeAll(async () => {
    for (const part of ['units', 'lib', 'etc/policies']) mkdirSync(join(folder, part), { recursive: true });
    cpSync(join(root, 'examples/web-node.yaml'), join(folder, 'etc/policies/web-node.yaml'));
    // Where the agent writes is a file of the test: this machine has no journal.
    const log = join(folder, 'agent.log');
    const output = `[Service]\nStandardOutput=append:${log}\nStandardError=append:${log}`;
    writeFileSync(join(folder, 'units', name), text.replace('[Service]', output));
    const targets = ['sysinit', 'basic', 'shutdown', 'umount', 'network-pre', 'multi-user'];
    for (const target of targets)
      writeFileSync(join(folder, 'units', `${target}.target`), '[Unit]\nDefaultDependencies=no\n');
    writeFileSync(
      join(folder, 'units/default.target'),
      `[Unit]\nDefaultDependencies=no\nRequires=${name}\nAfter=${name}\n`,
    );
    const namespaces = ['--mount', '--pid', '--fork', '--kill-child=KILL', '--net', '--uts', '--ipc'];
    const script = join(import.meta.dirname, 'systemd-init.sh');
    machine = new RunningCommand(['unshare', ...namespaces, script, folder, root]);
    init = await waitFor(async () => childOf(machine.pid!), 30_000, { what: 'PID 1' });
    await until('enforcing', hasXdp);
  }, 120_000);
  afterAll(() => machine?.stop('SIGKILL'));

  const childOf = async (pid: number) => Number((await run(['pgrep', '-P', `${pid}`])).stdout);
  const inside = (argv: readonly string[]): Promise<CommandResult> =>
    run(['nsenter', `--target=${init}`, '--mount', '--pid', '--net', '--uts', '--ipc', ...argv], {
      allowFailure: true,
    });
  const systemctl = async (...args: readonly string[]) => (await inside(['systemctl', ...args])).stdout.trim();
  const hasXdp = async () => / xdp/.test((await inside(['ip', 'link', 'show', 'eth0'])).stdout);
  const mainPid = () => systemctl('show', name, '--property=MainPID', '--value');
  const until = (what: string, probe: () => Promise<boolean>) =>
    waitFor(probe, 60_000, { what, intervalMs: 100 }).catch((error: Error) => {
      throw new Error(`${error.message}\n${readLog()}${machine.stdout}${machine.stderr}`, { cause: error });
    });
  const readLog = () => {
    try {
      return readFileSync(join(folder, 'agent.log'), 'utf8');
    } catch {
      return '';
    }
  };

  it('has three capabilities, a filter of system calls, and writes to its own folders alone', async () => {
    const pid = await mainPid();
    const status = (await inside(['cat', `/proc/${pid}/status`])).stdout;
    // CAP_NET_ADMIN is 12, CAP_PERFMON 38, CAP_BPF 39.
    const three = ((1n << 12n) | (1n << 38n) | (1n << 39n)).toString(16).padStart(16, '0');
    expect(status).toMatch(new RegExp(`^CapEff:\\s${three}$`, 'm'));
    expect(status).toMatch(/^NoNewPrivs:\s1$/m);
    expect(status).toMatch(/^Seccomp:\s2$/m);
    const mayWrite = async (path: string) =>
      (await inside(['nsenter', `--target=${pid}`, '--mount', 'test', '-w', path])).code === 0;
    for (const path of ['/sys/fs/bpf/portcullis', '/var/lib/portcullis', '/run/portcullis'])
      expect(await mayWrite(path), path).toBe(true);
    for (const path of ['/etc/portcullis/policies', '/usr', '/sys/kernel', '/proc/sys/net', '/opt/portcullis'])
      expect(await mayWrite(path), path).toBe(false);
  });

  it('keeps what is attached when it is stopped, and when it is killed, and then starts it again', async () => {
    await systemctl('stop', name);
    expect(await systemctl('is-active', name)).toBe('inactive');
    expect(await hasXdp()).toBe(true);
    await systemctl('start', name);
    const before = await mainPid();
    await inside(['kill', '-KILL', before]);
    await until('another agent', async () => !['0', before].includes(await mainPid()));
    expect(await hasXdp()).toBe(true);
    await until('it to have taken over', async () => /"adopted":true(?![\s\S]*"starting")/.test(readLog()));
  });

  it('keeps break-glass over a restart', async () => {
    await inside(['touch', '/run/portcullis/break-glass']);
    await until('nothing to be attached', async () => !(await hasXdp()));
    await systemctl('restart', name);
    await until('it to be back', async () => /break-glass: (?![\s\S]*"starting")/.test(readLog()));
    expect(await hasXdp()).toBe(false);
    await inside(['rm', '/run/portcullis/break-glass']);
    await until('all to be attached again', hasXdp);
  });
});
