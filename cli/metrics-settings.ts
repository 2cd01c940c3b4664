import { PortcullisError } from '../api/errors.ts';
import { type ListenAddress, listenAddress, oneOf, path } from './setting-values.ts';
import type { SettingTable } from './settings.ts';

/** Where and to whom a program serves its metrics. */
export interface MetricsSettings {
  /** Null: no metrics are served. */
  readonly metricsAddress: ListenAddress | null;
  /** Has tls.crt and tls.key; undefined: plain HTTP. */
  readonly metricsTlsFolder: string | undefined;
  readonly metricsAuthorization: 'None' | 'TokenReview';
}

/** The same flags for each program, but for the port. */
export function metricsSettingTable(port: number): SettingTable<MetricsSettings> {
  return {
    metricsAddress: {
      flag: 'metrics-address',
      group: 'Reporting',
      form: listenAddress,
      default: `127.0.0.1:${port}`,
      description: 'Where /metrics, /healthz and /readyz are served; port 0 takes a free one.',
    },
    metricsTlsFolder: {
      flag: 'metrics-tls-folder',
      group: 'Reporting',
      form: path('DIR'),
      description:
        'Directory with tls.crt and tls.key. With it that address speaks TLS alone. A new pair there is taken within ten seconds.',
    },
    metricsAuthorization: {
      flag: 'metrics-authorization',
      group: 'Reporting',
      form: oneOf(['None', 'TokenReview']),
      default: 'None',
      description:
        'Who may read /metrics: everybody, or whoever shows a token of somebody whom the API server lets get /metrics. Health is for everybody. TokenReview needs --metrics-tls-folder: tokens must cross no network in clear text.',
    },
  };
}

/** What no form of a single value can say. Throws BadSetting. */
export function checkMetricsSettings({ metricsTlsFolder, metricsAuthorization }: MetricsSettings): void {
  if (metricsAuthorization === 'None' || metricsTlsFolder !== undefined) return;
  throw new PortcullisError('BadSetting', '--metrics-authorization=TokenReview needs --metrics-tls-folder', {
    field: '--metrics-authorization',
    value: metricsAuthorization,
    remedy:
      'Give --metrics-tls-folder a directory with tls.crt and tls.key: tokens must not cross a network in clear text.',
  });
}
