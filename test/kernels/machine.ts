import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GuestLine } from './guest/report.ts';

export interface BootOptions {
  readonly image: string;
  readonly initramfs: string;
  /** For the machine's console and results. */
  readonly folder: string;
  /** What guest/main.ts is started with. */
  readonly suite: string;
  readonly timeoutMs: number;
}

export interface BootResult {
  readonly lines: readonly GuestLine[];
  /** True when the guest came to its end by itself and said so. */
  readonly finished: boolean;
  readonly console: string;
}

/** Boots a machine of QEMU's own CPU, without KVM and without a network, and waits until it is off. */
export async function boot({ image, initramfs, folder, suite, timeoutMs }: BootOptions): Promise<BootResult> {
  const consoleFile = join(folder, 'console.log');
  const resultFile = join(folder, 'results.jsonl');
  for (const file of [consoleFile, resultFile]) writeFileSync(file, '');
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      ...['-machine', 'q35,accel=tcg', '-cpu', 'max', '-smp', '2', '-m', '2048'],
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-nic', 'none'],
      // Results have a port of their own, where the kernel's messages cannot cut a line in two.
      ...['-serial', `file:${consoleFile}`, '-serial', `file:${resultFile}`],
      ...['-kernel', image, '-initrd', initramfs],
      ...['-append', `console=ttyS0 quiet panic=-1 oops=panic suite=${suite}`],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let stderr = '';
  qemu.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const stop = (): void => void qemu.kill('SIGKILL');
  process.once('exit', stop);
  const timer = setTimeout(stop, timeoutMs);
  try {
    await once(qemu, 'close');
  } finally {
    clearTimeout(timer);
    process.off('exit', stop);
  }
  const lines = readFileSync(resultFile, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .flatMap((line) => parse(line.trimEnd()));
  return {
    lines,
    finished: lines.some(({ kind }) => kind === 'end'),
    console: `${readFileSync(consoleFile, 'utf8')}${stderr}`,
  };
}

/** A machine that was killed may have left half a line. */
function parse(line: string): GuestLine[] {
  try {
    return [JSON.parse(line) as GuestLine];
  } catch {
    return [];
  }
}
