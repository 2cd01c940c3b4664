import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Access, serverUrl } from './access.ts';
import { WatchedFile } from './watched-file.ts';

const serviceAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';
/** The kubelet replaces a token at 80 % of its life; client-go re-reads it as often. */
const maxTokenAgeMs = 60_000;

export interface InClusterOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly nowMs: () => number;
  /** For tests. */
  readonly folder?: string;
  /** Instead of KUBERNETES_SERVICE_HOST and _PORT. */
  readonly server?: string;
}

/** The service account that is mounted into this pod. */
export function inClusterAccess({ env, nowMs, folder = serviceAccountFolder, server }: InClusterOptions): Access {
  const token = new WatchedFile(join(folder, 'token'), maxTokenAgeMs, nowMs);
  const ca = new WatchedFile(join(folder, 'ca.crt'), Number.POSITIVE_INFINITY, nowMs);
  const namespace = readIfAny(join(folder, 'namespace'));
  return {
    server: server ?? serverUrl(env.KUBERNETES_SERVICE_HOST ?? '', env.KUBERNETES_SERVICE_PORT ?? '443'),
    ...(namespace === '' ? {} : { namespace }),
    async current() {
      const authority = ca.read();
      return {
        tls: { ca: authority },
        tlsVersion: authority,
        headers: { authorization: `Bearer ${token.read()}` },
      };
    },
    forget() {
      token.forget();
      ca.forget();
    },
  };
}

function readIfAny(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}
