import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { removeLeftFolders } from '../../test/cluster/control-plane/control-plane.ts';
import { leftCgroups, removeLeftCgroups } from '../../test/cluster/real-nodes/cgroups.ts';
import { removeLeftovers } from '../../test/support/leftovers.ts';
import { waitFor } from '../../test/support/wait-for.ts';

const endTimeoutMs = 20_000;

/**
 * Removes what a cluster that was killed left: network namespaces, cgroups, folders. Its processes end with it, and with them
 * the mounts of its nodes; that takes a moment, for which a cgroup can not be removed.
 */
export async function removeLeftOf(pid: number): Promise<void> {
  await waitFor(
    () => {
      removeLeftovers();
      removeLeftCgroups();
      removeLeftFolders();
      return leftOf(pid).length === 0;
    },
    endTimeoutMs,
    { what: `the end of what process ${pid} left`, intervalMs: 100 },
  ).catch((error: Error) => {
    throw new Error(`${error.message}: ${leftOf(pid).join(', ')}`, { cause: error });
  });
}

/** What of it is still there. */
export function leftOf(pid: number): readonly string[] {
  const namespaces = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  return [
    ...namespaces.filter((name) => name.startsWith(`pc-${pid}-`)),
    ...leftCgroups(pid),
    ...readdirSync(tmpdir()).filter((name) => name.startsWith(`pc-cluster-${pid}-`)),
  ];
}
