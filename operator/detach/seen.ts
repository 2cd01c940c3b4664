/** What the API server's objects say about a wish to detach. Pure. */
import { detachWishName } from '../../api/detach-wish.ts';
import { isMapping } from '../../api/rules.ts';
import type { KubeMeta, KubeObject } from '../../kube/objects.ts';
import { lastWriteMs } from '../stored/report.ts';
import type { ReportSeen } from './progress.ts';

/** What is kept of a NodeReport: thousands of them are watched. */
export interface WatchedReport extends KubeObject {
  readonly metadata: Pick<KubeMeta, 'name' | 'uid' | 'resourceVersion'>;
  readonly state: string;
  readonly isUninstalled: boolean;
  /** By the API server's clock, which is that of the wish too. */
  readonly writtenAtMs: number | undefined;
  readonly ownerUids: readonly string[];
}

export function watchedReport(object: KubeObject): WatchedReport {
  const { metadata } = object;
  const { name, uid, resourceVersion, ownerReferences = [] } = metadata;
  const { status } = object as KubeObject & { readonly status?: unknown };
  const { state, breakGlass } = isMapping(status) ? status : {};
  return {
    metadata: {
      name,
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
    state: typeof state === 'string' && /^[A-Za-z]{1,16}$/.test(state) ? state : 'nothing',
    isUninstalled: breakGlass === 'Uninstall',
    writtenAtMs: lastWriteMs(metadata),
    ownerUids: ownerReferences.slice(0, 4).map((owner) => String(owner.uid).slice(0, 64)),
  };
}

/** Times of the API server, in ms since 1970. */
export interface Times {
  readonly nowMs: number;
  /** Undefined: there is no wish. */
  readonly wishMs: number | undefined;
  readonly staleAfterMs: number;
}

/** The report of a Node; undefined when it is of an earlier one of that name. */
export function reportSeen(
  { metadata, state, isUninstalled, writtenAtMs, ownerUids }: WatchedReport,
  nodeUid: string | undefined,
  { nowMs, wishMs, staleAfterMs }: Times,
): ReportSeen | undefined {
  if (ownerUids.length > 0 && nodeUid !== undefined && !ownerUids.includes(nodeUid)) return undefined;
  // A server that does not say when something was written says that of no report: it must not make all of them stale.
  const isFresh = writtenAtMs === undefined || nowMs - writtenAtMs < staleAfterMs;
  // Times have whole seconds: in the second of the wish a report may be from just before it.
  const isAnswer = wishMs === undefined ? isFresh : writtenAtMs !== undefined && writtenAtMs >= wishMs;
  return { node: metadata.name, state, isUninstalled, isFresh, isAnswer };
}

export const wishManager = 'portcullis-detach';
export const clockManager = 'portcullis-detach-clock';

/** When a manager of fields last changed what it applied, by the API server's clock. */
export function managerWroteMs(metadata: KubeMeta, manager: string): number | undefined {
  const { managedFields = [] } = metadata as KubeMeta & { readonly managedFields?: readonly ManagedFields[] };
  return lastWriteMs({
    ...metadata,
    managedFields: managedFields.filter((each) => each.manager === manager),
  } as KubeMeta);
}

interface ManagedFields {
  readonly manager?: string;
}

/** The wish that agents detach whose account has this uid. */
export const wishFor = (serviceAccountUid: string) => ({
  apiVersion: 'portcullis.dev/v1alpha1',
  kind: 'ClusterFacts',
  metadata: { name: detachWishName },
  spec: { holds: 'Detach', count: 0, prefixes: [], serviceAccountUid },
});
