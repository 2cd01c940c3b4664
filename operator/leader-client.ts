import type { KubeClient } from '../kube/client.ts';

/** Why a write was not sent. */
export class NotLeading extends Error {
  constructor() {
    super('this replica does not lead any more: nothing is written');
    this.name = 'NotLeading';
  }
}

/**
 * The same client, which writes only as long as `mayWrite`: a process that was stopped for a while, or that fell behind, may
 * have lost the lead before anybody could tell it.
 */
export function leaderClient(client: KubeClient, mayWrite: () => boolean): KubeClient {
  const guarded =
    <Args extends unknown[], R>(write: (...args: Args) => Promise<R>) =>
    async (...args: Args): Promise<R> => {
      if (!mayWrite()) throw new NotLeading();
      return write(...args);
    };
  return {
    server: client.server,
    get: client.get.bind(client),
    list: client.list.bind(client),
    watch: client.watch.bind(client),
    raw: client.raw.bind(client),
    serviceAccountUid: () => client.serviceAccountUid(),
    reconnect: client.reconnect.bind(client),
    close: client.close.bind(client),
    create: guarded(client.create.bind(client)) as KubeClient['create'],
    replace: guarded(client.replace.bind(client)) as KubeClient['replace'],
    apply: guarded(client.apply.bind(client)) as KubeClient['apply'],
    mergePatch: guarded(client.mergePatch.bind(client)) as KubeClient['mergePatch'],
    delete: guarded(client.delete.bind(client)),
  };
}
