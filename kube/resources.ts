/** Where a kind lives in the API. */
export interface Resource {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

const own = (kind: string, plural: string): Resource => ({
  group: 'portcullis.dev',
  version: 'v1alpha1',
  plural,
  kind,
  namespaced: false,
});

/** Every kind that agent, operator and plugin read or write. */
export const resources = {
  portScanPolicies: own('PortScanPolicy', 'portscanpolicies'),
  ipBlocklists: own('IpBlocklist', 'ipblocklists'),
  nodeReports: own('NodeReport', 'nodereports'),
  sourceExceptions: own('SourceException', 'sourceexceptions'),
  prefixChunks: own('PrefixChunk', 'prefixchunks'),
  clusterFacts: own('ClusterFacts', 'clusterfacts'),
  nodes: { group: '', version: 'v1', plural: 'nodes', kind: 'Node', namespaced: false },
  configMaps: { group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap', namespaced: true },
  serviceAccounts: { group: '', version: 'v1', plural: 'serviceaccounts', kind: 'ServiceAccount', namespaced: true },
  endpointSlices: {
    group: 'discovery.k8s.io',
    version: 'v1',
    plural: 'endpointslices',
    kind: 'EndpointSlice',
    namespaced: true,
  },
  serviceCidrs: {
    group: 'networking.k8s.io',
    version: 'v1',
    plural: 'servicecidrs',
    kind: 'ServiceCIDR',
    namespaced: false,
  },
  leases: { group: 'coordination.k8s.io', version: 'v1', plural: 'leases', kind: 'Lease', namespaced: true },
  events: { group: 'events.k8s.io', version: 'v1', plural: 'events', kind: 'Event', namespaced: true },
  tokenReviews: {
    group: 'authentication.k8s.io',
    version: 'v1',
    plural: 'tokenreviews',
    kind: 'TokenReview',
    namespaced: false,
  },
  subjectAccessReviews: {
    group: 'authorization.k8s.io',
    version: 'v1',
    plural: 'subjectaccessreviews',
    kind: 'SubjectAccessReview',
    namespaced: false,
  },
} as const satisfies Record<string, Resource>;

export const apiVersionOf = ({ group, version }: Resource): string => (group === '' ? version : `${group}/${version}`);

/** The path of a collection, an object or its subresource, without host. */
export function pathOf(
  resource: Resource,
  at: { readonly namespace?: string; readonly name?: string; readonly subresource?: string } = {},
): string {
  const { group, version, plural } = resource;
  const parts = group === '' ? ['api', version] : ['apis', group, version];
  if (at.namespace !== undefined) parts.push('namespaces', encodeURIComponent(at.namespace));
  parts.push(plural);
  if (at.name !== undefined) parts.push(encodeURIComponent(at.name));
  if (at.subresource !== undefined) parts.push(at.subresource);
  return `/${parts.join('/')}`;
}
