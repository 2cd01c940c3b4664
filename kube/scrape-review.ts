import { createHash } from 'node:crypto';
import type { ScrapeAccess, ScrapeVerdict } from '../cli/scrape-access.ts';
import type { KubeClient } from './client.ts';
import { type Clock, systemClock, withTimeout } from './clock.ts';
import type { KubeObject } from './objects.ts';
import { RateBucket } from './rate-bucket.ts';
import { resources } from './resources.ts';

/** How long somebody may go on after he has lost the right. As often as that each Prometheus costs two requests. */
const allowedForMs = 60_000;
/** Who was just given the right should not wait long. */
const refusedForMs = 10_000;
/** A token that was good may be asked about without waiting in line for so long: see #isKnown. */
const knownForMs = 600_000;
/** Prometheus and its replicas; their tokens change every hour or so. */
const maxAllowed = 64;
const maxRefused = 256;
/** Tokens that nobody has seen good, of all who ask together: who makes them up shall not make the API server work. */
const newTokensBurst = 10;
const newTokensIntervalMs = 1_000;
/** He can ask every node at once: together they pass on that many, and 2,000 a second. */
const newTokensBurstOfCluster = 10_000;
const newTokensPerMsOfCluster = 2;
/** However many nodes somebody says that there are. */
const maxNewTokensIntervalMs = 10_000;
/** Below Prometheus' usual scrape timeout of 10 s, so that it hears why. */
const reviewTimeoutMs = 5_000;
const sameErrorMs = 60_000;

export interface ScrapeReviewOptions {
  readonly client: Pick<KubeClient, 'create'>;
  readonly clock?: Clock;
  /** How many programs ask the same API server; 1 when absent. */
  readonly peers?: () => number;
  /** Told why the API server could not be asked; the same only once a minute. */
  readonly onError: (error: unknown) => void;
}

interface Decision {
  readonly verdict: ScrapeVerdict;
  readonly atMs: number;
  readonly untilMs: number;
}

interface TokenReview extends KubeObject {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly user?: {
      readonly username?: string;
      readonly uid?: string;
      readonly groups?: readonly string[];
      readonly extra?: Readonly<Record<string, readonly string[]>>;
    };
  };
}

interface SubjectAccessReview extends KubeObject {
  readonly status?: { readonly allowed?: boolean };
}

/**
 * Asks the API server whose a token is and whether he may get /metrics, and remembers the answer for a while. Nobody scrapes whom
 * it cannot vouch for: while it does not answer, whatever is older than a minute is refused.
 */
export class ScrapeReview {
  readonly #client: Pick<KubeClient, 'create'>;
  readonly #clock: Clock;
  readonly #onError: (error: unknown) => void;
  readonly #peers: () => number;
  #newTokens: RateBucket;
  #newTokensPeers = 1;
  /** By digest, so that a dump of the memory holds no more tokens than it must. The oldest come first. */
  readonly #allowed = new Map<string, Decision>();
  readonly #refused = new Map<string, Decision>();
  readonly #asking = new Map<string, Promise<ScrapeVerdict>>();
  #told = { message: '', atMs: Number.NEGATIVE_INFINITY };

  constructor({ client, clock = systemClock, peers = () => 1, onError }: ScrapeReviewOptions) {
    this.#client = client;
    this.#clock = clock;
    this.#peers = peers;
    this.#onError = onError;
    this.#newTokens = newTokens(clock, 1);
  }

  readonly access: ScrapeAccess = async (authorization) => {
    // As RFC 6750 has it; a token of Kubernetes is of these letters.
    const token = /^Bearer +([\w.~+/=-]+) *$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) return 'no-token';
    const digest = createHash('sha256').update(token).digest('base64');
    const decision = this.#allowed.get(digest) ?? this.#refused.get(digest);
    const nowMs = this.#clock.nowMs();
    if (decision !== undefined && nowMs < decision.untilMs) return decision.verdict;
    const asked = this.#asking.get(digest);
    if (asked !== undefined) return await asked;
    // Made-up tokens cannot stand in the way of one that was good until now.
    if (!this.#isKnown(digest, nowMs) && !this.#mayAskAnew()) return 'too-many-tokens';
    const asking = this.#ask(token, digest).finally(() => this.#asking.delete(digest));
    this.#asking.set(digest, asking);
    return await asking;
  };

  #isKnown(digest: string, nowMs: number): boolean {
    const allowed = this.#allowed.get(digest);
    return allowed !== undefined && nowMs - allowed.atMs < knownForMs;
  }

  #mayAskAnew(): boolean {
    const peers = this.#peers();
    if (peers !== this.#newTokensPeers) this.#newTokens = newTokens(this.#clock, peers);
    this.#newTokensPeers = peers;
    return this.#newTokens.take();
  }

  async #ask(token: string, digest: string): Promise<ScrapeVerdict> {
    let verdict: ScrapeVerdict;
    try {
      verdict = await withTimeout(this.#clock, 'asking about a token', reviewTimeoutMs, undefined, (signal) =>
        this.#review(token, signal),
      );
    } catch (error) {
      this.#tell(error);
      // Not remembered: the next scrape asks again.
      return 'api-server';
    }
    const atMs = this.#clock.nowMs();
    if (verdict === 'allowed') {
      const forMs = Math.min(allowedForMs, msToExpiry(token, this.#clock.wallMs()));
      this.#refused.delete(digest);
      remember(this.#allowed, digest, { verdict, atMs, untilMs: atMs + forMs }, maxAllowed);
    } else {
      this.#allowed.delete(digest);
      remember(this.#refused, digest, { verdict, atMs, untilMs: atMs + refusedForMs }, maxRefused);
    }
    return verdict;
  }

  async #review(token: string, signal: AbortSignal): Promise<ScrapeVerdict> {
    const asked = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      metadata: { name: '' },
      spec: { token },
    };
    const { status } = await this.#client.create<TokenReview>(resources.tokenReviews, asked, { signal });
    const { authenticated, user } = status ?? {};
    if (authenticated !== true || !user?.username) return 'bad-token';
    const { username, uid, groups, extra } = user;
    const access = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      metadata: { name: '' },
      spec: { user: username, uid, groups, extra, nonResourceAttributes: { path: '/metrics', verb: 'get' } },
    };
    const answer = await this.#client.create<SubjectAccessReview>(resources.subjectAccessReviews, access, { signal });
    return answer.status?.allowed === true ? 'allowed' : 'not-allowed';
  }

  #tell(error: unknown): void {
    const message = String(error);
    const nowMs = this.#clock.nowMs();
    if (message === this.#told.message && nowMs - this.#told.atMs < sameErrorMs) return;
    this.#told = { message, atMs: nowMs };
    this.#onError(error);
  }
}

function newTokens(clock: Clock, peers: number): RateBucket {
  // Two at least: one of a pair of scrapers should not have to wait for the other.
  const burst = Math.max(2, Math.min(newTokensBurst, Math.floor(newTokensBurstOfCluster / peers)));
  const ofCluster = Math.min(peers / newTokensPerMsOfCluster, maxNewTokensIntervalMs);
  const intervalMs = Math.max(newTokensIntervalMs, ofCluster);
  return new RateBucket({ burst, intervalMs, nowMs: () => clock.nowMs() });
}

/** The newest last; the oldest makes room. */
function remember(decisions: Map<string, Decision>, digest: string, decision: Decision, max: number): void {
  decisions.delete(digest);
  decisions.set(digest, decision);
  if (decisions.size > max) decisions.delete(decisions.keys().next().value!);
}

/** Of a token that the API server has just vouched for; one that tells nothing ends with the decision. */
function msToExpiry(token: string, wallMs: number): number {
  try {
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { exp?: unknown };
    return typeof exp === 'number' ? Math.max(exp * 1000 - wallMs, 0) : Number.POSITIVE_INFINITY;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
