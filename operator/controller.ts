import type { Registry } from 'prom-client';
import type { KubeClient } from '../kube/client.ts';
import type { Clock } from '../kube/clock.ts';
import type { WorkQueueObserver } from '../kube/work-queue.ts';
import type { OperatorSettings } from './settings-table.ts';
import type { Shared } from './shared.ts';

/** One loop of the leader: looks at some kinds and writes some. */
export interface Controller {
  /** In logs and metrics, such as `port-scan-policy`. */
  readonly name: string;
  /**
   * Called once, when this replica leads and every collection of Shared that is needed has synced: what `items` hold by then
   * must be looked at, since only later changes are told. Resolves when nothing of it runs any more after `signal` has
   * aborted. A rejection ends the process, so that another replica takes over: what may fail is retried inside.
   */
  run(signal: AbortSignal): Promise<void>;
}

/** Lines as pino takes them. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Something that happened to an object, to be shown by `kubectl describe`; equal ones become one Event with a count. */
export interface Happening {
  readonly type: 'Normal' | 'Warning';
  /** One CamelCase word, such as ScanBlocked. */
  readonly reason: string;
  /** What was done, in one CamelCase word. */
  readonly action: string;
  /** For people, at most 1,024 bytes; of equal ones the first is shown. */
  readonly note: string;
  readonly regarding: {
    readonly apiVersion: string;
    readonly kind: string;
    readonly name: string;
    readonly uid: string;
  };
}

/** What a controller is made of; time and chance are passed in. */
export interface ControllerContext {
  /** Limited to so many requests a second for all controllers together. */
  readonly client: KubeClient;
  readonly shared: Shared;
  readonly settings: OperatorSettings;
  /** Where the operator runs: its ConfigMaps are the ones that lists refer to. */
  readonly namespace: string;
  readonly clock: Clock;
  /** 0 to below 1. */
  readonly random: () => number;
  readonly logger: Logger;
  /** For metrics of the controller's own; a name may be registered once. */
  readonly registry: Registry;
  /** Metrics of a work queue. */
  readonly queueMetrics: (queue: string) => WorkQueueObserver;
  /** Never throws, never waits. */
  readonly happened: (happening: Happening) => void;
}
