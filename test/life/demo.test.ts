import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { finish } from '../support/command.ts';
import { nodePath, RunningCommand, waitFor } from '../support/namespaces.ts';

const script = join(import.meta.dirname, '..', '..', 'scripts', 'demo.ts');

/** What the demo of process `pid` made on this machine that is still there. */
function leftBehind(pid: number): readonly string[] {
  const namespaces = readdirSync('/run/netns').filter((name) => name.startsWith(`pc-${pid}-`));
  const pins = readdirSync('/sys/fs/bpf').filter((name) => name.startsWith(`pc-test-${pid}-`));
  return [...namespaces, ...pins];
}

describe('the demo', () => {
  it.each(['once', 'and again'])('holds what it promises, and leaves nothing behind: %s', async () => {
    const demo = new RunningCommand([nodePath, script]);
    const { stdout, stderr, code } = await finish(demo, { timeoutMs: 110_000, allowFailure: true });
    expect(`${stdout}${stderr}`).not.toContain('✗');
    expect(code, stderr).toBe(0);
    // Not a terminal: no colours.
    expect(stdout).not.toContain('\u001b');
    expect(leftBehind(demo.pid!)).toEqual([]);
  });

  it('leaves nothing behind when it is interrupted in the middle of a scan', async () => {
    const demo = new RunningCommand([nodePath, script]);
    await waitFor(() => demo.stdout.includes('The same scan again'), 60_000, { what: 'the second scan' });
    expect(leftBehind(demo.pid!)).not.toEqual([]);
    process.kill(demo.pid!, 'SIGINT');
    expect(await finish(demo, { allowFailure: true })).toMatchObject({ code: 130 });
    expect(leftBehind(demo.pid!)).toEqual([]);
  });
});
