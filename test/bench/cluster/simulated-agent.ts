import { Registry } from 'prom-client';
import { openCluster } from '../../../agent/cluster-supply.ts';
import type { BlockRecord, DatapathView } from '../../../agent/datapath/view.ts';
import type { HostSnapshot } from '../../../agent/host/snapshot.ts';
import type { PolicySupply } from '../../../agent/policy-supply.ts';
import { buildNodeReport } from '../../../agent/report/node-report.ts';
import type { DesiredState } from '../../../agent/resolve/desired-state.ts';
import { resolve } from '../../../agent/resolve/resolve.ts';
import { parseCommandLine } from '../../../agent/settings.ts';
import type { PolicySnapshot } from '../../../agent/source/policy-source.ts';
import type { Log } from '../../../agent/telemetry/log.ts';
import { interfaceOf } from './policies.ts';

export interface SimulatedAgentOptions {
  readonly nodeName: string;
  /** Distinct for each agent: its address and the sources that scan it are made of it. */
  readonly index: number;
  readonly kubeconfig: string;
  /** Interfaces of the node, each governed by a policy of its own. */
  readonly interfaces: number;
  readonly log: Log;
  /** Told of each snapshot, on `process.hrtime`: which policies are known in which generation. */
  readonly onSnapshot: (atMs: number, generations: ReadonlyMap<string, number>) => void;
}

/** As the agent's own: block tables are read every two seconds, and each time a report is offered. */
const lookEveryMs = 2000;
const blockMs = 600_000;
const portsOfScan = [443, 22, 80, 3306, 5432, 6379, 8080, 8443, 9200, 25, 110, 143, 993, 3389, 21];

/**
 * The agent without its kernel: its real supply (client, watches, reporter), resolve() and report over a host and a datapath
 * that are made up. Everything that is asked for is at once in force.
 */
export class SimulatedAgent {
  readonly nodeName: string;
  readonly #options: SimulatedAgentOptions;
  readonly #supply: PolicySupply;
  readonly #registry: Registry;
  readonly #host: HostSnapshot;
  readonly #startedAtMs = Date.now();
  #policies: PolicySnapshot | undefined;
  #desired: DesiredState | undefined;
  #appliedAtMs = 0;
  #blocks: BlockRecord[] = [];
  #scans = 0;

  private constructor(options: SimulatedAgentOptions, supply: PolicySupply, registry: Registry) {
    this.nodeName = options.nodeName;
    this.#options = options;
    this.#supply = supply;
    this.#registry = registry;
    this.#host = hostOf(options);
  }

  static async open(options: SimulatedAgentOptions): Promise<SimulatedAgent> {
    const { nodeName, kubeconfig, log } = options;
    const command = parseCommandLine(['run', '--kubernetes', '--node-name', nodeName, '--kubeconfig', kubeconfig], {});
    if (command.name !== 'run') throw new Error('no settings');
    const registry = new Registry();
    const supply = await openCluster({ settings: command.settings, state: undefined, log, registry });
    return new SimulatedAgent(options, supply, registry);
  }

  async run(signal: AbortSignal): Promise<void> {
    const timer = setInterval(() => this.#look(), lookEveryMs);
    try {
      await this.#supply.run(signal, (snapshot) => this.#apply(snapshot));
    } finally {
      clearInterval(timer);
    }
  }

  /** A source that was never seen scans the node and is blocked, by one policy after the other. */
  scan(): void {
    const number = this.#scans++;
    const policy = this.#desired?.interfaces[number % this.#options.interfaces];
    if (policy?.policy === undefined) return;
    const nowMs = Date.now();
    this.#blocks.push({
      source: `198.${18 + (this.#options.index & 1)}.${(number >> 8) & 255}.${number & 255}`,
      by: { kind: 'PortScanPolicy', name: policy.policy.name },
      state: 'blocked',
      proven: true,
      probes: portsOfScan.length,
      ports: portsOfScan,
      interfaceName: policy.name,
      sinceMs: nowMs,
      untilMs: nowMs + blockMs,
      packetsDropped: 0,
    });
    this.#offer();
  }

  /** Attempts to write its report, by what came of them. */
  async reportWrites(): Promise<Readonly<Record<string, number>>> {
    const metric = await this.#registry.getSingleMetric('portcullis_report_writes_total')?.get();
    return Object.fromEntries((metric?.values ?? []).map(({ labels, value }) => [String(labels.result), value]));
  }

  findings(): readonly string[] {
    return this.#supply.findings().map(({ code, message }) => `${code}: ${message}`);
  }

  #look(): void {
    const nowMs = Date.now();
    this.#blocks = this.#blocks
      .filter(({ untilMs }) => untilMs > nowMs)
      .map((block) => ({ ...block, packetsDropped: block.packetsDropped + 3 }));
    this.#offer();
  }

  #apply(policies: PolicySnapshot): void {
    const generations = generationsOf(policies);
    this.#options.onSnapshot(Number(process.hrtime.bigint()) / 1e6, generations);
    const { cluster } = policies;
    this.#policies = policies;
    this.#desired = resolve({
      policies: policies.portScanPolicies,
      lists: policies.ipBlocklists,
      exceptions: policies.sourceExceptions,
      host: this.#host,
      nodeLabels: cluster?.nodeLabels ?? {},
      ...(cluster && { cluster }),
      neverBlock: [],
      nowMs: Date.now(),
    });
    this.#appliedAtMs = Date.now();
    this.#offer();
  }

  #offer(): void {
    if (this.#desired === undefined) return;
    this.#supply.offerReport?.(({ name }) => this.#report(name));
  }

  #report(nodeName: string) {
    const { cluster } = this.#policies!;
    const generations = generationsOf(this.#policies!);
    const { nodeUid, prefixSets = new Map(), refused = [] } = cluster ?? {};
    return buildNodeReport({
      nodeName,
      ...(nodeUid !== undefined && { nodeUid }),
      version: '0.0.0',
      layoutVersion: 1,
      bootId: '00000000-0000-4000-8000-000000000000',
      startedAtMs: this.#startedAtMs,
      nowMs: Date.now(),
      lastApply: { atMs: this.#appliedAtMs, durationMs: 5 },
      desired: this.#desired!,
      view: this.#view(),
      blocks: this.#blocks,
      findings: [...this.#policies!.findings, ...this.#desired!.findings, ...this.#supply.findings()],
      refused,
      generations,
      wantedGenerations: generations,
      prefixSets,
      links: this.#host.links,
    });
  }

  /** Counters that never stand still, as on a node in the Internet. */
  #view(): DatapathView {
    const { interfaces } = this.#desired!;
    const seconds = Math.floor((Date.now() - this.#startedAtMs) / 1000);
    return {
      interfaces: interfaces.map(({ ifindex, name, policy }) => ({
        ifindex,
        name,
        mode: 'native' as const,
        programId: 100 + ifindex,
        verifiedInstructions: 50_000,
        ...(policy && { policy: policy.name }),
      })),
      counters: interfaces.flatMap(({ policy }) =>
        policy === undefined
          ? []
          : [
              {
                ownerKind: 'PortScanPolicy' as const,
                ownerName: policy.name,
                verdict: 'drop' as const,
                reason: 'scan-blocked',
                packets: seconds * 7,
              },
            ],
      ),
      losses: {},
      tables: tableCapacities.map(([table, capacity]) => ({ table, entries: Math.min(seconds, capacity), capacity })),
    };
  }
}

const tableCapacities: readonly (readonly [string, number])[] = [
  ['never-block', 16_384],
  ['own-addresses', 4096],
  ['blocks', 65_536],
  ['manual-blocks', 1024],
  ['list-entries', 131_072],
  ['allow-entries', 16_384],
  ['first-targets', 1_048_576],
  ['sources', 131_072],
  ['owners', 1024],
];

function hostOf({ index, interfaces }: SimulatedAgentOptions): HostSnapshot {
  const address = `100.${64 + (index >> 8)}.${index & 255}.10`;
  const gateway = `100.${64 + (index >> 8)}.${index & 255}.1`;
  const numbers = Array.from({ length: interfaces }, (_, number) => number);
  return {
    links: numbers.map((number) => ({ ifindex: number + 2, name: interfaceOf(number), type: 1, up: true, mtu: 1500 })),
    addresses: [{ ifindex: 2, address, prefixLength: 24 }],
    routes: [{ family: 4, destination: '0.0.0.0/0', ifindex: 2, gateway, table: 254, metric: 100 }],
    resolvers: [gateway],
  };
}

const generationsOf = (policies: PolicySnapshot): Map<string, number> =>
  new Map(
    [...policies.portScanPolicies, ...policies.ipBlocklists].map(({ kind, metadata }) => [
      `${kind}/${metadata.name}`,
      metadata.generation ?? 0,
    ]),
  );
