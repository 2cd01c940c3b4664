import { beforeEach, describe, expect, it } from 'vitest';
import type { KubeClient } from './client.ts';
import { KubeError } from './errors.ts';
import type { NewKubeObject } from './objects.ts';
import { ScrapeReview } from './scrape-review.ts';
import { FakeClock } from './testing/fake-clock.ts';

type Asked = NewKubeObject & { readonly spec: Record<string, unknown> };

let clock: FakeClock;
let asked: Asked[];
let errors: unknown[];
/** Who each token is of, and who may. */
let users: Map<string, string>;
let allowed: Set<string>;
let failure: Error | undefined;
let hangs: boolean;
let review: ScrapeReview;

const create = async (_: unknown, object: Asked): Promise<unknown> => {
  asked.push(object);
  if (hangs) return await new Promise(() => {});
  if (failure !== undefined) throw failure;
  if (object.kind === 'SubjectAccessReview') return { status: { allowed: allowed.has(object.spec.user as string) } };
  const username = users.get(object.spec.token as string);
  if (username === undefined) return { status: { authenticated: false, error: 'invalid bearer token' } };
  return { status: { authenticated: true, user: { username, groups: ['g'], extra: { k: ['v'] } } } };
};

beforeEach(() => {
  clock = new FakeClock();
  [asked, errors, failure, hangs] = [[], [], undefined, false];
  users = new Map([
    ['good', 'prometheus'],
    ['other', 'somebody'],
  ]);
  allowed = new Set(['prometheus']);
  const client = { create: create as unknown as KubeClient['create'] };
  review = new ScrapeReview({ client, clock, onError: (error) => errors.push(error) });
});

const ask = (token: string) => review.access(`Bearer ${token}`);
const tokenReviews = () => asked.filter(({ kind }) => kind === 'TokenReview').length;

describe('a scrape', () => {
  it('is let in whose token may get /metrics', async () => {
    expect(await ask('good')).toBe('allowed');
    expect(asked.map(({ spec }) => spec)).toEqual([
      { token: 'good' },
      {
        user: 'prometheus',
        uid: undefined,
        groups: ['g'],
        extra: { k: ['v'] },
        nonResourceAttributes: { path: '/metrics', verb: 'get' },
      },
    ]);
  });

  it.each([undefined, '', 'Bearer', 'Bearer ', 'Basic Z29vZDpnb29k', 'good', 'Bearer good\u00e9', 'Bearer a b'])(
    'without a token is refused, and nobody is asked: %s',
    async (header) => {
      expect(await review.access(header)).toBe('no-token');
      expect(asked).toEqual([]);
    },
  );

  it('with a token of nobody is refused, and so is one of somebody who may not', async () => {
    expect(await ask('made-up')).toBe('bad-token');
    expect(await ask('other')).toBe('not-allowed');
  });
});

describe('an answer', () => {
  it('holds for a minute where it is yes, for ten seconds where it is no', async () => {
    await Promise.all([ask('good'), ask('other')]);
    allowed = new Set(['somebody']);
    const reviews = tokenReviews();
    await clock.advance(9_000);
    expect([await ask('good'), await ask('other')]).toEqual(['allowed', 'not-allowed']);
    expect(tokenReviews()).toBe(reviews);
    await clock.advance(2_000);
    expect([await ask('good'), await ask('other')]).toEqual(['allowed', 'allowed']);
    await clock.advance(50_000);
    expect(await ask('good')).toBe('not-allowed');
  });

  it('does not outlive the token', async () => {
    const claims = { exp: (clock.wallMs() + 20_000) / 1000 };
    const token = `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sig`;
    users.set(token, 'prometheus');
    expect(await ask(token)).toBe('allowed');
    users.delete(token);
    await clock.advance(19_000);
    expect(await ask(token)).toBe('allowed');
    await clock.advance(2_000);
    expect(await ask(token)).toBe('bad-token');
  });

  it('is asked for once by all who wait for it', async () => {
    expect(await Promise.all([ask('good'), ask('good'), ask('good')])).toEqual(['allowed', 'allowed', 'allowed']);
    expect(tokenReviews()).toBe(1);
  });
});

describe('while the API server cannot be asked', () => {
  it('nobody is let in whom it did not vouch for within the minute; then all is as before', async () => {
    await ask('good');
    failure = new KubeError({ message: 'POST: ECONNREFUSED', code: 'ECONNREFUSED' });
    expect([await ask('good'), await ask('other')]).toEqual(['allowed', 'api-server']);
    await clock.advance(61_000);
    expect(await ask('good')).toBe('api-server');
    failure = undefined;
    expect(await ask('good')).toBe('allowed');
  });

  it('the reason is told, the same once a minute', async () => {
    failure = new KubeError({ message: 'POST: 403 Forbidden', status: 403 });
    for (let i = 0; i < 3; i++) expect(await ask('good')).toBe('api-server');
    expect(errors).toEqual([failure]);
    await clock.advance(61_000);
    await ask('good');
    expect(errors).toHaveLength(2);
  });

  it('a scrape does not wait for more than five seconds', async () => {
    hangs = true;
    const answer = ask('good');
    await clock.advance(5_001);
    expect(await answer).toBe('api-server');
  });
});

describe('made-up tokens', () => {
  it('make the API server work once a second, and do not keep out who was good until now', async () => {
    await ask('good');
    const verdicts = await Promise.all(Array.from({ length: 500 }, (_, i) => ask(`made-up-${i}`)));
    expect(verdicts.filter((verdict) => verdict === 'too-many-tokens').length).toBeGreaterThanOrEqual(490);
    expect(tokenReviews()).toBeLessThanOrEqual(11);
    for (let second = 0; second < 120; second++) {
      await clock.advance(1_000);
      await Promise.all(Array.from({ length: 20 }, (_, i) => ask(`more-${second}-${i}`)));
      expect(await ask('good')).toBe('allowed');
    }
    expect(tokenReviews()).toBeLessThanOrEqual(11 + 120 + 3);
  });

  it('shown to all nodes of a large cluster are fewer for each of them', async () => {
    let peers = 1;
    const client = { create: create as unknown as KubeClient['create'] };
    review = new ScrapeReview({ client, clock, peers: () => peers, onError: (error) => errors.push(error) });
    await ask('good');
    // As an agent hears of the others, after its first scrape.
    peers = 5_000;
    const before = tokenReviews();
    for (let second = 0; second < 60; second++) {
      await Promise.all(Array.from({ length: 20 }, (_, i) => ask(`made-up-${second}-${i}`)));
      await clock.advance(1_000);
    }
    // 10,000 of all at once, and 2,000 a second.
    const perNode = tokenReviews() - before;
    expect(perNode * peers).toBeLessThanOrEqual(10_000 + 60 * 2_000);
    expect(perNode).toBeGreaterThan(10);
    expect(await ask('good')).toBe('allowed');
  });
});
