import type { NewKubeObject } from '../../../kube/objects.ts';

export const interfaceOf = (number: number): string => `eth${number}`;
export const policyOf = (number: number): string => `scale-${number}`;

/** The worst case: every policy selects every node, and governs an interface of its own there. */
export function policyObject(number: number, distinctTargets = 15): NewKubeObject & { readonly spec: object } {
  return {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'PortScanPolicy',
    metadata: { name: policyOf(number) },
    spec: {
      mode: 'Enforce',
      interfaces: { names: [interfaceOf(number)] },
      detection: { distinctTargets, window: '60s' },
      block: { duration: '10m' },
      allow: Array.from({ length: 10 }, (_, entry) => ({ cidr: `192.0.2.${entry}/32`, reason: 'monitoring' })),
    },
  };
}
