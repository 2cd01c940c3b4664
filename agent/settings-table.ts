import { type MetricsSettings, metricsSettingTable } from '../cli/metrics-settings.ts';
import {
  absolutePath,
  duration,
  integer,
  labels,
  nextPowerOfTwo,
  objectName,
  oneOf,
  path,
  powerOfTwo,
  prefixes,
  toggle,
} from '../cli/setting-values.ts';
import type { SettingTable } from '../cli/settings.ts';
import type { LogLevel } from './telemetry/log.ts';

/** Everything that `run` can be told, read and checked. */
export interface RunSettings extends MetricsSettings {
  /** Either this, or `kubernetes` with `nodeName`. */
  readonly policies: string | undefined;
  readonly kubernetes: boolean;
  readonly nodeName: string | undefined;
  readonly kubeconfig: string | undefined;
  readonly readJitterMs: number;
  readonly breakGlassFile: string;
  readonly state: string | undefined;
  readonly pinPath: string;
  readonly statusFile: string | undefined;
  readonly xdpMode: 'auto' | 'native' | 'generic';
  readonly nodeLabels: Readonly<Record<string, string>>;
  /** Canonical prefixes. */
  readonly neverBlock: readonly string[];
  readonly logLevel: LogLevel;
  readonly reportIntervalMs: number;
  readonly maxExtensionHeaders: number;
  /** As asked for; trackingDomains() tells what it comes to. */
  readonly maxFirstTargets: number;
  readonly maxBlocks: number;
  readonly maxManualBlocks: number;
  readonly maxNeverBlock: number;
  readonly maxOwnAddresses: number;
  readonly maxListEntries: number;
  readonly maxAllowEntries: number;
  readonly maxOwners: number;
  readonly concernCells: number;
  readonly ringBufferBytes: number;
  readonly connectionEventsPerSecond: number;
  readonly blockEventsPerSecond: number;
  readonly maxPolicyFiles: number;
  readonly maxFileBytes: number;
}

/** Sources with one target that a tracking domain is sure to hold: half of its places, since hashing fills domains unevenly. */
export const guaranteedSourcesPerDomain = 24;
const minDomains = 128;
const maxDomains = 524_288;

/** Number of tracking domains for a wanted number of sources, a power of two. */
export function trackingDomains(maxFirstTargets: number): number {
  return nextPowerOfTwo(Math.ceil(maxFirstTargets / guaranteedSourcesPerDomain));
}

/** The one list of settings: the parser, --help and docs/settings.md are made from it, in this order. */
export const settingTable: SettingTable<RunSettings> = {
  policies: {
    flag: 'policies',
    group: 'Policies and files',
    form: path('DIR'),
    description:
      'Directory of the policy files, *.yaml and *.yml. It is watched for changes. Required, unless --kubernetes is given.',
  },
  state: {
    flag: 'state',
    group: 'Policies and files',
    form: path('DIR'),
    description:
      'Directory that keeps the last good policies and the blocks over a reboot. Without it both are kept only while the host runs.',
  },
  pinPath: {
    flag: 'pin-path',
    group: 'Policies and files',
    form: absolutePath('DIR'),
    default: '/sys/fs/bpf/portcullis',
    description: 'Where programs and tables are pinned; it must lie on a BPF file system. Agents must not share one.',
  },
  maxPolicyFiles: {
    flag: 'max-policy-files',
    group: 'Policies and files',
    form: integer(1, 10_000),
    default: '1000',
    description: 'Files read from the directory of policies; those beyond it, in order of name, are refused.',
  },
  maxFileBytes: {
    flag: 'max-file-bytes',
    group: 'Policies and files',
    form: integer(1024, 4_194_304),
    default: '4194304',
    description: 'Size of one policy file; a larger one is refused.',
  },
  kubernetes: {
    flag: 'kubernetes',
    group: 'Kubernetes',
    form: toggle,
    default: 'false',
    description:
      'Take the policies from a Kubernetes API server, and write what is done into the NodeReport of this node.',
  },
  nodeName: {
    flag: 'node-name',
    group: 'Kubernetes',
    form: objectName,
    description: "Name of this machine's Node. Required with --kubernetes.",
  },
  kubeconfig: {
    flag: 'kubeconfig',
    group: 'Kubernetes',
    form: path('FILE'),
    description:
      'How to reach the API server. Without it: KUBECONFIG, then the service account of the pod, then ~/.kube/config.',
  },
  reportIntervalMs: {
    flag: 'report-interval',
    group: 'Kubernetes',
    form: duration(1_000, 3_600_000),
    default: '30s',
    description:
      'Least time between reports while there is news without end, after the first three; longer in clusters of more than 1,000 nodes.',
  },
  readJitterMs: {
    flag: 'read-jitter',
    group: 'Kubernetes',
    form: duration(0, 60_000),
    default: '500ms',
    description:
      'A policy that changed is read after a random time up to this, so that the agents of a cluster do not all ask at once; longer in clusters of more than 1,000 nodes.',
  },
  xdpMode: {
    flag: 'xdp-mode',
    group: 'Node',
    form: oneOf(['auto', 'native', 'generic']),
    default: 'auto',
    description:
      'How programs are attached: native where the driver can and generic elsewhere (auto), or only the one that is named.',
  },
  nodeLabels: {
    flag: 'node-labels',
    group: 'Node',
    form: labels,
    default: '',
    repeatable: true,
    description:
      "This node's labels, which spec.nodeSelector of a policy selects by. With --kubernetes the Node has them.",
  },
  breakGlassFile: {
    flag: 'break-glass-file',
    group: 'Node',
    form: absolutePath('FILE'),
    default: '/run/portcullis/break-glass',
    description: 'As long as a file of this name exists, everything is detached and nothing is dropped.',
  },
  neverBlock: {
    flag: 'never-block',
    group: 'Node',
    form: prefixes,
    default: '',
    repeatable: true,
    description: 'Sources that are never dropped, beside those that the agent finds out itself.',
  },
  statusFile: {
    flag: 'status-file',
    group: 'Reporting',
    form: path('FILE'),
    description: 'JSON file that is rewritten with the status after changes, at most once a second.',
  },
  ...metricsSettingTable(9469),
  logLevel: {
    flag: 'log-level',
    group: 'Reporting',
    form: oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace']),
    default: 'info',
    description: 'The least severe lines that are logged. Scans and connections are logged at info.',
  },
  connectionEventsPerSecond: {
    flag: 'connection-events-per-second',
    group: 'Reporting',
    form: integer(0, 10_000_000),
    default: '50000',
    description: 'Connection events that each CPU may send to the agent; more are counted as lost.',
  },
  blockEventsPerSecond: {
    flag: 'block-events-per-second',
    group: 'Reporting',
    form: integer(1, 1_000_000),
    default: '5000',
    description: 'Block events that each CPU may send to the agent; more are counted as lost. No block is.',
  },
  ringBufferBytes: {
    flag: 'ring-buffer-bytes',
    group: 'Reporting',
    form: powerOfTwo(65_536, 268_435_456),
    default: '1048576',
    description: 'Size of the buffer that carries events from the kernel to the agent.',
  },
  maxFirstTargets: {
    flag: 'max-first-targets',
    group: 'Table sizes',
    form: integer(minDomains * guaranteedSourcesPerDomain, maxDomains * guaranteedSourcesPerDomain),
    default: '786432',
    description:
      'Sources with one target that may appear between two probes of a scanner without washing it out. Rounded up to 24 times a power of two; for each 24 of them, 3 sources with several targets can be followed. Each 24 take 2,048 bytes and 1,080 more for what the 3 have tried, at 16 distinct targets or fewer.',
  },
  maxBlocks: {
    flag: 'max-blocks',
    group: 'Table sizes',
    form: integer(64, 1_048_576),
    default: '65536',
    description: 'Sources blocked for scanning at once. When it is full, unproven blocks make room first.',
  },
  maxManualBlocks: {
    flag: 'max-manual-blocks',
    group: 'Table sizes',
    form: integer(16, 65_536),
    default: '4096',
    description: 'Blocks by hand at once, for each of IPv4 and IPv6.',
  },
  maxNeverBlock: {
    flag: 'max-never-block',
    group: 'Table sizes',
    form: integer(64, 65_536),
    default: '4096',
    description: 'Prefixes of the never-block set and connected IPv6 prefixes, for each of IPv4 and IPv6.',
  },
  maxOwnAddresses: {
    flag: 'max-own-addresses',
    group: 'Table sizes',
    form: integer(16, 65_536),
    default: '4096',
    description: "The host's own addresses.",
  },
  maxListEntries: {
    flag: 'max-list-entries',
    group: 'Table sizes',
    form: integer(64, 4_194_304),
    default: '262144',
    description:
      'Blocklist entries that hold on one interface, after overlapping lists were merged, for each of IPv4 and IPv6.',
  },
  maxAllowEntries: {
    flag: 'max-allow-entries',
    group: 'Table sizes',
    form: integer(16, 1_048_576),
    default: '65536',
    description: 'Entries of spec.allow that hold on one interface, for each of IPv4 and IPv6.',
  },
  maxOwners: {
    flag: 'max-owners',
    group: 'Table sizes',
    form: integer(16, 2048),
    default: '256',
    description: 'Policies and lists that hold on this node at once, those removed within the last hour included.',
  },
  concernCells: {
    flag: 'concern-cells',
    group: 'Table sizes',
    form: powerOfTwo(65_536, 67_108_864),
    default: '1048576',
    description:
      'Cells of the filter that spares most packets all look-ups, half a byte each, kept twice. More let it err less with many listed or blocked sources.',
  },
  maxExtensionHeaders: {
    flag: 'max-extension-headers',
    group: 'Limits',
    form: integer(1, 32),
    default: '8',
    description: 'IPv6 extension headers of one packet; a longer chain is dropped in Enforce and counted in Monitor.',
  },
};

export type SettingName = keyof RunSettings;
