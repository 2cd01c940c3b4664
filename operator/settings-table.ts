import type { LogLevel } from '../agent/telemetry/log.ts';
import { type MetricsSettings, metricsSettingTable } from '../cli/metrics-settings.ts';
import { duration, integer, oneOf, path, prefixes } from '../cli/setting-values.ts';
import type { SettingTable } from '../cli/settings.ts';
import { dnsLabel } from './setting-values.ts';

/** Everything that `run` can be told, read and checked. */
export interface OperatorSettings extends MetricsSettings {
  readonly kubeconfig: string | undefined;
  readonly namespace: string;
  /** Canonical prefixes. */
  readonly neverBlock: readonly string[];
  readonly logLevel: LogLevel;
  readonly reportStaleAfterMs: number;
  readonly statusIntervalMs: number;
  readonly countersIntervalMs: number;
  readonly factsIntervalMs: number;
  readonly factsKeepMs: number;
  readonly minPodRangeLengthIpv4: number;
  readonly minPodRangeLengthIpv6: number;
  readonly eventSources: 'hidden' | 'shown';
  readonly orphanGraceMs: number;
  readonly expiredKeepMs: number;
  readonly leaseName: string;
  readonly leaseDurationMs: number;
  readonly leaseRenewDeadlineMs: number;
  readonly leaseRetryPeriodMs: number;
  readonly workers: number;
  readonly requestsPerSecond: number;
  readonly requestsBurst: number;
}

const hourMs = 3_600_000;

/** The one list of settings: the parser, --help and docs/settings.md are made from it, in this order. */
export const operatorSettingTable: SettingTable<OperatorSettings> = {
  kubeconfig: {
    flag: 'kubeconfig',
    group: 'API server',
    form: path('FILE'),
    description:
      'How to reach the API server. Without it: KUBECONFIG, then the service account of the pod, then ~/.kube/config.',
  },
  namespace: {
    flag: 'namespace',
    group: 'API server',
    form: dnsLabel,
    default: 'portcullis-system',
    description: 'Namespace of the Lease, and of the ConfigMaps that IpBlocklists refer to.',
  },
  workers: {
    flag: 'workers',
    group: 'API server',
    form: integer(1, 64),
    default: '4',
    description: 'Objects of one kind that are worked on at the same time.',
  },
  requestsPerSecond: {
    flag: 'requests-per-second',
    group: 'API server',
    form: integer(1, 1000),
    default: '20',
    description: 'Requests that the operator makes of the API server a second, watches and the Lease aside.',
  },
  requestsBurst: {
    flag: 'requests-burst',
    group: 'API server',
    form: integer(1, 10_000),
    default: '40',
    description: 'Requests at once after a quiet time.',
  },
  neverBlock: {
    flag: 'never-block',
    group: 'Never-block set',
    form: prefixes,
    default: '',
    repeatable: true,
    description:
      'Sources that no node ever drops, beside those that the operator finds out itself. Give the ranges of pods here where the nodes do not tell them.',
  },
  factsIntervalMs: {
    flag: 'facts-interval',
    group: 'Never-block set',
    form: duration(100, hourMs),
    default: '5s',
    description: 'How often what is known of the cluster is written at most.',
  },
  factsKeepMs: {
    flag: 'facts-keep',
    group: 'Never-block set',
    form: duration(0, 24 * hourMs),
    default: '10m',
    description: 'How long an address that has disappeared from the cluster stays in the never-block set.',
  },
  minPodRangeLengthIpv4: {
    flag: 'min-pod-range-length-ipv4',
    group: 'Never-block set',
    form: integer(1, 32),
    default: '16',
    description:
      'The widest range that a Node may claim for its pods, as the length of its prefix; wider ones are refused.',
  },
  minPodRangeLengthIpv6: {
    flag: 'min-pod-range-length-ipv6',
    group: 'Never-block set',
    form: integer(1, 128),
    default: '48',
    description: 'The same for IPv6.',
  },
  reportStaleAfterMs: {
    flag: 'report-stale-after',
    group: 'Status',
    form: duration(1000, 24 * hourMs),
    default: '12m',
    description:
      'After which a NodeReport that does not change is stale. Agents renew an unchanged one every 5 minutes, give or take one.',
  },
  statusIntervalMs: {
    flag: 'status-interval',
    group: 'Status',
    form: duration(100, hourMs),
    default: '10s',
    description:
      'How often the status of one object is written at most, after the first six writes of a quiet time; of more than ten of a kind, each less often in proportion.',
  },
  countersIntervalMs: {
    flag: 'counters-interval',
    group: 'Status',
    form: duration(100, 24 * hourMs),
    default: '5m',
    description: 'How often the status of one object is written at most when nothing but counters has changed.',
  },
  orphanGraceMs: {
    flag: 'orphan-grace',
    group: 'Clean-up',
    form: duration(0, hourMs),
    default: '1m',
    description: 'How long the NodeReport of a Node that is gone stays.',
  },
  expiredKeepMs: {
    flag: 'expired-keep',
    group: 'Clean-up',
    form: duration(60_000, 720 * hourMs),
    default: '24h',
    description: 'How long expired objects that the kubectl plugin made stay.',
  },
  leaseName: {
    flag: 'lease-name',
    group: 'Election',
    form: dnsLabel,
    default: 'portcullis-operator',
    description: 'Name of the Lease by which one replica leads.',
  },
  leaseDurationMs: {
    flag: 'lease-duration',
    group: 'Election',
    form: duration(1000, hourMs),
    default: '15s',
    description: 'How long other replicas leave a leader alone that gives no sign of life.',
  },
  leaseRenewDeadlineMs: {
    flag: 'lease-renew-deadline',
    group: 'Election',
    form: duration(500, hourMs),
    default: '10s',
    description: 'How long a leader goes on when it cannot renew the Lease; shorter than the duration.',
  },
  leaseRetryPeriodMs: {
    flag: 'lease-retry-period',
    group: 'Election',
    form: duration(100, hourMs),
    default: '2s',
    description: 'Time between renewals, and between the looks of those who wait; shorter than the deadline.',
  },
  eventSources: {
    flag: 'event-sources',
    group: 'Reporting',
    form: oneOf(['hidden', 'shown']),
    default: 'hidden',
    description:
      'Whether Events name the sources that were blocked. They are personal data, and whoever may view the namespace default reads Events.',
  },
  ...metricsSettingTable(9470),
  logLevel: {
    flag: 'log-level',
    group: 'Reporting',
    form: oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace']),
    default: 'info',
    description: 'The least severe lines that are logged.',
  },
};
