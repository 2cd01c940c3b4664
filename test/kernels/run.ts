// Boots each kernel named as argument, all of them without any, and runs the suites in it; ends with a sum.
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildInitramfs } from './initramfs.ts';
import { fetchKernel, type Kernel, kernels } from './kernels.ts';
import { boot } from './machine.ts';

const folder = join(import.meta.dirname, '..', '..', 'build', 'kernels');
const suites = { supported: 'programs,cases,model,agent', refused: 'refused' } as const;
const timeoutMs = 15 * 60_000;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));

const names = process.argv.slice(2);
const unknown = names.find((name) => !kernels.some((kernel) => kernel.name === name));
if (unknown !== undefined || process.arch !== 'x64') {
  const known = kernels.map(({ name }) => name).join(', ');
  say(unknown === undefined ? 'the kernels that are booted are for x86-64' : `unknown kernel ${unknown}: ${known}`);
  process.exit(2);
}

let failed = 0;
for (const kernel of names.length > 0 ? kernels.filter(({ name }) => names.includes(name)) : kernels)
  failed += await runKernel(kernel);
say(failed === 0 ? 'all of it held' : `${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

function say(text: string): void {
  process.stdout.write(`kernels: ${text}\n`);
}

/** How many checks failed; a suite that did not come to its end is one. */
async function runKernel(kernel: Kernel): Promise<number> {
  const startedAt = performance.now();
  const unpacked = fetchKernel(kernel, join(folder, 'packages'));
  say(`${kernel.name}: ${unpacked.release}, ${kernel.expect}`);
  const home = join(folder, kernel.name);
  mkdirSync(home, { recursive: true });
  const initramfs = join(home, 'initramfs.cpio');
  const root = join(home, 'root');
  await buildInitramfs(unpacked, root, initramfs);
  rmSync(root, { recursive: true, force: true });
  const wanted = process.env.KERNELS_SUITES ?? suites[kernel.expect];
  const result = await boot({ image: unpacked.image, initramfs, folder: home, suite: wanted, timeoutMs });
  rmSync(initramfs);

  let failures = 0;
  let checks = 0;
  for (const line of result.lines) {
    if (line.kind === 'kernel') say(`${kernel.name}: booted ${line.release}, libbpf ${line.libbpf}`);
    else if (line.kind === 'figure') say(`${kernel.name}: figure: ${line.text}`);
    else if (line.kind === 'suite') say(`${kernel.name}: ${line.suite}: ${line.checks} checks in ${line.seconds} s`);
    else if (line.kind === 'check') {
      checks++;
      if (line.failure === undefined) continue;
      failures++;
      say(`${kernel.name}: FAILED ${line.suite}: ${line.name}\n${line.failure}`);
    }
  }
  const ended = new Set(result.lines.flatMap((line) => (line.kind === 'suite' ? [line.suite] : [])));
  for (const suite of wanted.split(',').filter((name) => !ended.has(name))) {
    failures++;
    say(`${kernel.name}: FAILED ${suite}: did not come to its end`);
  }
  if (!result.finished) say(`${kernel.name}: the console's end:\n${result.console.slice(-4_000)}`);
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  say(`${kernel.name}: ${checks} checks, ${failures} failed, ${seconds} s`);
  return failures;
}
