import { expect, it } from 'vitest';
import type { KubeClient } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import { leaderClient, NotLeading } from './leader-client.ts';

const object = { apiVersion: 'v1', kind: 'Event', metadata: { name: 'x' } };

function recording(): { readonly client: KubeClient; readonly requests: string[] } {
  const requests: string[] = [];
  const note = (name: string) => async () => void requests.push(name);
  const names = ['get', 'list', 'watch', 'create', 'replace', 'apply', 'mergePatch', 'delete', 'raw', 'close'];
  const methods = Object.fromEntries(names.map((name) => [name, note(name)]));
  return { client: { server: 'https://x', reconnect: () => {}, ...methods } as unknown as KubeClient, requests };
}

it('lets writes through only while this replica leads, and reads always', async () => {
  const { client, requests } = recording();
  let leads = true;
  const guarded = leaderClient(client, () => leads);
  await guarded.create(resources.events, object);
  leads = false;
  await guarded.get(resources.nodes, 'a');
  const { events } = resources;
  const writes = [
    () => guarded.create(events, object),
    () => guarded.replace(events, object),
    () => guarded.apply(events, object, { fieldManager: 'x' }),
    () => guarded.mergePatch(events, 'x', {}),
    () => guarded.delete(events, 'x'),
  ];
  for (const write of writes) await expect(write()).rejects.toThrow(NotLeading);
  expect(requests).toEqual(['create', 'get']);
});
