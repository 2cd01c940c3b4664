import { setTimeout as sleep } from 'node:timers/promises';

const retryMs = 5_000;

export interface Served {
  /** Resolves when nothing of it runs any more. */
  readonly closed: Promise<void>;
}

/**
 * Serves at once, or else tries again every few seconds until `signal` aborts: a port that somebody else has taken, or a key pair
 * that cannot be used, must not keep a node from being guarded. `onError` is told of each reason once in a row.
 */
export async function serveOrRetry(
  serve: () => Promise<Served>,
  {
    signal,
    onError,
    everyMs = retryMs,
  }: { readonly signal: AbortSignal; readonly onError: (error: unknown) => void; readonly everyMs?: number },
): Promise<Served> {
  let told = '';
  const attempt = async (): Promise<Served | undefined> => {
    try {
      return await serve();
    } catch (error) {
      if (String(error) !== told) onError(error);
      told = String(error);
      return undefined;
    }
  };
  const later = async (): Promise<void> => {
    while (!signal.aborted) {
      await sleep(everyMs, undefined, { signal }).catch(() => {});
      const served = signal.aborted ? undefined : await attempt();
      if (served !== undefined) return await served.closed;
    }
  };
  return (await attempt()) ?? { closed: later() };
}
