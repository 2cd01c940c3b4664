import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../support/command.ts';

export interface PkiOptions {
  /** Addresses at which clients reach the API server, besides 127.0.0.1, ::1 and the service address. */
  readonly addresses: readonly string[];
}

/** Files of a control plane, PEM. */
export interface Pki {
  readonly caFile: string;
  readonly servingCertFile: string;
  readonly servingKeyFile: string;
  /** Of a user in the group system:masters, whom no rule restrains. */
  readonly adminCertFile: string;
  readonly adminKeyFile: string;
  /** Signs service account tokens. P-256: ES256. */
  readonly serviceAccountKeyFile: string;
  readonly serviceAccountPublicKeyFile: string;
}

const dayMs = 24 * 60 * 60 * 1_000;
// Tests step the clocks of clients both ways; a cluster to play with stands for some days.
const validFromMs = -2 * dayMs;
const validUntilMs = 30 * dayMs;

/** `openssl ca` can date back, which `openssl req -x509` can only from 3.4 on. */
const caConfig = `
[ca]
default_ca = this
[this]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
unique_subject = no
copy_extensions = copy
policy = any
[any]
organizationName = optional
commonName = supplied
[req]
distinguished_name = name
[name]
`;

export interface Certificate {
  /** Of its files: `<name>.crt`, `<name>.key`. */
  readonly name: string;
  /** `/O=system:nodes/CN=system:node:node-a` */
  readonly subject: string;
  /** As `openssl req -addext` takes them. */
  readonly extensions: readonly string[];
}

/** Makes what a control plane needs into an existing folder. */
export async function makePki(folder: string, { addresses }: PkiOptions): Promise<Pki> {
  const file = (name: string) => join(folder, name);
  writeFileSync(file('ca.cnf'), caConfig);
  writeFileSync(file('index.txt'), '');
  const names = ['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc'];
  const ips = ['127.0.0.1', '::1', '10.96.0.1', ...addresses];
  const subjectAltName = [...names.map((name) => `DNS:${name}`), ...ips.map((ip) => `IP:${ip}`)].join();
  const certificates: readonly Certificate[] = [
    {
      name: 'ca',
      subject: '/CN=portcullis-test-ca',
      extensions: ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign'],
    },
    {
      name: 'apiserver',
      subject: '/CN=kube-apiserver',
      extensions: [
        'keyUsage=critical,digitalSignature',
        'extendedKeyUsage=serverAuth',
        `subjectAltName=${subjectAltName}`,
      ],
    },
    {
      name: 'admin',
      subject: '/O=system:masters/CN=admin',
      extensions: ['keyUsage=critical,digitalSignature', 'extendedKeyUsage=clientAuth'],
    },
  ];
  await Promise.all(certificates.map((certificate) => request(folder, certificate)));
  // One after the other: they share an index.
  for (const { name } of certificates) await sign(folder, name);
  const { privateKey, publicKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'sec1', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  writeFileSync(file('sa.key'), privateKey, { mode: 0o600 });
  writeFileSync(file('sa.pub'), publicKey);
  return {
    caFile: file('ca.crt'),
    servingCertFile: file('apiserver.crt'),
    servingKeyFile: file('apiserver.key'),
    adminCertFile: file('admin.crt'),
    adminKeyFile: file('admin.key'),
    serviceAccountKeyFile: file('sa.key'),
    serviceAccountPublicKeyFile: file('sa.pub'),
  };
}

/**
 * Another certificate of the CA in a folder that `makePki` filled. One at a time: they share an index.
 */
export async function issueCertificate(
  folder: string,
  certificate: Certificate,
): Promise<{ readonly certFile: string; readonly keyFile: string }> {
  await request(folder, certificate);
  await sign(folder, certificate.name);
  return { certFile: join(folder, `${certificate.name}.crt`), keyFile: join(folder, `${certificate.name}.key`) };
}

async function request(folder: string, { name, subject, extensions }: Certificate): Promise<void> {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', `${name}.key`];
  const added = extensions.flatMap((extension) => ['-addext', extension]);
  const argv = ['openssl', 'req', '-new', '-config', 'ca.cnf', '-subj', subject, '-out', `${name}.csr`];
  await run([...argv, ...key, ...added], { cwd: folder });
}

async function sign(folder: string, name: string): Promise<void> {
  const dates = ['-startdate', asn1Time(Date.now() + validFromMs), '-enddate', asn1Time(Date.now() + validUntilMs)];
  const by = name === 'ca' ? ['-selfsign'] : ['-cert', 'ca.crt'];
  const argv = ['openssl', 'ca', '-config', 'ca.cnf', '-batch', '-notext', '-in', `${name}.csr`, '-out', `${name}.crt`];
  await run([...argv, '-keyfile', 'ca.key', ...by, ...dates], { cwd: folder });
}

/** YYYYMMDDHHMMSSZ. */
function asn1Time(timeMs: number): string {
  return `${new Date(timeMs).toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`;
}
