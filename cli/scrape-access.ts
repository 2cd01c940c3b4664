/** Why a scrape, or a connection for one, is refused; a label of a metric. */
export const refusals = {
  'no-token': { status: 401, says: 'a bearer token is needed' },
  'bad-token': { status: 401, says: 'the API server does not know this token' },
  'not-allowed': {
    status: 403,
    says: 'whose token this is may not get /metrics: bind the role portcullis-metrics-reader',
  },
  'too-many-tokens': { status: 429, says: 'too many tokens that are not known yet; try again' },
  'api-server': { status: 503, says: 'the API server, which knows who may scrape, does not answer' },
} as const;

export type Refusal = keyof typeof refusals;
export type ScrapeVerdict = 'allowed' | Refusal;

/** Judges who asks by the header Authorization. Never rejects. */
export type ScrapeAccess = (authorization: string | undefined) => Promise<ScrapeVerdict>;
