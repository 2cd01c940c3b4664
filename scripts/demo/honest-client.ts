import type { Namespace } from '../../test/support/namespaces.ts';

export interface HonestResult {
  readonly requests: number;
  /** Requests that did not end in status 200 within two seconds. */
  readonly failed: number;
  readonly slowestMs: number;
}

/** Fetches a page over and over, a new connection each time, until the returned function is called. */
export function startHonestClient(from: Namespace, url: string): () => Promise<HonestResult> {
  const fetchOnce = `curl -s -o /dev/null -w '%{http_code} %{time_total}\\n' --max-time 2 ${url}`;
  const loop = from.spawn(['sh', '-c', `while :; do ${fetchOnce}; sleep 0.02; done`]);
  return async () => summarize((await loop.stop()).stdout);
}

/** @param output lines of `<status> <seconds>`; the last is left out where it was cut off */
export function summarize(output: string): HonestResult {
  const whole = output.slice(0, output.lastIndexOf('\n') + 1);
  const requests = whole
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(' '));
  return {
    requests: requests.length,
    failed: requests.filter(([status]) => status !== '200').length,
    slowestMs: Math.max(0, ...requests.map(([, seconds]) => Math.round(Number(seconds) * 1_000))),
  };
}
