import { spawnSync } from 'node:child_process';

/** Of Prometheus; in Debian's package `prometheus`. */
const promtool = process.env.PROMTOOL || 'promtool';

/** What promtool wrote. @throws Error with that when it does not end with 0, or is not there */
export function runPromtool(args: readonly string[]): string {
  const { error, status, stdout, stderr } = spawnSync(promtool, args, { encoding: 'utf8' });
  if (error) throw new Error(`promtool cannot be run: install Prometheus, or set PROMTOOL: ${error.message}`);
  if (status !== 0) throw new Error(`promtool ${args.join(' ')} ended with ${status}\n${stdout}${stderr}`);
  return stdout;
}
