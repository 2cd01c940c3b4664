import { join } from 'node:path';
import { type CommandResult, run } from '../../support/command.ts';
import type { Cluster } from '../control-plane/cluster.ts';
import { helmBinary } from './build.ts';

const timeoutMs = 180_000;

/** Runs helm as the administrator of a cluster, and returns how it ended, whatever that is. */
export async function helm(cluster: Cluster, args: readonly string[]): Promise<CommandResult> {
  const enter = cluster.netns === undefined ? [] : ['nsenter', `--net=${cluster.netns}`, '--'];
  const home = join(cluster.folder, 'helm');
  return await run([...enter, await helmBinary(), ...args], {
    allowFailure: true,
    timeoutMs,
    // Nothing of the user's own: neither plugins nor repositories.
    env: {
      KUBECONFIG: cluster.kubeconfig,
      HELM_CACHE_HOME: join(home, 'cache'),
      HELM_CONFIG_HOME: join(home, 'config'),
      HELM_DATA_HOME: join(home, 'data'),
    },
  });
}

/** The same for what has to go well; returns what it wrote. @throws Error with its output when it does not */
export async function runHelm(cluster: Cluster, args: readonly string[]): Promise<string> {
  const { code, signal, stdout, stderr } = await helm(cluster, args);
  if (code !== 0) throw new Error(`helm ${args.join(' ')}: ended with ${signal ?? code}\n${stderr}${stdout}`);
  return stdout;
}
