import { sleep } from '../../kube/clock.ts';
import type { KubeObject } from '../../kube/objects.ts';
import { resources } from '../../kube/resources.ts';
import type { Controller, ControllerContext } from '../controller.ts';
import type { StoredNode } from '../stored/node.ts';
import { lastWriteMs, type StoredReport } from '../stored/report.ts';
import { ReportIndex } from './index.ts';
import type { Sighting } from './sighting.ts';
import type { TargetKey, TargetKind } from './tally.ts';

export type IndexListener = (name: string, effect: 'news' | 'counters') => void;

/** Feeds the index from the shared collections, and tells who asked what has changed in it. */
export class ReportFeed implements Controller {
  readonly name = 'reports';
  readonly index: ReportIndex;
  readonly #context: ControllerContext;
  readonly #listeners = new Map<TargetKind, IndexListener>();
  /** What the API server's clock is ahead of the monotonic one; undefined when nothing told. */
  #serverAheadMs: number | undefined;
  #unsubscribe: (() => void)[] = [];

  constructor(context: ControllerContext) {
    this.#context = context;
    this.index = new ReportIndex({
      staleAfterMs: context.settings.reportStaleAfterMs,
      onChange: (key, effect) => this.#tell(key, effect),
    });
  }

  listen(kind: TargetKind, listener: IndexListener): void {
    this.#listeners.set(kind, listener);
  }

  /** To be awaited before anybody asks the index: without nodes every policy would seem to select none. */
  async load(signal: AbortSignal): Promise<void> {
    const { shared, clock } = this.#context;
    this.#serverAheadMs = await this.#serverAhead(signal);
    signal.throwIfAborted();
    const nowMs = clock.nowMs();
    for (const node of shared.nodes.items.values()) this.index.setNode(node, this.#madeAtMs(node));
    for (const report of shared.reports.items.values()) this.#see(report, this.#ageOf(report, nowMs));
    this.#unsubscribe = [
      shared.nodes.subscribe((change) => {
        if (change.type === 'deleted') this.index.deleteNode(change.object.metadata.name);
        else this.index.setNode(change.object, clock.nowMs());
      }),
      shared.reports.subscribe((change) => {
        if (change.type === 'deleted') this.index.deleteReport(change.object.metadata.name);
        else this.#changed(change.object, change.previous);
      }),
    ];
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, settings } = this.#context;
    try {
      while (!signal.aborted) {
        await sleep(clock, Math.min(settings.reportStaleAfterMs / 20, maxSweepMs), signal);
        if (!signal.aborted) this.index.sweep(clock.nowMs());
      }
    } finally {
      for (const unsubscribe of this.#unsubscribe) unsubscribe();
    }
  }

  #changed(report: StoredReport, previous: StoredReport | undefined): void {
    this.#see(report, 0);
    // Also after a new leader has started, since that knows the reports that were there.
    const known = previous?.troubles.map(({ code, interfaceName }) => `${code} ${interfaceName ?? ''}`) ?? [];
    const node = this.#context.shared.nodes.items.get(report.metadata.name);
    if (node?.metadata.uid === undefined) return;
    for (const { code, message, interfaceName } of report.troubles) {
      if (known.includes(`${code} ${interfaceName ?? ''}`)) continue;
      this.#context.happened({
        type: 'Warning',
        reason: code,
        action: code === 'TableFull' ? 'Program' : 'Attach',
        note: message,
        regarding: referenceToNode(node),
      });
    }
    if (report.isDetached && previous?.isDetached === false) {
      this.#context.happened({
        type: 'Warning',
        reason: 'Detached',
        action: 'Detach',
        note: report.isUninstalled
          ? 'Portcullis is being uninstalled: nothing is guarded on this node.'
          : 'Break-glass is in force: nothing is guarded on this node.',
        regarding: referenceToNode(node),
      });
    }
  }

  #see(report: StoredReport, ageMs: number): void {
    const { clock } = this.#context;
    const nowMs = clock.nowMs();
    const sighting: Sighting = { report, atMs: nowMs, atWallMs: clock.wallMs(), ageMs };
    this.index.setReport(sighting, nowMs);
  }

  /** Both times are the API server's: of the write, and of now. No node's clock is asked, nor this machine's. */
  #ageOf({ writtenAtMs }: StoredReport, nowMs: number): number {
    if (writtenAtMs === undefined || this.#serverAheadMs === undefined) return 0;
    return Math.max(nowMs + this.#serverAheadMs - writtenAtMs, 0);
  }

  /** On the monotonic clock; undefined when that cannot be told, as for a node that was always there. */
  #madeAtMs({ metadata: { creationTimestamp } }: StoredNode): number | undefined {
    if (creationTimestamp === undefined || this.#serverAheadMs === undefined) return undefined;
    const madeMs = Date.parse(creationTimestamp);
    return Number.isNaN(madeMs) ? undefined : madeMs - this.#serverAheadMs;
  }

  /** The Lease was renewed a moment ago, and the server wrote down when. */
  async #serverAhead(signal: AbortSignal): Promise<number | undefined> {
    const { client, namespace, settings, clock, logger } = this.#context;
    try {
      const lease = await client.get<KubeObject>(resources.leases, settings.leaseName, { namespace, signal });
      const writtenMs = lastWriteMs(lease.metadata);
      if (writtenMs !== undefined) return writtenMs - clock.nowMs();
    } catch (error) {
      if (signal.aborted) return undefined;
      logger.warn({ err: error }, 'the Lease cannot be read: the age of reports is told from the newest of them');
    }
    const { reports } = this.#context.shared;
    const times = [...reports.items.values()].flatMap(({ writtenAtMs }) => writtenAtMs ?? []);
    return times.length === 0 ? undefined : times.reduce((a, b) => Math.max(a, b)) - clock.nowMs();
  }

  #tell(key: TargetKey, effect: 'news' | 'counters'): void {
    const slash = key.indexOf('/');
    this.#listeners.get(key.slice(0, slash) as TargetKind)?.(key.slice(slash + 1), effect);
  }
}

const maxSweepMs = 10_000;

const referenceToNode = (node: StoredNode) => ({
  apiVersion: 'v1',
  kind: 'Node',
  name: node.metadata.name,
  uid: node.metadata.uid!,
});
