import type { Health } from '../cli/metrics-server.ts';

export interface HealthInput {
  /** Whether the policies were applied at least once, or nothing may be attached: the node is as it was asked to be. */
  readonly applied: boolean;
  /** What it waits for before that, where starting it again would not help. */
  readonly waitsFor: string | undefined;
  /** Why the newest policies are not in force; undefined when they are. */
  readonly applyError: string | undefined;
}

/** Live is who guards the node, or waits for somebody else; ready, who guards it by the newest policies. */
export function healthOf({ applied, waitsFor, applyError }: HealthInput): Health {
  if (applied) return { live: '', ready: applyError ?? '' };
  const why = 'the policies were not applied yet';
  return waitsFor === undefined ? { live: why, ready: why } : { live: '', ready: `${why}, waiting for ${waitsFor}` };
}
