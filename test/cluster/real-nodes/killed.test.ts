import { join } from 'node:path';
import { expect, test } from 'vitest';
import { leftOf, removeLeftOf } from '../../../scripts/cluster/leftovers.ts';
import { nodePath, RunningCommand } from '../../support/command.ts';
import { waitFor } from '../../support/wait-for.ts';

const startTimeoutMs = 240_000;

test('a cluster whose process is killed leaves nothing that cannot be removed', async () => {
  const child = new RunningCommand([nodePath, join(import.meta.dirname, 'killed-child.ts')]);
  const pid = child.pid!;
  try {
    await waitFor(() => !child.isRunning || child.stdout.includes('runs'), startTimeoutMs, { what: 'the cluster' });
    expect(child.stderr).toBe('');
    // Its network namespaces, cgroups and folder.
    expect(leftOf(pid).length).toBeGreaterThan(3);
  } finally {
    child.kill('SIGKILL');
    await child.ended;
  }
  await removeLeftOf(pid);
  expect(leftOf(pid)).toEqual([]);
}, 300_000);
