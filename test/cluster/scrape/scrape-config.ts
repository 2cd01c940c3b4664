import type { Manifest } from '../../chart/render.ts';
import type { Cluster } from '../control-plane/cluster.ts';

/** Where Prometheus finds what it needs to scrape; paths of files. */
export interface ScrapePlaces {
  /** Stands for the token that is mounted into the pod of Prometheus. */
  readonly token: string;
  /** Stands for the Secrets that the Prometheus operator mounts, by their name and key. */
  readonly secretFile: (name: string, key: string) => string;
}

const mountedToken = '/var/run/secrets/kubernetes.io/serviceaccount/token';
const label = (name: string) => name.replaceAll(/[^A-Za-z0-9_]/g, '_');

/** Addresses with what discovery tells of each. */
export interface DiscoveredTarget {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * What Prometheus' discovery by EndpointSlices finds in a namespace, with the labels that it gives. Debian builds Prometheus without
 * that discovery, so it is done here, out of the same objects.
 */
export async function discover(cluster: Cluster, namespace: string): Promise<readonly DiscoveredTarget[]> {
  const [slices, services, pods] = await Promise.all(
    ['endpointslices', 'services', 'pods'].map((kind) => cluster.list(kind, ['--namespace', namespace])),
  );
  const named = (objects: readonly Manifest[] | undefined, name: string): Manifest =>
    objects?.find(({ metadata }) => metadata.name === name);
  return slices!.flatMap((slice: Manifest) => {
    const service = named(services, slice.metadata.labels['kubernetes.io/service-name']);
    return slice.ports.flatMap((port: Manifest) =>
      slice.endpoints.map(({ addresses, targetRef }: Manifest): DiscoveredTarget => {
        const pod = named(pods, targetRef.name);
        return {
          targets: [`${addresses[0]}:${port.port}`],
          labels: {
            __meta_kubernetes_namespace: namespace,
            __meta_kubernetes_service_name: service.metadata.name,
            ...Object.fromEntries(
              Object.entries<string>(service.metadata.labels).flatMap(([key, value]) => [
                [`__meta_kubernetes_service_label_${label(key)}`, value],
                [`__meta_kubernetes_service_labelpresent_${label(key)}`, 'true'],
              ]),
            ),
            __meta_kubernetes_endpointslice_port_name: port.name,
            __meta_kubernetes_endpointslice_address_target_kind: targetRef.kind,
            __meta_kubernetes_endpointslice_address_target_name: targetRef.name,
            __meta_kubernetes_pod_name: pod.metadata.name,
            __meta_kubernetes_pod_node_name: pod.spec.nodeName,
            __meta_kubernetes_pod_phase: pod.status?.phase ?? '',
          },
        };
      }),
    );
  });
}

/** The scrape configurations that the Prometheus operator makes of a ServiceMonitor, as its documentation has them. */
export function scrapeConfigs(
  { metadata, spec }: Manifest,
  discovered: readonly DiscoveredTarget[],
  places: ScrapePlaces,
): readonly object[] {
  return spec.endpoints.map((endpoint: Manifest, index: number) => ({
    job_name: `serviceMonitor/${metadata.namespace}/${metadata.name}/${index}`,
    scheme: endpoint.scheme ?? 'http',
    metrics_path: endpoint.path,
    scrape_interval: endpoint.interval,
    static_configs: discovered.filter(({ labels }) =>
      spec.namespaceSelector.matchNames.includes(labels.__meta_kubernetes_namespace),
    ),
    ...(endpoint.tlsConfig && {
      tls_config: {
        ca_file: places.secretFile(endpoint.tlsConfig.ca.secret.name, endpoint.tlsConfig.ca.secret.key),
        server_name: endpoint.tlsConfig.serverName,
      },
    }),
    ...(endpoint.bearerTokenFile && {
      authorization: {
        credentials_file: endpoint.bearerTokenFile === mountedToken ? places.token : endpoint.bearerTokenFile,
      },
    }),
    relabel_configs: [...standardRelabelings(spec, endpoint), ...endpoint.relabelings.map(relabeling)],
  }));
}

function standardRelabelings(spec: Manifest, endpoint: Manifest): readonly object[] {
  const service = '__meta_kubernetes_service';
  const slice = '__meta_kubernetes_endpointslice';
  const copy = (source: string, target_label: string) => ({ source_labels: [source], target_label });
  return [
    ...Object.entries(spec.selector.matchLabels).map(([key, value]) => ({
      action: 'keep',
      source_labels: [`${service}_label_${label(key)}`, `${service}_labelpresent_${label(key)}`],
      regex: `(${value});true`,
    })),
    { action: 'keep', source_labels: [`${slice}_port_name`], regex: endpoint.port },
    ...['Node', 'Pod'].map((kind) => ({
      source_labels: [`${slice}_address_target_kind`, `${slice}_address_target_name`],
      separator: ';',
      regex: `${kind};(.*)`,
      replacement: '$1',
      target_label: kind.toLowerCase(),
    })),
    copy('__meta_kubernetes_namespace', 'namespace'),
    copy(`${service}_name`, 'service'),
    copy('__meta_kubernetes_pod_name', 'pod'),
    copy('__meta_kubernetes_pod_container_name', 'container'),
    { action: 'drop', source_labels: ['__meta_kubernetes_pod_phase'], regex: '(Failed|Succeeded)' },
    copy(`${service}_name`, 'job'),
    {
      source_labels: [`${service}_label_${label(spec.jobLabel)}`],
      target_label: 'job',
      regex: '(.+)',
      replacement: '$1',
    },
    { target_label: 'endpoint', replacement: endpoint.port },
  ];
}

function relabeling({ action, sourceLabels, targetLabel, regex, replacement }: Manifest): object {
  return {
    ...(action && { action }),
    ...(sourceLabels && { source_labels: sourceLabels }),
    ...(targetLabel && { target_label: targetLabel }),
    ...(regex && { regex }),
    ...(replacement && { replacement }),
  };
}
