import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TestCertificate {
  readonly cert: string;
  readonly key: string;
}

/** A certificate, for loopback when no names are given, that is its own authority; openssl makes it, as Node.js cannot. */
export function makeCertificate(altNames = 'IP:127.0.0.1,IP:::1,DNS:localhost'): TestCertificate {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-tls-'));
  try {
    const key = join(folder, 'key.pem');
    const cert = join(folder, 'cert.pem');
    const names = `subjectAltName=${altNames}`;
    const what = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    execFileSync(
      'openssl',
      ['req', ...what, '-subj', '/CN=portcullis-test', '-addext', names, '-keyout', key, '-out', cert],
      { stdio: 'pipe' },
    );
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
