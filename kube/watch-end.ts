import {
  isConnection,
  isForbidden,
  isGone,
  isNotFound,
  isThrottled,
  isTooNew,
  isUnauthorized,
  KubeError,
  malformed,
} from './errors.ts';

/** Why a watch is opened anew; a label of a metric, so the set is closed. */
export type RestartReason =
  | 'ended'
  | 'broken'
  | 'silent'
  | 'expired'
  | 'too-new'
  | 'refused'
  | 'unauthorized'
  | 'forbidden'
  | 'throttled'
  | 'kind-missing'
  | 'server-error'
  | 'malformed'
  | 'other';

export interface NextStep {
  readonly reason: RestartReason;
  /** A watch goes on from the last resourceVersion; a list asks for what is there now. */
  readonly next: 'watch' | 'list';
}

/** What to do after `error` ended a list or a watch. Whatever leaves a doubt about where the server stands is a list. */
export function stepAfter(error: unknown): NextStep {
  if (isGone(error)) return { reason: 'expired', next: 'list' };
  if (isTooNew(error)) return { reason: 'too-new', next: 'list' };
  if (isUnauthorized(error)) return { reason: 'unauthorized', next: 'watch' };
  if (isThrottled(error)) return { reason: 'throttled', next: 'watch' };
  if (isForbidden(error)) return { reason: 'forbidden', next: 'list' };
  if (isNotFound(error)) return { reason: 'kind-missing', next: 'list' };
  if (isConnection(error)) {
    // Who comes back after a refusal may have an older state; a watch from a version that it does not have yet is answered
    // with 200 and then nothing.
    return error.isConnecting ? { reason: 'refused', next: 'list' } : { reason: 'broken', next: 'watch' };
  }
  if (error instanceof KubeError) {
    if (error.code === malformed) return { reason: 'malformed', next: 'list' };
    if (error.status >= 500) return { reason: 'server-error', next: 'list' };
  }
  return { reason: 'other', next: 'list' };
}
