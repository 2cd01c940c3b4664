import { render } from '../chart/render.ts';
import type { Cluster } from './control-plane/cluster.ts';

const namespace = 'portcullis-system';

/** Makes the account of the hook that uninstalls, with the rights that the chart gives it. Returns a kubeconfig of it. */
export async function detachAccount(cluster: Cluster, folder: string): Promise<string> {
  const { objects } = await render({}, { namespace });
  const own = objects.filter(({ kind, metadata }) => metadata.name === 'portcullis-detach' && kind !== 'Job');
  // The account first: roles are bound to it.
  await cluster.apply(
    own.toSorted((a, b) => Number(b.kind === 'ServiceAccount') - Number(a.kind === 'ServiceAccount')),
  );
  const token = await cluster.tokenFor({ namespace, serviceAccount: 'portcullis-detach' });
  return cluster.kubeconfigForToken(folder, token).kubeconfig;
}
