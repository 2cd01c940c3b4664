import { expect, it } from 'vitest';
import type { ClusterFacts } from '../../../api/types.ts';
import type { KubeClient } from '../../../kube/client.ts';
import { KubeError } from '../../../kube/errors.ts';
import type { KubeObject } from '../../../kube/objects.ts';
import { clearDetachWish } from './detach-wish.ts';

const wishOf = (serviceAccountUid: string) =>
  ({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'ClusterFacts',
    metadata: { name: 'detach', uid: 'wish', resourceVersion: '7' },
    spec: { holds: 'Detach', count: 0, prefixes: [], serviceAccountUid },
  }) as ClusterFacts & KubeObject;

/** What is deleted where the account of the agents has this uid, or cannot be read. */
async function deleted(wish: ClusterFacts & KubeObject, account: string | KubeError): Promise<unknown[]> {
  const calls: unknown[] = [];
  const client = {
    get: async (_: unknown, name: string, { namespace }: { namespace: string }) => {
      if (account instanceof KubeError) throw account;
      return { metadata: { name: `${namespace}/${name}`, uid: account } };
    },
    delete: async (_: unknown, name: string, { uid, resourceVersion }: Record<string, string>) =>
      void calls.push([name, uid, resourceVersion]),
  } as unknown as KubeClient;
  const did = await clearDetachWish({ client, namespace: 'guard', wish, signal: new AbortController().signal });
  expect(did).toBe(calls.length > 0);
  return calls;
}

it('leaves a wish alone that is for the present agents', async () => {
  expect(await deleted(wishOf('present'), 'present')).toEqual([]);
});

it('deletes a wish of an installation that is gone, and no other that has come in its place', async () => {
  expect(await deleted(wishOf('earlier'), 'present')).toEqual([['detach', 'wish', '7']]);
});

it('leaves it alone while there is no account, since agents may outlive theirs', async () => {
  expect(await deleted(wishOf('earlier'), new KubeError({ message: 'no', status: 404 }))).toEqual([]);
});

it('does nothing when it is not told of the account', async () => {
  await expect(deleted(wishOf('earlier'), new KubeError({ message: 'no', status: 403 }))).rejects.toThrow('no');
});
