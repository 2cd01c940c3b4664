/**
 * Uid of the service account that a bearer token is for; undefined of any other header. The signature is not looked at: who asks
 * is the token's own holder.
 */
export function serviceAccountUidOf(authorization: string | undefined): string | undefined {
  const payload = /^Bearer\s+[^.\s]+\.([^.\s]+)\.[^.\s]*$/i.exec(authorization ?? '')?.[1];
  if (payload === undefined) return undefined;
  try {
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Claims | null;
    const uid = claims?.['kubernetes.io']?.serviceaccount?.uid;
    return typeof uid === 'string' && uid !== '' ? uid : undefined;
  } catch {
    return undefined;
  }
}

/** As API servers put them into the tokens of pods. */
interface Claims {
  readonly 'kubernetes.io'?: { readonly serviceaccount?: { readonly uid?: unknown } | null } | null;
}
