import { home, place } from './place.ts';

/** Somebody outside of the cluster, and whom he scans. */
export const attackerAddress = '100.66.6.6';
const nodeAddresses = ['100.80.1.10', '100.80.2.10'] as const;

/**
 * What a person types on the cluster, in order: `make cluster` prints it, the README shows it, a test types it. nmap with
 * --min-rate, since it slows down to a few probes a second by itself where nothing answers any more.
 */
export const quickStart: readonly string[] = [
  'helm install portcullis charts/portcullis -n portcullis-system --create-namespace --wait',
  'kubectl apply --server-side -f examples/',
  'kubectl wait --for=condition=Programmed portscanpolicy/web-node',
  `attacker nmap -Pn -n -sS -T4 --min-rate 300 -p1-1000 ${nodeAddresses[0]}`,
  'kubectl describe portscanpolicy web-node',
  'kubectl portcullis blocked',
  `kubectl portcullis unblock ${attackerAddress} --for 1h`,
  'helm uninstall portcullis -n portcullis-system',
];

export function exportLine(): string {
  return `export KUBECONFIG=${place.kubeconfig} PATH=${place.bin}:$PATH`;
}

export function instructions(): string {
  return `A cluster runs: an API server and the nodes node-a and node-b, with kubelet, containerd and the images of Portcullis.
Portcullis itself is yours to install. Type, as root, in the folder of the sources:

  ${exportLine()}

${quickStart.map((line) => `  ${line}`).join('\n')}

The nodes are ${nodeAddresses.join(' and ')}, with some services; "attacker COMMAND" runs a command as somebody outside of the
cluster, ${attackerAddress}: scan once before you install, too. Logs of all programs: ${home}/logs. The end of it: make cluster-stop
`;
}
