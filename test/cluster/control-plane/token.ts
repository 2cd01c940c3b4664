import { sign } from 'node:crypto';
import { readFileSync } from 'node:fs';

/**
 * The same token with another end, signed by the key that the API server trusts: it issues none that lives shorter than ten
 * minutes. A lifetime below 0 gives one that has expired already.
 */
export function withLifetime(token: string, lifetimeSeconds: number, serviceAccountKeyFile: string): string {
  const [header, payload] = token.split('.');
  const claims = JSON.parse(Buffer.from(payload!, 'base64url').toString('utf8')) as Record<string, unknown>;
  const nowSeconds = Math.floor(Date.now() / 1_000);
  // Both are checked: issued and valid from before it ends.
  const from = Math.min(nowSeconds, nowSeconds + lifetimeSeconds) - 1;
  const changed = { ...claims, iat: from, nbf: from, exp: nowSeconds + lifetimeSeconds };
  const signed = `${header}.${Buffer.from(JSON.stringify(changed)).toString('base64url')}`;
  const key = { key: readFileSync(serviceAccountKeyFile, 'utf8'), dsaEncoding: 'ieee-p1363' } as const;
  return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
}
