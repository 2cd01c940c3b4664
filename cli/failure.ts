import { PortcullisError } from '../api/errors.ts';

/** Writes what ended a program to standard error; returns the exit code: 2 for a wrong command line, 1 for the rest. */
export function tellFailure(program: string, error: unknown): number {
  if (error instanceof PortcullisError) {
    process.stderr.write(`${program}: ${error.code}: ${error.message}\n  ${error.remedy}\n`);
    return error.code === 'BadSetting' || error.code === 'UnknownSetting' ? 2 : 1;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`${program}: ${text}\n`);
  return 1;
}
