import { inject } from 'vitest';
import { Cluster } from './control-plane/cluster.ts';

/** The control plane that the run's files share, with CRDs and deploy/ applied. */
export function useControlPlane(): Cluster {
  const address = inject('controlPlane');
  // Then no test runs, but files are loaded and may call this at their top.
  return new Cluster(address ?? nowhere);
}

const nowhere = {
  folder: '/nonexistent',
  kubectlPath: '/nonexistent/kubectl',
  server: 'https://127.0.0.1:1',
  caFile: '/nonexistent/ca.crt',
  kubeconfig: '/nonexistent/kubeconfig',
  serviceAccountKeyFile: '/nonexistent/sa.key',
};
