import { setTimeout as sleep } from 'node:timers/promises';
import { BreakGlass } from './break-glass.ts';
import { Datapath } from './datapath/datapath.ts';
import { layoutVersion } from './datapath/layout.ts';
import { TrackedSources } from './datapath/tracked-sources.ts';
import type { DatapathView } from './datapath/view.ts';
import { datapathOptions } from './datapath-options.ts';
import { DueLoop } from './due-loop.ts';
import { EventReader } from './event-reader.ts';
import { ExceptionLifts } from './exception-lifts.ts';
import type { Finding } from './finding.ts';
import { healthOf } from './health.ts';
import type { HostSnapshot } from './host/snapshot.ts';
import { watchHost } from './host/watch.ts';
import { NodeView } from './node-view.ts';
import { openSupply, type PolicySupply } from './policy-supply.ts';
import { StatusFile } from './report/file.ts';
import { generationsOf } from './report/generations.ts';
import { buildNodeReport } from './report/node-report.ts';
import { buildStatus } from './report/status.ts';
import type { DesiredState } from './resolve/desired-state.ts';
import { earliest, restedAt } from './resolve/expiry.ts';
import { resolve } from './resolve/resolve.ts';
import type { RunSettings } from './settings.ts';
import type { PolicySnapshot } from './source/policy-source.ts';
import { startMetrics } from './start-metrics.ts';
import { restoreBlocks, saveableBlocks } from './state/blocks.ts';
import { orNothing } from './state/or-nothing.ts';
import { bootId, type SavedBlock, StateStore } from './state/state-store.ts';
import { ConnectionLog } from './telemetry/connections.ts';
import { FindingLog } from './telemetry/findings.ts';
import { type Log, logFinding, logTelemetry } from './telemetry/log.ts';
import { AgentMetrics, countBlocked } from './telemetry/metrics.ts';
import { ScanRecorder } from './telemetry/scans.ts';
import { TableFindings } from './telemetry/table-findings.ts';
import { removeTraces } from './uninstall.ts';
import { version } from './version.ts';

const SECOND_MS = 1000;
/** Reading a full block table takes 50 ms: often enough for people, rarely enough for the node. */
const BLOCKS_EVERY_SECONDS = 2;
const SAVE_EVERY_SECONDS = 5;
const COLLECT_EVERY_SECONDS = 10;
/** A wall clock that moved by more against the monotonic one was set by somebody. */
const CLOCK_STEP_MS = 1000;
/** After a failed apply; the kernel holds its last good state meanwhile. */
const RETRY_MS = 5000;
/** An interface that refused a program, or carries somebody else's, is tried again this much later. */
const REATTACH_MS = 30_000;
const REFUSALS: readonly string[] = ['AttachFailed', 'ForeignXdpProgram', 'BpfLoadFailed'];

interface LastApply {
  readonly atMs: number;
  readonly durationMs: number;
  readonly error?: string;
}

const emptyView: DatapathView = { interfaces: [], counters: [], losses: {}, tables: [] };
const nothingDesired: DesiredState = {
  interfaces: [],
  neverBlock: [],
  onLink: [],
  ownAddresses: [],
  owners: [],
  exceptions: [],
  findings: [],
};

/** The agent on one node: wires source, host, datapath, telemetry and reports together, and decides nothing itself. */
export class Agent {
  readonly #settings: RunSettings;
  readonly #log: Log;
  readonly #datapath: Datapath;
  readonly #supply: PolicySupply;
  readonly #breakGlass: BreakGlass;
  readonly #applying = new DueLoop();
  readonly #lifts: ExceptionLifts;
  readonly #state: StateStore | undefined;
  #blocksToRestore: readonly SavedBlock[];
  readonly #startedAtMs = Date.now();

  #policies: PolicySnapshot | undefined;
  /** What `#desired` was made of. */
  #resolved: PolicySnapshot | undefined;
  #desired: DesiredState = nothingDesired;
  #lastApply: LastApply | undefined;
  #applied = false;
  #applyFindings: readonly Finding[] = [];
  #tableFindings: readonly Finding[] = [];
  #hostFinding: Finding | undefined;
  /** An earlier agent's programs run, and what it was told is not known: until every file could be read once, they stay. */
  #isPastUnknown: boolean;
  #blockToldAtMs = Number.NEGATIVE_INFINITY;
  #hasUntoldBlock = false;

  readonly #scans: ScanRecorder;
  readonly #connections: ConnectionLog;
  readonly #findingLog: FindingLog;
  readonly #tableWatch = new TableFindings();
  readonly #tracked: TrackedSources;
  readonly #view: NodeView;
  readonly #metrics: AgentMetrics;

  private constructor(parts: {
    settings: RunSettings;
    log: Log;
    datapath: Datapath;
    supply: PolicySupply;
    metrics: AgentMetrics;
    state: StateStore | undefined;
    blocks: readonly SavedBlock[];
    isPastUnknown: boolean;
  }) {
    this.#settings = parts.settings;
    this.#log = parts.log;
    this.#datapath = parts.datapath;
    this.#supply = parts.supply;
    this.#metrics = parts.metrics;
    this.#state = parts.state;
    this.#blocksToRestore = parts.blocks;
    this.#isPastUnknown = parts.isPastUnknown;
    this.#lifts = new ExceptionLifts((exceptions) => this.#datapath.liftBlocks(exceptions));
    const { logger } = parts.log;
    this.#scans = new ScanRecorder((line) => logTelemetry(logger, line), { startedAtMs: this.#startedAtMs });
    this.#connections = new ConnectionLog((line) => logTelemetry(logger, line));
    this.#findingLog = new FindingLog(
      (finding) => logFinding(logger, finding),
      (finding) =>
        logger.info(
          { event: 'finding-gone', code: finding.code, object: finding.object, interface: finding.interfaceName },
          `no longer: ${finding.message}`,
        ),
    );
    this.#tracked = new TrackedSources(this.#datapath.tables);
    this.#view = new NodeView(this.#datapath, this.#tracked);
    this.#breakGlass = new BreakGlass(parts.settings.breakGlassFile, () => this.#onBreakGlass());
    if (this.#breakGlass.reason !== undefined) this.#onBreakGlass();
  }

  /** @throws PortcullisError for settings, kernels and pin paths that cannot work; see Datapath.open */
  static async open(settings: RunSettings, log: Log): Promise<Agent> {
    const state = settings.state === undefined ? undefined : new StateStore(settings.state);
    await state?.prepare();
    const kept = await orNothing(state?.loadBlocks(Date.now()), log);
    const datapath = await Datapath.open(datapathOptions(settings), { mayReplace: kept?.ofThisBoot === true });
    const fresh = !datapath.adopted;
    const { supersedes } = datapath;
    log.logger.info(
      {
        event: 'datapath-opened',
        adopted: datapath.adopted,
        interfaces: datapath.attachedInterfaces().length,
        ...(supersedes !== undefined && { replacesLayout: supersedes }),
      },
      fresh ? 'tables made' : supersedes === undefined ? 'tables and programs adopted' : 'programs adopted',
    );
    let agent: Agent | undefined;
    const read = () => {
      if (agent === undefined) throw new Error('the agent is not there yet');
      return agent.#readMetrics();
    };
    const metrics = new AgentMetrics({ version, layoutVersion, read });
    const supply = await openSupply({ settings, state, log, registry: metrics.registry });
    // Tables of this boot hold theirs, and where there are none any more, somebody detached on purpose.
    const isMissing = kept?.ofThisBoot ? supersedes !== undefined : fresh;
    const blocks = kept !== undefined && isMissing ? kept.blocks : [];
    const isPastUnknown = datapath.adopted && !supply.hasLastGood;
    agent = new Agent({ settings, log, datapath, supply, metrics, state, blocks, isPastUnknown });
    return agent;
  }

  /** Until `signal` aborts; then everything is written down and let go, and nothing detached. `removed`: of a node that is to be left. */
  async run(signal: AbortSignal): Promise<'kept' | 'removed'> {
    const end = new AbortController();
    const ending = AbortSignal.any([signal, end.signal]);
    const statusFile =
      this.#settings.statusFile === undefined
        ? undefined
        : new StatusFile(this.#settings.statusFile, (error) => this.#complain('status-file', error));
    const { metricsAddress } = this.#settings;
    const server = metricsAddress === null ? undefined : await this.#startMetrics(metricsAddress, ending);
    const events = new EventReader(this.#datapath, {
      scans: this.#scans,
      connections: this.#connections,
      interfaceName: (ifindex) => this.#view.interfaceName(ifindex),
      onBlock: () => this.#onBlock(),
    });
    const loops = [
      this.#supply.run(ending, (snapshot) => {
        this.#policies = snapshot;
        if (snapshot.cluster !== undefined) this.#breakGlass.setCluster(snapshot.cluster);
        this.#applying.request();
      }),
      this.#breakGlass.run(ending),
      watchHost(ending, {
        onSnapshot: (host) => {
          this.#view.host = host;
          this.#hostFinding = undefined;
          this.#applying.request();
        },
        onFailure: (error) => this.#complain('host', error),
      }),
      this.#applying.run(ending, () => this.#applyNewest()),
      events.run(ending),
      this.#everySecond(ending, events, statusFile),
      ...(server ? [server.closed] : []),
    ];
    try {
      // The first loop that fails ends the others: half an agent would look healthy.
      await Promise.all(loops);
    } finally {
      end.abort();
      await Promise.allSettled(loops);
      this.#scans.flush();
      this.#connections.flush();
      const isLeft = signal.aborted && this.#breakGlass.reason === 'Uninstall';
      if (!isLeft) await this.#save();
      if (statusFile && !isLeft) {
        const done = AbortSignal.abort();
        statusFile.offer(() => this.#status());
        await statusFile.run(done);
      }
      this.#datapath.close();
      if (isLeft) await removeTraces(this.#settings, this.#state);
    }
    return this.#breakGlass.reason === 'Uninstall' ? 'removed' : 'kept';
  }

  /** Of the newest that is known: what the source gave, what the host looks like, and whether anything is to be attached. */
  async #applyNewest(): Promise<number | undefined> {
    if (!this.#heedBreakGlass()) return Date.now() + SECOND_MS;
    const { host } = this.#view;
    return this.#policies && host ? await this.#applyOnce(this.#policies, host) : undefined;
  }

  /** Returns when to apply again by itself. */
  async #applyOnce(policies: PolicySnapshot, host: HostSnapshot): Promise<number | undefined> {
    const atMs = Date.now();
    const startedMs = performance.now();
    try {
      const desired = resolve({
        policies: policies.portScanPolicies,
        lists: policies.ipBlocklists,
        exceptions: policies.sourceExceptions,
        host,
        nodeLabels: policies.cluster?.nodeLabels ?? this.#settings.nodeLabels,
        ...(policies.cluster && { cluster: policies.cluster }),
        neverBlock: this.#settings.neverBlock,
        nowMs: atMs,
      });
      if (this.#breakGlass.reason !== undefined) {
        this.#desired = desired;
        this.#resolved = policies;
        this.#tellFindings();
        await this.#savePolicies();
        this.#offerReport();
        return desired.nextChangeAtMs;
      }
      if (policies.findings.every(({ severity }) => severity !== 'error')) this.#isPastUnknown = false;
      const { findings } = await this.#datapath.apply(desired, {
        prepare: () => this.#restoreBlocks(),
        keepOthers: this.#isPastUnknown,
      });
      const durationMs = performance.now() - startedMs;
      this.#desired = desired;
      this.#resolved = policies;
      this.#applyFindings = findings;
      this.#lastApply = { atMs, durationMs };
      this.#metrics.observeApply({ ok: true, durationMs, atMs });
      if (!this.#applied)
        this.#log.logger.info(
          {
            event: 'enforcing',
            interfaces: this.#datapath.attachedInterfaces().length,
            durationMs: Math.round(durationMs),
          },
          'policies are in force',
        );
      else this.#log.logger.debug({ event: 'applied', durationMs: Math.round(durationMs) }, 'policies applied');
      this.#applied = true;
      const liftAtMs = await this.#liftBlocks();
      this.#tellFindings();
      this.#offerReport();
      await this.#savePolicies();
      const reattachAtMs = findings.some(({ code }) => REFUSALS.includes(code)) ? atMs + REATTACH_MS : undefined;
      return earliest([restedAt(desired.nextChangeAtMs, Date.now(), durationMs), reattachAtMs, liftAtMs]);
    } catch (error) {
      const durationMs = performance.now() - startedMs;
      this.#lastApply = { atMs, durationMs, error: messageOf(error) };
      this.#metrics.observeApply({ ok: false, durationMs, atMs });
      this.#complain('apply', error);
      this.#offerReport();
      return Date.now() + RETRY_MS;
    }
  }

  #onBreakGlass(): void {
    const { reason } = this.#breakGlass;
    const { logger } = this.#log;
    if (reason === undefined) logger.warn({ event: 'break-glass-over' }, 'break-glass is over: attaching again');
    else logger.warn({ event: 'break-glass', reason }, 'break-glass: detaching everything');
    this.#applying.request();
  }

  /** Called between two applies only, so that none attaches again what is detached here. False: it is to be tried again. */
  #heedBreakGlass(): boolean {
    if (this.#breakGlass.reason === undefined) return true;
    try {
      const interfaces = this.#datapath.detachAll();
      if (interfaces > 0) this.#log.logger.warn({ event: 'detached', interfaces }, 'everything is detached');
      return true;
    } catch (error) {
      this.#complain('break-glass', error);
      return false;
    } finally {
      this.#tellFindings();
      this.#offerReport();
    }
  }

  /** Returns when it is to be done once more. */
  async #liftBlocks(): Promise<number | undefined> {
    try {
      const { blocks = [], forgotten = 0, againInMs } = await this.#lifts.after(this.#desired.exceptions);
      if (blocks.length + forgotten > 0) {
        this.#view.forgetBlocks();
        const fields = { event: 'blocks-lifted', blocks: blocks.length, forgotten };
        this.#log.logger.info(fields, 'blocks were lifted by source exceptions');
      }
      return againInMs === undefined ? undefined : Date.now() + againInMs;
    } catch (error) {
      this.#complain('lift', error);
      return Date.now() + RETRY_MS;
    }
  }

  /** A block is news for the cluster; a flood of them is told once a second. */
  #onBlock(): void {
    this.#hasUntoldBlock = true;
    if (performance.now() - this.#blockToldAtMs >= SECOND_MS) this.#tellBlock();
  }

  #tellBlock(): void {
    this.#hasUntoldBlock = false;
    this.#blockToldAtMs = performance.now();
    this.#view.forgetBlocks();
    this.#offerReport();
  }

  /** Once, between the tables and the first attachment, so that no packet comes between. */
  #restoreBlocks(): void {
    const nowMs = Date.now();
    const blocks = this.#blocksToRestore.filter(({ untilMs }) => untilMs > nowMs);
    // Policies that are not known yet may have more of them.
    this.#blocksToRestore = this.#isPastUnknown ? blocks : [];
    if (blocks.length === 0) return;
    const restored = restoreBlocks(blocks, this.#datapath);
    this.#datapath.rebuildConcern();
    this.#datapath.concern.manualEntries = this.#datapath.manual.all().length;
    this.#view.forgetBlocks();
    this.#log.logger.info(
      { event: 'blocks-restored', restored, saved: blocks.length },
      'blocks that were saved are in force again',
    );
  }

  async #everySecond(signal: AbortSignal, events: EventReader, statusFile: StatusFile | undefined): Promise<void> {
    const writing = statusFile?.run(signal);
    let driftMs = Date.now() - performance.now();
    for (let second = 1; !signal.aborted; second++) {
      await sleep(SECOND_MS, undefined, { signal }).catch(() => {});
      if (signal.aborted) break;
      try {
        const nowMs = Date.now();
        const drift = nowMs - performance.now();
        if (Math.abs(drift - driftMs) > CLOCK_STEP_MS) {
          this.#log.logger.warn({ event: 'clock-step', byMs: Math.round(drift - driftMs) }, 'the wall clock was set');
          this.#datapath.outdateDeadlines();
          this.#applying.request();
        }
        driftMs = drift;
        events.flush();
        this.#connections.tick(nowMs);
        this.#tracked.step(this.#datapath.clock.now(), this.#datapath.windowTicks);
        if (second % BLOCKS_EVERY_SECONDS === 0) {
          this.#scans.onBlocks(this.#view.blocks(), nowMs);
          this.#tableFindings = this.#tableWatch.update(this.#view.datapath(), nowMs);
          this.#tellFindings();
          statusFile?.offer(() => this.#status());
          this.#offerReport();
        } else if (this.#hasUntoldBlock) this.#tellBlock();
        if (second % SAVE_EVERY_SECONDS === 0) await this.#saveBlocks();
        if (second % COLLECT_EVERY_SECONDS === 0) await this.#datapath.collect();
      } catch (error) {
        this.#complain('housekeeping', error);
      }
    }
    await writing;
  }

  #findings(): Finding[] {
    return [
      ...(this.#policies?.findings ?? []),
      ...this.#desired.findings,
      ...this.#applyFindings,
      ...this.#tableFindings,
      ...(this.#hostFinding ? [this.#hostFinding] : []),
      ...this.#supply.findings(),
      ...(this.#breakGlass.finding ? [this.#breakGlass.finding] : []),
    ];
  }

  #tellFindings(): void {
    this.#findingLog.update(this.#findings());
  }

  #readMetrics() {
    return {
      view: this.#view.datapath(),
      blockedByPolicy: countBlocked(this.#view.blocks(), Date.now()),
      findings: this.#findings(),
      isDetached: this.#breakGlass.reason !== undefined,
      policyErrors: (this.#policies?.findings ?? []).filter(isPolicyError).length,
      logLinesSuppressed: {
        connection: this.#connections.suppressed,
        scan: this.#scans.suppressed,
        output: this.#log.dropped(),
      },
    };
  }

  #status() {
    return buildStatus({ ...this.#reported(), generations: generationsOf(this.#policies) });
  }

  /** What the status file and the NodeReport are both made of. */
  #reported() {
    return {
      version,
      startedAtMs: this.#startedAtMs,
      nowMs: Date.now(),
      ...(this.#lastApply && { lastApply: this.#lastApply }),
      desired: this.#desired,
      view: this.#applied ? this.#view.datapath() : emptyView,
      blocks: this.#view.blocks(),
      findings: this.#findings(),
    };
  }

  /** Never before something was applied, or everything detached. */
  #offerReport(): void {
    const { reason } = this.#breakGlass;
    if (this.#lastApply === undefined && reason === undefined) return;
    this.#supply.offerReport?.(({ name }) => {
      const cluster = this.#resolved?.cluster;
      return buildNodeReport({
        ...this.#reported(),
        nodeName: name,
        ...(cluster?.nodeUid !== undefined && { nodeUid: cluster.nodeUid }),
        layoutVersion,
        bootId: bootId(),
        refused: this.#policies?.cluster?.refused ?? [],
        generations: generationsOf(this.#resolved),
        wantedGenerations: generationsOf(this.#policies),
        prefixSets: cluster?.prefixSets ?? new Map(),
        ...(this.#breakGlass.reason !== undefined && { breakGlass: this.#breakGlass.reason }),
        links: this.#view.host?.links ?? [],
      });
    });
  }

  #startMetrics(address: { host: string; port: number }, signal: AbortSignal) {
    return startMetrics({
      address,
      tlsFolder: this.#settings.metricsTlsFolder,
      metrics: this.#metrics,
      scrapeAccess: this.#supply.scrapeAccess,
      // A wrong setting is told where somebody sets an agent up, and not at the cost of a node that is to be guarded again.
      mayRetry: this.#settings.kubernetes || this.#supply.hasLastGood || this.#datapath.attachedInterfaces().length > 0,
      health: () =>
        healthOf({
          // Who is told to attach nothing does what he is told.
          applied: this.#applied || this.#breakGlass.reason !== undefined,
          waitsFor: this.#supply.waitsFor,
          applyError: this.#lastApply?.error,
        }),
      signal,
      logger: this.#log.logger,
      onError: (error) => this.#complain('metrics', error),
    });
  }

  async #save(): Promise<void> {
    await this.#savePolicies();
    await this.#saveBlocks();
  }

  async #savePolicies(): Promise<void> {
    // What stands there says that something is missing, which the next start has to know too.
    if (this.#isPastUnknown) return;
    await this.#supply.save().catch((error: unknown) => this.#complain('state', error));
  }

  async #saveBlocks(): Promise<void> {
    // The tables may lack what is still to be restored, before the first apply and while they have not taken over.
    if (!this.#applied || this.#datapath.supersedes !== undefined) return;
    await this.#state
      ?.saveBlocks(saveableBlocks(this.#datapath))
      .catch((error: unknown) => this.#complain('state', error));
  }

  #complain(what: string, error: unknown): void {
    this.#log.logger.error({ event: 'failed', what, err: error }, `${what}: ${messageOf(error)}`);
  }
}

/** That this node has no Node is nobody's policy. */
const isPolicyError = ({ code, severity }: Finding): boolean => severity === 'error' && code !== 'NodeNotFound';
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
