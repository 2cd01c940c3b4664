import { afterAll, beforeAll, expect, test } from 'vitest';
import { applyObject, applyStatus } from '../../kube/apply.ts';
import type { KubeClient } from '../../kube/client.ts';
import { openKubeClient } from '../../kube/http-client.ts';
import type { KubeObject } from '../../kube/objects.ts';
import { resources } from '../../kube/resources.ts';
import { useControlPlane } from './use-control-plane.ts';

const cluster = useControlPlane();
let client: KubeClient;

beforeAll(async () => {
  client = await openKubeClient({ kubeconfig: cluster.kubeconfig, userAgent: 'apply-test' });
  const metadata = { name: 'apply-policy' };
  const policy = { apiVersion: 'portcullis.dev/v1alpha1', kind: 'PortScanPolicy', metadata, spec: { mode: 'Monitor' } };
  await client.create(resources.portScanPolicies, policy);
});

afterAll(async () => {
  await client?.delete(resources.portScanPolicies, 'apply-policy');
  await client?.delete(resources.prefixChunks, 'apply-chunk');
  await client?.close();
});

test('the status of an object is applied once, and refused when the object is no longer as it was read', async () => {
  const read = () => client.get<KubeObject & { status?: object }>(resources.portScanPolicies, 'apply-policy');
  const current = await read();
  const status = {
    conditions: [
      {
        type: 'Accepted',
        status: 'True',
        reason: 'Valid',
        message: 'all is well',
        observedGeneration: 1,
        lastTransitionTime: '2026-11-21T12:00:00Z',
      },
    ],
  };
  const target = { name: 'apply-policy', status, uid: current.metadata.uid! };
  expect(await applyStatus(client, resources.portScanPolicies, target, { fieldManager: 'test', current })).toBe(true);
  const after = await read();
  expect(after.status).toEqual(status);
  const again = { fieldManager: 'test', current: after };
  expect(await applyStatus(client, resources.portScanPolicies, target, again)).toBe(false);
  const outdated = { name: 'apply-policy', status: {}, resourceVersion: current.metadata.resourceVersion! };
  await expect(applyStatus(client, resources.portScanPolicies, outdated, again)).rejects.toMatchObject({ status: 409 });
  expect(await read()).toEqual(after);
  const absent = { name: 'apply-nobody', status };
  await expect(applyStatus(client, resources.portScanPolicies, absent, { fieldManager: 'test' })).rejects.toMatchObject(
    { status: 404 },
  );
});

test('an object is made with its owner, left alone when it is as it should be, and written to when it is not', async () => {
  const { metadata } = await client.get(resources.portScanPolicies, 'apply-policy');
  const { name, uid } = metadata;
  const ownerReferences = [{ apiVersion: 'portcullis.dev/v1alpha1', kind: 'PortScanPolicy', name, uid: uid! }];
  const apply = (prefixes: string, count: number, current?: KubeObject) =>
    applyObject(
      client,
      resources.prefixChunks,
      {
        metadata: { name: 'apply-chunk', labels: { list: 'apply' }, ownerReferences },
        spec: { list: 'apply', count, prefixes },
      },
      { fieldManager: 'test', current },
    );
  const read = () => client.get<KubeObject & { spec: object }>(resources.prefixChunks, 'apply-chunk');
  expect(await apply('192.0.2.0/24', 1)).toBe(true);
  const made = await read();
  expect(made).toMatchObject({ metadata: { ownerReferences }, spec: { prefixes: '192.0.2.0/24' } });
  expect(await apply('192.0.2.0/24', 1, made)).toBe(false);
  // What a chunk holds never changes: the refusal shows that the server was asked.
  await expect(apply('192.0.2.0/25', 1, made)).rejects.toMatchObject({ status: 422 });
});
