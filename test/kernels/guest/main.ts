// Runs inside of the guest: the suites named as argument, separated by commas.
import { release } from 'node:os';
import { Report } from './report.ts';

const suites: Readonly<Record<string, () => Promise<{ run: Parameters<Report['suite']>[1] }>>> = {
  programs: () => import('./programs.ts'),
  cases: () => import('./cases.ts'),
  model: () => import('./model.ts'),
  agent: () => import('./agent.ts'),
  refused: () => import('./refused.ts'),
};

const report = new Report(process.env.KERNELS_REPORT ?? '/dev/ttyS1');
const { lib } = await import('../../../agent/libbpf/ffi.ts');
report.write({ kind: 'kernel', release: release(), libbpf: lib.versionString() });
for (const name of (process.argv[2] ?? '').split(',')) {
  await report.suite(name, async (checks) => {
    const suite = suites[name];
    if (suite === undefined) throw new Error(`unknown suite ${name}: one of ${Object.keys(suites).join(', ')}`);
    await (await suite()).run(checks);
  });
}
report.write({ kind: 'end' });
process.exit(0);
