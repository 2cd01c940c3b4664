import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseResolvConf, readResolvers } from './resolvers.ts';

describe('parseResolvConf', () => {
  it('reads name servers, without zone, each once and canonical', () => {
    const text = [
      '# nameserver 192.0.2.1',
      '; nameserver 192.0.2.2',
      'search example.com',
      'nameserver 192.0.2.53',
      'nameserver\tFE80::0:1%eth0',
      'nameserver 192.0.2.53 # twice',
      ' nameserver 192.0.2.4',
      'nameserver',
      'nameserver dns.example.com',
      'options nameserver 192.0.2.5',
    ].join('\n');
    expect(parseResolvConf(text)).toEqual(['192.0.2.53', 'fe80::1']);
  });

  it('is bounded', () => {
    const text = Array.from({ length: 1_000 }, (_, i) => `nameserver 10.0.${i >> 8}.${i & 255}`).join('\n');
    expect(parseResolvConf(text)).toHaveLength(64);
  });
});

describe('readResolvers', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'portcullis-resolvers-'));
  });
  afterEach(() => rm(folder, { recursive: true }));
  const paths = () => ({ resolvConf: join(folder, 'resolv.conf'), upstreams: join(folder, 'upstreams.conf') });

  it('adds the upstreams where the host asks a local stub', async () => {
    await writeFile(paths().resolvConf, 'nameserver 127.0.0.53\n');
    await writeFile(paths().upstreams, 'nameserver 192.0.2.53\nnameserver 2001:db8::53\n');
    expect(await readResolvers(paths())).toEqual(['127.0.0.53', '192.0.2.53', '2001:db8::53']);
  });

  it('leaves the upstreams alone where the host does not ask the stub', async () => {
    await writeFile(paths().resolvConf, 'nameserver 192.0.2.1\n');
    await writeFile(paths().upstreams, 'nameserver 192.0.2.53\n');
    expect(await readResolvers(paths())).toEqual(['192.0.2.1']);
  });

  it('names none where no file is', async () => {
    expect(await readResolvers(paths())).toEqual([]);
  });
});
