import { Counter, type Registry } from 'prom-client';
import { applyStatus } from '../../kube/apply.ts';
import { isNotFound } from '../../kube/errors.ts';
import type { Change } from '../../kube/reflector.ts';
import type { Resource } from '../../kube/resources.ts';
import { sameJson } from '../../kube/same-json.ts';
import { type RunResult, WorkQueue } from '../../kube/work-queue.ts';
import type { Controller, ControllerContext } from '../controller.ts';
import { fieldManager } from '../controllers/field-manager.ts';
import { NotLeading } from '../leader-client.ts';
import type { ReportFeed } from '../reports/feed.ts';
import type { Target, TargetKind } from '../reports/tally.ts';
import type { TargetView } from '../reports/view.ts';
import type { Watched } from '../shared.ts';
import type { Stored } from '../stored/policy-object.ts';
import { Pacer } from './pacer.ts';

/** What differs between kinds. */
export interface StatusKind<S extends Stored<unknown, Status>, Status extends object> {
  /** Of the controller. */
  readonly name: string;
  readonly kind: TargetKind;
  readonly resource: Resource;
  readonly watched: Watched<S>;
  target(object: S): Target;
  /** Pure. `before`: what the status says now. `againAtMs`: when it will be another by itself, on the monotonic clock. */
  build(object: S, view: TargetView, before: Status): { readonly status: Status; readonly againAtMs?: number };
  /** What of a status is to be told soon; the rest are counters. */
  news(status: Status): unknown;
  /** Told after each write. */
  written?(object: S, before: Status, after: Status): void;
}

interface Memory<Status> {
  readonly uid: string;
  readonly pacer: Pacer;
  /** When it was written last; at the start when this leader took over, so that not all counters are written then. */
  lastMs: number;
  /** What was written and does not stand in the collection yet. */
  pending?: { readonly status: Status; readonly atMs: number };
  /** The last write, and what stood there before it. */
  last?: { readonly before: Status; readonly status: Status };
}

/**
 * Each write of a status sends the object's metadata, some 700 bytes, to every agent. Up to so many objects each is written once an
 * interval while news never ends; from there on all of them together stay at one write a second.
 */
const objectsAtFullRate = 10;
/** News that come together are told together. */
const settleMs = 200;
/** After which a status that is not what was written has been changed by somebody else. */
const echoMs = 5_000;

/** Writes the status of the objects of one kind, and nobody else does. */
export class StatusController<S extends Stored<unknown, Status>, Status extends object> implements Controller {
  readonly name: string;
  readonly #kind: StatusKind<S, Status>;
  readonly #context: ControllerContext;
  readonly #feed: ReportFeed;
  readonly #metrics: StatusMetrics;
  readonly #queue: WorkQueue;
  readonly #memories = new Map<string, Memory<Status>>();

  constructor(kind: StatusKind<S, Status>, context: ControllerContext, feed: ReportFeed, metrics: StatusMetrics) {
    this.name = kind.name;
    this.#kind = kind;
    this.#context = context;
    this.#feed = feed;
    this.#metrics = metrics;
    metrics.begin(kind.name);
    const { clock, random, queueMetrics } = context;
    this.#queue = new WorkQueue({ clock, random, baseDelayMs: 500, metrics: queueMetrics(kind.name) });
  }

  /** Something beside the object and the reports has changed; the target may be another because of it. */
  touch(name: string): void {
    const object = this.#kind.watched.items.get(name);
    if (object === undefined) return;
    this.#feed.index.setTarget(this.#kind.target(object), this.#context.clock.nowMs());
    this.#soon(name);
  }

  touchAll(): void {
    for (const name of this.#kind.watched.items.keys()) this.touch(name);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { settings, logger } = this.#context;
    const { watched, kind, name: controller } = this.#kind;
    this.#feed.listen(kind, (name, effect) => {
      if (effect === 'news') this.#soon(name);
      else this.#queue.addAfter(name, settings.statusIntervalMs);
    });
    const unsubscribe = watched.subscribe((change) => this.#changed(change));
    this.touchAll();
    try {
      await this.#queue.run(
        {
          workers: settings.workers,
          handle: (name, stop) => this.#handle(name, stop),
          onError: (name, error, { failures, inMs }) => {
            if (error instanceof NotLeading) return;
            this.#metrics.failed(controller);
            logger.warn({ controller, object: name, failures, inMs, err: error }, 'the status could not be written');
          },
        },
        signal,
      );
    } finally {
      unsubscribe();
    }
  }

  #changed(change: Change<S>): void {
    const { name } = change.object.metadata;
    if (change.type !== 'deleted') {
      this.touch(name);
      return;
    }
    this.#feed.index.deleteTarget(`${this.#kind.kind}/${name}`, this.#context.clock.nowMs());
    this.#memories.delete(name);
  }

  #soon(name: string): void {
    this.#queue.addAfter(name, Math.max(settleMs, this.#memories.get(name)?.pacer.waitMs() ?? 0));
  }

  async #handle(name: string, signal: AbortSignal): Promise<RunResult> {
    const { clock, settings } = this.#context;
    const { kind, watched } = this.#kind;
    const object = watched.items.get(name);
    const nowMs = clock.nowMs();
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) return undefined;
    const memory = this.#memoryOf(object, nowMs);
    // What may not be written yet need not be made either.
    const pauseMs = memory.pacer.waitMs();
    if (pauseMs > 0) return againAfter(pauseMs);
    const view = this.#feed.index.view(`${kind}/${name}`, nowMs);
    if (view === undefined || view.target.uid !== object.metadata.uid) return undefined;
    const before = this.#before(object, memory, nowMs);
    const { status, againAtMs } = this.#kind.build(object, view, before);
    const again = againAtMs === undefined ? undefined : Math.max(againAtMs - nowMs, 0) + endSlackMs;
    if (sameJson(before, status))
      return againAfter(memory.pending === undefined ? again : Math.min(again ?? echoMs, echoMs));
    const isNews = !sameJson(this.#kind.news(before), this.#kind.news(status)) && !isFutile(memory, before, status);
    const waitMs = isNews ? 0 : memory.lastMs + settings.countersIntervalMs - nowMs;
    if (waitMs > 0) return againAfter(again === undefined ? waitMs : Math.min(again, waitMs));
    await this.#write(object, memory, before, status, signal);
    // The watch tells of it in a moment. If it never does, somebody has to look.
    return againAfter(Math.min(again ?? echoMs, echoMs));
  }

  async #write(object: S, memory: Memory<Status>, before: Status, status: Status, signal: AbortSignal): Promise<void> {
    const { client, clock } = this.#context;
    const { name, uid } = object.metadata;
    memory.pacer.written();
    memory.lastMs = clock.nowMs();
    try {
      await applyStatus(client, this.#kind.resource, { name, uid, status }, { fieldManager, signal });
    } catch (error) {
      // It is gone: the watch says so in a moment.
      if (isNotFound(error)) return;
      throw error;
    }
    memory.pending = { status, atMs: clock.nowMs() };
    memory.last = { before, status };
    this.#metrics.wrote(this.#kind.name);
    this.#kind.written?.(object, before, status);
  }

  #memoryOf({ metadata: { name, uid } }: S, nowMs: number): Memory<Status> {
    const known = this.#memories.get(name);
    if (known?.uid === uid) return known;
    const { clock, settings } = this.#context;
    const pacer = new Pacer({
      intervalMs: settings.statusIntervalMs,
      stretch: () => this.#kind.watched.items.size / objectsAtFullRate,
      nowMs: () => clock.nowMs(),
    });
    const memory: Memory<Status> = { uid, pacer, lastMs: nowMs };
    this.#memories.set(name, memory);
    return memory;
  }

  /** What the status says, as far as is known: the collection lags behind one's own writes. */
  #before(object: S, memory: Memory<Status>, nowMs: number): Status {
    const { pending } = memory;
    if (pending === undefined) return object.status;
    if (nowMs - pending.atMs > echoMs || sameJson(pending.status, object.status)) {
      delete memory.pending;
      return object.status;
    }
    return pending.status;
  }
}

/** The same was written in the same place before, and it did not help: fields that another manager owns stay. */
function isFutile<Status>({ last }: Memory<Status>, before: Status, status: Status): boolean {
  return last !== undefined && sameJson(last.before, before) && sameJson(last.status, status);
}

/** Timers may come a little early. */
const endSlackMs = 100;

const againAfter = (ms: number | undefined): RunResult =>
  ms === undefined ? undefined : { againAfterMs: Math.max(ms, 1) };

/** Writes of all status controllers. */
export class StatusMetrics {
  readonly #writes: Counter<'controller' | 'result'>;

  constructor(registry: Registry) {
    this.#writes = new Counter({
      name: 'portcullis_operator_status_writes_total',
      help: 'Writes of the status of policies and lists.',
      labelNames: ['controller', 'result'],
      registers: [registry],
    });
  }

  /** Before anything was written: a series that begins at 0 lets rate() see its first step. */
  begin(controller: string): void {
    for (const result of ['ok', 'failed']) this.#writes.inc({ controller, result }, 0);
  }

  wrote(controller: string): void {
    this.#writes.inc({ controller, result: 'ok' });
  }

  failed(controller: string): void {
    this.#writes.inc({ controller, result: 'failed' });
  }
}
