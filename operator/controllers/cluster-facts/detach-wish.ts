import { detachWishUid } from '../../../api/detach-wish.ts';
import type { ClusterFacts } from '../../../api/types.ts';
import type { KubeClient } from '../../../kube/client.ts';
import { isNotFound } from '../../../kube/errors.ts';
import type { KubeObject } from '../../../kube/objects.ts';
import { resources } from '../../../kube/resources.ts';

/** Of the agents, in the namespace of the operator. */
export const agentAccount = 'portcullis-agent';

/**
 * Deletes a wish to detach that another account than the present one of the agents is meant by: it is of an installation that is
 * gone. Returns whether it did. While there is no account at all the wish stays: an uninstallation takes the account away before
 * the last agent has ended, and that one would attach again.
 */
export async function clearDetachWish({
  client,
  namespace,
  wish,
  signal,
}: {
  readonly client: Pick<KubeClient, 'get' | 'delete'>;
  readonly namespace: string;
  readonly wish: ClusterFacts & KubeObject;
  readonly signal: AbortSignal;
}): Promise<boolean> {
  const present = await accountUid(client, namespace, signal);
  if (present === undefined || present === detachWishUid(wish)) return false;
  const { name, uid, resourceVersion } = wish.metadata;
  // As it was seen, and no newer one: it may have been made one for the present agents a moment ago.
  const seen = { ...(uid === undefined ? {} : { uid }), ...(resourceVersion === undefined ? {} : { resourceVersion }) };
  await client.delete(resources.clusterFacts, name, { signal, ...seen });
  return true;
}

/** Undefined when there is no such account. */
export async function accountUid(
  client: Pick<KubeClient, 'get'>,
  namespace: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const options = { namespace, signal, metadataOnly: true };
    return (await client.get<KubeObject>(resources.serviceAccounts, agentAccount, options)).metadata.uid;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
