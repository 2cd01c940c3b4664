import type { ClusterFacts, SourceException } from '../api/types.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Clock } from '../kube/clock.ts';
import type { KubeObject } from '../kube/objects.ts';
import type { ReflectorLog, ReflectorObserver, ReflectorOptions } from '../kube/reflector.ts';
import { type Resource, resources } from '../kube/resources.ts';
import { managedByLabel } from './controllers/source-exception/reconcile.ts';
import type { EndpointSlice, ServiceCidr, Shared } from './shared.ts';
import { type StoredNode, storeNode } from './stored/node.ts';
import { listStore, policyStore, type StoredList, type StoredPolicy } from './stored/policy-object.ts';
import { reportStore, type StoredReport } from './stored/report.ts';
import { WatchedReflector } from './watched-reflector.ts';

export interface SharedOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly metrics: ReflectorObserver;
  readonly log: (name: string, entry: ReflectorLog) => void;
}

export interface SharedReflectors extends Shared {
  readonly all: readonly WatchedReflector<KubeObject>[];
  /** Those without which no controller may work. */
  readonly needed: readonly WatchedReflector<KubeObject>[];
}

/** Ten full reports are 160 KiB: a page of them must not be the largest thing in memory. */
const reportPage = 100;
/** A list may be 1.5 MiB. */
const listPage = 10;

export function createReflectors(options: SharedOptions): SharedReflectors {
  const { client, clock, random, metrics, log } = options;
  const all: WatchedReflector<KubeObject>[] = [];
  const watch = <T extends KubeObject>(
    name: string,
    resource: Resource,
    more: Partial<ReflectorOptions<T>> = {},
  ): WatchedReflector<T> => {
    const reflector = new WatchedReflector<T>({
      client,
      resource,
      name,
      clock,
      random,
      metrics,
      log: (entry) => log(name, entry),
      ...more,
    });
    all.push(reflector as unknown as WatchedReflector<KubeObject>);
    return reflector;
  };
  const { namespace } = options;
  const shared = {
    policies: watch<StoredPolicy>('portscanpolicies', resources.portScanPolicies, stored(policyStore())),
    lists: watch<StoredList>('ipblocklists', resources.ipBlocklists, { ...stored(listStore()), pageSize: listPage }),
    reports: watch<StoredReport>('nodereports', resources.nodeReports, {
      ...stored(reportStore()),
      pageSize: reportPage,
    }),
    nodes: watch<StoredNode>('nodes', resources.nodes, stored(storeNode)),
    exceptions: watch<SourceException & KubeObject>('sourceexceptions', resources.sourceExceptions, {
      transform: withSpec,
    }),
    clusterFacts: watch<ClusterFacts & KubeObject>('clusterfacts', resources.clusterFacts),
    configMaps: watch<KubeObject>('configmaps', resources.configMaps, {
      namespace,
      metadataOnly: true,
      transform: bare,
    }),
    prefixChunks: watch<KubeObject>('prefixchunks', resources.prefixChunks, {
      metadataOnly: true,
      transform: bare,
    }),
    endpointSlices: watch<EndpointSlice>('endpointslices', resources.endpointSlices, {
      namespace: 'default',
      labelSelector: 'kubernetes.io/service-name=kubernetes',
    }),
    serviceCidrs: watch<ServiceCidr>('servicecidrs', resources.serviceCidrs),
  };
  const needed = all.filter(({ name }) => name !== 'servicecidrs');
  return { ...shared, all, needed };
}

/** Somebody may write labels and annotations of 1.5 MB on each object; one label alone is asked for. */
function bare<T extends KubeObject>({ metadata }: T): T {
  const { name, namespace, uid, resourceVersion, generation, creationTimestamp, labels, ownerReferences } = metadata;
  const manager = labels?.[managedByLabel];
  return {
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(generation === undefined ? {} : { generation }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
      ...(manager === undefined ? {} : { labels: { [managedByLabel]: manager } }),
      ...(ownerReferences === undefined ? {} : { ownerReferences }),
    },
  } as KubeObject as T;
}

function withSpec<T extends KubeObject>(object: T): T {
  return { ...bare(object), spec: (object as { spec?: unknown }).spec };
}

/** What the store gives is less than what the server sends, and takes its place. */
const stored = <T extends KubeObject>(store: (object: KubeObject) => T) => ({
  transform: (object: T): T => store(object),
});
