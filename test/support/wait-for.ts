import { setTimeout as sleep } from 'node:timers/promises';

type Truthy<T> = Exclude<T, false | 0 | '' | null | undefined>;

/**
 * Asks `probe` again and again until it gives something truthy, and returns that. A probe that throws has not succeeded yet.
 * Throws after `timeoutMs`, naming `what` and the last error.
 */
export async function waitFor<T>(
  probe: () => T | Promise<T>,
  timeoutMs: number,
  { what = 'the condition', intervalMs = 20 }: { readonly what?: string; readonly intervalMs?: number } = {},
): Promise<Truthy<T>> {
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value as Truthy<T>;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= deadline) throw new Error(`${what}: not within ${timeoutMs} ms`, { cause });
    await sleep(intervalMs);
  }
}
