import type { ConnectionEvent } from '../datapath/view.ts';
import { LineBudget, type Overflow } from './line-budget.ts';

/** One new connection, as it is logged. */
export interface ConnectionLine {
  readonly event: 'connection';
  readonly policy: string;
  readonly source: string;
  readonly sourcePort: number;
  readonly target: string;
  readonly targetPort: number;
  readonly interface: string;
  readonly reason: string;
  /** When the packet was seen, RFC 3339. */
  readonly at: string;
}

/** What stands for all connections of one second beyond the budget. */
export interface ConnectionSummaryLine {
  readonly event: 'connections-summarized';
  /** Start of that second, RFC 3339. */
  readonly from: string;
  readonly connections: number;
  readonly byPolicy: Readonly<Record<string, number>>;
}

export type ConnectionLogLine = ConnectionLine | ConnectionSummaryLine;

/** Beyond this a log is no longer read line by line, and writing it costs more than the datapath does. */
export const connectionLinesPerSecond = 1000;

/** A line for each new connection, and one summary a second of those beyond the budget. Holds no connection. */
export class ConnectionLog {
  readonly #emit: (line: ConnectionLogLine) => void;
  readonly #budget: LineBudget;

  constructor(emit: (line: ConnectionLogLine) => void, linesPerSecond = connectionLinesPerSecond) {
    this.#emit = emit;
    this.#budget = new LineBudget(linesPerSecond, (overflow) => emit(summary(overflow)));
  }

  /** Connections that were counted in a summary instead of logged, since the start. */
  get suppressed(): number {
    return this.#budget.suppressed;
  }

  /** Whether `add` would write a line now; if not, `count` does the same for less work than decoding the event. */
  hasRoom(nowMs: number): boolean {
    return this.#budget.hasRoom(nowMs);
  }

  add(event: ConnectionEvent, nowMs: number): void {
    if (!this.#budget.allow(nowMs, event.policy)) return;
    this.#emit({
      event: 'connection',
      policy: event.policy,
      source: event.source,
      sourcePort: event.sourcePort,
      target: event.target,
      targetPort: event.targetPort,
      interface: event.interfaceName,
      reason: event.reason,
      at: new Date(event.atMs).toISOString(),
    });
  }

  count(policy: string, connections: number, nowMs: number): void {
    this.#budget.count(nowMs, policy, connections);
  }

  /** To be called about once a second. */
  tick(nowMs: number): void {
    this.#budget.tick(nowMs);
  }

  flush(): void {
    this.#budget.flush();
  }
}

function summary(overflow: Overflow): ConnectionSummaryLine {
  return {
    event: 'connections-summarized',
    from: new Date(overflow.fromMs).toISOString(),
    connections: overflow.suppressed,
    byPolicy: overflow.byKey,
  };
}
