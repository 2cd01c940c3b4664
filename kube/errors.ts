import type { KubeStatus } from './objects.ts';

/** What a server answers may be as long as 772 kB: 10,000 bad entries, each with a sentence. */
const maxMessageChars = 500;
const maxCauses = 10;
/** No server in its senses asks for more; a proxy that says so for days must not silence who obeys it. */
const maxRetryAfterMs = 300_000;

export interface KubeCause {
  readonly field: string;
  readonly message: string;
  readonly reason: string;
}

export interface KubeErrorInit {
  readonly message: string;
  readonly status?: number;
  readonly reason?: string;
  readonly code?: string;
  readonly retryAfterMs?: number | undefined;
  readonly causes?: readonly KubeCause[];
  readonly isConnecting?: boolean;
  readonly cause?: unknown;
}

/** A request that the API server refused, or that it never answered. */
export class KubeError extends Error {
  /** HTTP status, or that of the Status object inside of a watch; 0 when there was no answer. */
  readonly status: number;
  /** Of the Status object, such as NotFound or AlreadyExists; empty when there was none. */
  readonly reason: string;
  /** Of the connection, such as ECONNREFUSED; empty when the server answered. */
  readonly code: string;
  /** What the server asked to wait, in ms; at most five minutes, whatever it asked for. */
  readonly retryAfterMs: number | undefined;
  /** The first fields that the server found bad, at most 10. */
  readonly causes: readonly KubeCause[];
  /** No response had begun: whoever answers next may be another server, or the same one with an older state. */
  readonly isConnecting: boolean;

  constructor(init: KubeErrorInit) {
    super(shorten(init.message, maxMessageChars), init.cause === undefined ? undefined : { cause: init.cause });
    this.name = 'KubeError';
    this.status = init.status ?? 0;
    this.reason = init.reason ?? '';
    this.code = init.code ?? '';
    this.retryAfterMs = init.retryAfterMs;
    this.causes = init.causes ?? [];
    this.isConnecting = init.isConnecting ?? false;
  }
}

export function shorten(text: string, maxChars: number): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars - 1)}…`;
}

/** `what` is the request, for people: "GET /api/v1/nodes". */
export function errorOfStatus(
  what: string,
  httpStatus: number,
  body: KubeStatus | string,
  retryAfter?: string,
): KubeError {
  const status: KubeStatus = typeof body === 'string' ? { message: body.trim() } : body;
  const code = status.code ?? httpStatus;
  const headerMs = retryAfter === undefined ? undefined : retryAfterMs(retryAfter);
  const seconds = status.details?.retryAfterSeconds;
  const bodyMs = typeof seconds === 'number' && seconds > 0 ? seconds * 1000 : undefined;
  return new KubeError({
    message: `${what}: ${code}${status.reason ? ` ${status.reason}` : ''}${status.message ? `: ${status.message}` : ''}`,
    status: code,
    reason: status.reason ?? '',
    retryAfterMs: boundedWait(headerMs ?? bodyMs),
    causes: (status.details?.causes ?? []).slice(0, maxCauses).map((cause) => ({
      field: shorten(cause.field ?? '', maxMessageChars),
      message: shorten(cause.message ?? '', maxMessageChars),
      reason: cause.reason ?? '',
    })),
  });
}

const boundedWait = (ms: number | undefined): number | undefined =>
  ms === undefined ? undefined : Math.min(ms, maxRetryAfterMs);

/** Seconds only: API servers send no dates. */
function retryAfterMs(header: string): number | undefined {
  return /^\d{1,6}$/.test(header.trim()) ? Number(header) * 1000 : undefined;
}

/** `isConnecting`: no response had begun. */
export function errorOfConnection(what: string, error: unknown, isConnecting: boolean): KubeError {
  if (error instanceof KubeError) return error;
  const code = codeOf(error) || 'UNKNOWN';
  const text = error instanceof Error ? error.message : String(error);
  const says = text.includes(code) ? text : text === '' ? code : `${code}: ${text}`;
  return new KubeError({
    message: `${what}: ${says}`,
    code,
    isConnecting,
    cause: error,
  });
}

/** An AggregateError of several addresses has no code of its own. */
function codeOf(error: unknown): string {
  for (let next: unknown = error, depth = 0; next instanceof Error && depth < 5; depth++) {
    if ('code' in next && typeof next.code === 'string') return next.code;
    next = next instanceof AggregateError ? next.errors[0] : next.cause;
  }
  return '';
}

export const isNotFound = (error: unknown): error is KubeError => hasStatus(error, 404);

/** Somebody else was faster, or the object exists. */
export const isConflict = (error: unknown): error is KubeError => hasStatus(error, 409);

/** The resourceVersion or continue token is older than what the server keeps. */
export const isGone = (error: unknown): error is KubeError => hasStatus(error, 410);

/**
 * The resourceVersion is newer than what the server has: it lags behind, or etcd was restored to an older snapshot. Told
 * apart from a gateway's timeout, which is 504 as well, by its reason in the causes or its words.
 */
export const isTooNew = (error: unknown): error is KubeError =>
  hasStatus(error, 504) &&
  (error.causes.some((cause) => cause.reason === 'ResourceVersionTooLarge') ||
    error.message.includes('Too large resource version'));

export const isUnauthorized = (error: unknown): error is KubeError => hasStatus(error, 401);

export const isForbidden = (error: unknown): error is KubeError => hasStatus(error, 403);

export const isThrottled = (error: unknown): error is KubeError => hasStatus(error, 429);

/** The server gave no answer, or broke off in the middle of one. */
export const isConnection = (error: unknown): error is KubeError => hasStatus(error, 0) && error.code !== malformed;

/** The code of an answer that cannot be understood. */
export const malformed = 'MALFORMED';

/** An answer that is longer than what is read of one: a smaller page may be. */
export const isTooLong = (error: unknown): error is KubeError =>
  error instanceof KubeError && error.code === malformed && error.reason === tooLong;

export const tooLong = 'AnswerTooLong';

function hasStatus(error: unknown, status: number): error is KubeError {
  return error instanceof KubeError && error.status === status;
}
