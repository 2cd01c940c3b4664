import { spawnSync } from 'node:child_process';
import { prometheusBinaries } from './prometheus.ts';

/** What promtool wrote. @throws Error with that when it does not end with 0, or is not to be had */
export function runPromtool(args: readonly string[]): string {
  const { error, status, stdout, stderr } = spawnSync(prometheusBinaries().promtool, args, { encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`promtool ${args.join(' ')} ended with ${status}\n${stdout}${stderr}`);
  return stdout;
}
