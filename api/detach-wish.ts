/** The wish that all agents of an installation detach, since it is uninstalled: a slice of ClusterFacts that is no fact. */
import type { ClusterFacts } from './types.ts';

/** Its name, and that of no other slice: the CRD sees to that. */
export const detachWishName = 'detach';

/** Uid of the ServiceAccount whose agents are meant; undefined of a slice that is no such wish. It may be as somebody else wrote it. */
export function detachWishUid({ metadata, spec }: Pick<ClusterFacts, 'metadata' | 'spec'>): string | undefined {
  if (metadata.name !== detachWishName || spec?.holds !== 'Detach') return undefined;
  const { serviceAccountUid } = spec as { readonly serviceAccountUid?: unknown };
  return typeof serviceAccountUid === 'string' && serviceAccountUid !== '' ? serviceAccountUid : undefined;
}
