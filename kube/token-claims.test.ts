import { describe, expect, it } from 'vitest';
import { serviceAccountUidOf } from './token-claims.ts';

const bearer = (claims: unknown) =>
  `Bearer ${['{"alg":"RS256"}', JSON.stringify(claims), 'signature'].map((part) => Buffer.from(part).toString('base64url')).join('.')}`;

describe('the service account of a token', () => {
  it('is the one that the API server wrote into it', () => {
    const claims = { sub: 'x', 'kubernetes.io': { namespace: 'n', serviceaccount: { name: 'a', uid: 'uid-1' } } };
    expect(serviceAccountUidOf(bearer(claims))).toBe('uid-1');
  });

  it.each([
    ['no token', undefined],
    ['a password', 'Basic YTpi'],
    ['a token that says nothing', 'Bearer abc'],
    ['a token of somebody else', bearer({ sub: 'me', email: 'me@example.com' })],
    ['a token without a uid', bearer({ 'kubernetes.io': { serviceaccount: {} } })],
    ['a uid that is none', bearer({ 'kubernetes.io': { serviceaccount: { uid: 7 } } })],
    ['null', bearer(null)],
    ['null further in', bearer({ 'kubernetes.io': { serviceaccount: null } })],
    ['no JSON', 'Bearer a.b.c'],
  ])('is none of %s', (_, header) => {
    expect(serviceAccountUidOf(header)).toBeUndefined();
  });
});
