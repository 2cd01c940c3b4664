import { beforeEach, describe, expect, test } from 'vitest';
import { applyObject, applyStatus } from './apply.ts';
import type { ApplyOptions, KubeClient } from './client.ts';
import type { KubeObject, NewKubeObject } from './objects.ts';
import { type Resource, resources } from './resources.ts';

let sent: { resource: Resource; object: NewKubeObject; options: ApplyOptions }[];
let client: KubeClient;

beforeEach(() => {
  sent = [];
  client = {
    apply: async (resource: Resource, object: NewKubeObject, options: ApplyOptions) => {
      sent.push({ resource, object, options });
      return object;
    },
  } as Partial<KubeClient> as KubeClient;
});

const fieldManager = 'portcullis-operator';
const status = { summary: '3/3', conditions: [{ type: 'Accepted', status: 'True' }] };
const policy = (fields: object): KubeObject => ({ metadata: { name: 'ssh', uid: 'u1' }, ...fields });

describe('applyStatus', () => {
  const apply = (current?: KubeObject, uid = 'u1') =>
    applyStatus(client, resources.portScanPolicies, { name: 'ssh', uid, status }, { fieldManager, current });

  test('applies the status alone, and takes its fields over', async () => {
    expect(await apply()).toBe(true);
    expect(sent).toEqual([
      {
        resource: resources.portScanPolicies,
        object: {
          apiVersion: 'portcullis.dev/v1alpha1',
          kind: 'PortScanPolicy',
          metadata: { name: 'ssh' },
          status,
        },
        options: { fieldManager, force: true, subresource: 'status', metadataOnly: true },
      },
    ]);
  });

  test('writes nothing when the object has that status', async () => {
    expect(await apply(policy({ status: { conditions: status.conditions, summary: '3/3' } }))).toBe(false);
    expect(sent).toEqual([]);
  });

  test.each([
    ['another value', { ...status, summary: '2/3' }],
    ['a field more', { ...status, old: 1 }],
    ['none', undefined],
  ])('writes when the object has %s', async (_what, before) => {
    expect(await apply(policy({ status: before }))).toBe(true);
  });

  test('writes when the object that was read is another of the same name', async () => {
    expect(await apply(policy({ status }), 'u2')).toBe(true);
  });

  test('names the resourceVersion on which it builds, when it is told', async () => {
    const target = { name: 'ssh', namespace: 'net', resourceVersion: '7', status };
    await applyStatus(client, resources.portScanPolicies, target, { fieldManager });
    expect(sent[0]!.object.metadata).toEqual({ name: 'ssh', namespace: 'net', resourceVersion: '7' });
    expect(sent[0]!.options.namespace).toBe('net');
  });
});

describe('applyObject', () => {
  const owner = { apiVersion: 'portcullis.dev/v1alpha1', kind: 'IpBlocklist', name: 'bad', uid: 'u9' };
  const spec = { list: 'bad', count: 1, prefixes: '192.0.2.0/24' };
  const metadata = { name: 'bad-0123', labels: { list: 'bad' }, ownerReferences: [owner] };
  const apply = (current?: KubeObject) =>
    applyObject(client, resources.prefixChunks, { metadata, spec }, { fieldManager, current });

  test('applies the object with its owner', async () => {
    expect(await apply()).toBe(true);
    expect(sent).toEqual([
      {
        resource: resources.prefixChunks,
        object: { apiVersion: 'portcullis.dev/v1alpha1', kind: 'PrefixChunk', metadata, spec },
        options: { fieldManager, force: true, metadataOnly: true },
      },
    ]);
  });

  const stored = {
    metadata: {
      ...metadata,
      uid: 'u5',
      resourceVersion: '7',
      labels: { list: 'bad', team: 'net' },
      annotations: { note: 'of somebody' },
    },
    spec,
  };

  test('writes nothing when all of it is there, whatever others added', async () => {
    expect(await apply(stored)).toBe(false);
    expect(sent).toEqual([]);
  });

  test.each([
    ['another spec', { ...stored, spec: { ...spec, count: 2 } }],
    ['no owner', { ...stored, metadata: { ...stored.metadata, ownerReferences: [] } }],
    [
      'an older owner of the same name',
      { ...stored, metadata: { ...stored.metadata, ownerReferences: [{ ...owner, uid: 'u8' }] } },
    ],
    ['another label', { ...stored, metadata: { ...stored.metadata, labels: { list: 'good' } } }],
  ])('writes when the object has %s', async (_what, current) => {
    expect(await apply(current)).toBe(true);
  });
});
