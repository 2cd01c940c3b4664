import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { builtPrograms } from '../../cluster/control-plane/go-programs.ts';
import { type CommandResult, run } from '../../support/command.ts';

const here = import.meta.dirname;
const source = createHash('sha256')
  .update(readFileSync(join(here, 'schema', 'main.go')))
  .digest('hex');

/** Reads dashboards by Grafana's own schema, in a program that Go builds once. What it finds is on standard error; then it ends with 1. */
export async function checkDashboards(files: readonly string[]): Promise<CommandResult> {
  const folder = await builtPrograms(
    {
      name: 'grafana-schema',
      title: "the schema of Grafana's dashboards",
      folder: here,
      // Built anew when its source changes: flags are part of what the cache goes by.
      recipes: [
        { module: 'schema', flags: ['-ldflags', `-X main.source=${source}`], programs: { 'check-dashboards': '.' } },
      ],
    },
    process.env,
    (sentence) => process.stderr.write(`chart: ${sentence}\n`),
  );
  return await run([join(folder, 'check-dashboards'), ...files], { allowFailure: true, timeoutMs: 60_000 });
}
