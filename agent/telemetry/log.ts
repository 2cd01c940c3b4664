import pino, { type Logger } from 'pino';
import type { Finding } from '../finding.ts';
import type { ConnectionLogLine } from './connections.ts';
import type { ScanLogLine } from './scans.ts';

export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace';

/** A reader that does not read must not make the agent grow: beyond this, lines are dropped and counted. */
export const maxBufferedBytes = 8 * 1024 * 1024;

export interface Log {
  readonly logger: Logger;
  /** Lines dropped because nobody read the output. */
  readonly dropped: () => number;
  /** Resolves when all lines given so far are written, in order, or when nobody has read them for two seconds. */
  readonly flush: () => Promise<void>;
  /** For a crash, when there is no waiting: a write under way may end after, so that the last lines swap places. */
  readonly flushSync: () => void;
}

/** Longer would hold up the end of the program for a reader that hangs. */
const flushTimeoutMs = 2000;

/** JSON lines to `fd`, by default standard output. Writing does not hold up the caller: await `flush` before the end. */
export function createLog(options: {
  readonly level: LogLevel;
  readonly fd?: number;
  /** Which program writes; default `agent`. */
  readonly component?: string;
}): Log {
  let dropped = 0;
  // minLength 1 writes each line at once as 0 does, but only with it does flush() wait.
  const destination = pino.destination({ fd: options.fd ?? 1, sync: false, minLength: 1, maxLength: maxBufferedBytes });
  destination.on('drop', () => {
    dropped++;
  });
  const logger = pino(
    {
      level: options.level,
      base: { component: options.component ?? 'agent' },
      timestamp: pino.stdTimeFunctions.isoTime,
      // Words instead of pino's numbers: a person and most log stores read them without a table.
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  return {
    logger,
    dropped: () => dropped,
    flush: () =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, flushTimeoutMs);
        destination.flush(() => {
          clearTimeout(timer);
          resolve();
        });
      }),
    flushSync: () => {
      try {
        destination.flushSync();
      } catch {
        // Not open yet or already closed: there is nothing that could be written, nor anybody to tell.
      }
    },
  };
}

/** Logs a finding at the level of its severity, its parts as fields. */
export function logFinding(logger: Logger, finding: Finding): void {
  const { message, severity, interfaceName, ...rest } = finding;
  const fields = { event: 'finding', ...rest, ...(interfaceName === undefined ? {} : { interface: interfaceName }) };
  if (severity === 'error') logger.error(fields, message);
  else if (severity === 'warning') logger.warn(fields, message);
  else logger.info(fields, message);
}

const messages: Readonly<Record<(ScanLogLine | ConnectionLogLine)['event'], string>> = {
  scan: 'scan detected',
  'scan-ended': 'block of a scanner ended',
  'scans-summarized': 'more scans than are logged one by one',
  connection: 'new connection',
  'connections-summarized': 'more new connections than are logged one by one',
};

/** Logs what ScanRecorder and ConnectionLog give. */
export function logTelemetry(logger: Logger, line: ScanLogLine | ConnectionLogLine): void {
  logger.info(line, messages[line.event]);
}
