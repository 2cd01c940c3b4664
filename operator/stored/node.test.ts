import { expect, it } from 'vitest';
import type { KubeObject } from '../../kube/objects.ts';
import { storeNode } from './node.ts';

it('keeps of a Node what counts here', () => {
  const node = {
    metadata: { name: 'a', uid: 'u', resourceVersion: '7', labels: { zone: 'x' }, annotations: { much: 'text' } },
    spec: { podCIDR: '10.1.0.0/24', podCIDRs: ['10.1.0.0/24', '2001:db8:1::/64'] },
    status: {
      addresses: [
        { type: 'InternalIP', address: '192.0.2.1' },
        { type: 'ExternalIP', address: '198.51.100.1' },
        { type: 'Hostname', address: 'a' },
      ],
      conditions: [{ type: 'Ready', status: 'True' }],
      images: [{}],
    },
  } as KubeObject;
  expect(storeNode(node)).toEqual({
    metadata: { name: 'a', uid: 'u', resourceVersion: '7', labels: { zone: 'x' } },
    isReady: true,
    addresses: ['192.0.2.1', '198.51.100.1'],
    podCidrs: ['10.1.0.0/24', '2001:db8:1::/64'],
  });
});

it('survives any form, and more addresses than a node can have', () => {
  const many = Array.from({ length: 1000 }, () => ({ type: 'InternalIP', address: '192.0.2.1' }));
  for (const status of [undefined, null, 'x', { addresses: 'x', conditions: [null, 7] }, { addresses: many }]) {
    const node = storeNode({
      metadata: { name: 'a' },
      spec: { podCIDRs: [7, null, 'x'.repeat(100)] },
      status,
    } as unknown as KubeObject);
    expect(node.isReady).toBe(false);
    expect(node.addresses.length).toBeLessThanOrEqual(64);
    expect(node.podCidrs).toEqual([]);
  }
});
