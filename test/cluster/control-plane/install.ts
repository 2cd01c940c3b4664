import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '../../support/wait-for.ts';
import type { Cluster } from './cluster.ts';

const agent = 'system:serviceaccount:portcullis-system:portcullis-agent';

/** Applies the CRDs and what deploy/ says, and waits until the API server acts upon both. */
export async function installPortcullis(cluster: Cluster, root: string): Promise<void> {
  await cluster.applyCrds(join(root, 'crds'));
  const deploy = join(root, 'deploy');
  if (!existsSync(deploy)) return;
  await cluster.applyFolder(deploy);
  await waitFor(() => isBound(cluster), 30_000, { what: 'the admission policy for NodeReports', intervalMs: 100 });
}

/** An admission policy takes effect some time after it was written. This one refuses agents whose token names no node. */
async function isBound(cluster: Cluster): Promise<boolean> {
  const now = new Date().toISOString();
  // A valid one: the schema is looked at before the policy.
  const report = {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'NodeReport',
    metadata: { name: 'nobody' },
    status: {
      observedAt: now,
      state: 'Enforcing',
      agent: { version: '0', startedAt: now },
      policies: [],
      lists: [],
      blocks: { blocked: 0, newest: [] },
    },
  };
  const { code, stderr } = await cluster.kubectl(['create', '--dry-run=server', `--as=${agent}`, '-f', '-'], {
    input: JSON.stringify(report),
  });
  if (code !== 0 && !stderr.includes('portcullis-agent-reports')) throw new Error(`not by the policy: ${stderr}`);
  return code !== 0;
}
