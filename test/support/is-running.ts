import { readFileSync } from 'node:fs';

/** False for a process that has ended, whether or not somebody has taken note of that: in containers often nobody does. */
export function isRunning(pid: number | string): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch (error) {
    // Anything else, such as no file descriptor left, says nothing about that process, whose things may be removed next.
    return !['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '');
  }
}
