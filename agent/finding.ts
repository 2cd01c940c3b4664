import { type ErrorCode, ErrorTable } from '../api/errors.ts';

/** Something a person should know about: shown in the log, the status file, `status` and as a metric. */
export interface Finding {
  /** Stable code out of the table in api/errors.ts. */
  readonly code: ErrorCode;
  readonly severity: 'error' | 'warning' | 'info';
  /** What happened, with the value at fault, in one sentence. */
  readonly message: string;
  /** What to do about it, in one sentence. */
  readonly remedy: string;
  /** The object it is about, such as `PortScanPolicy/web`. */
  readonly object?: string;
  /** The field of that object, such as `spec.entries[3].cidr`. */
  readonly field?: string;
  readonly interfaceName?: string;
}

/** A finding with the severity and remedy that the table of errors has for its code, unless `more` knows better. */
export const findingOf = (code: ErrorCode, message: string, more: Partial<Finding> = {}): Finding => ({
  code,
  severity: ErrorTable[code].severity,
  message,
  remedy: ErrorTable[code].remedy,
  ...more,
});
