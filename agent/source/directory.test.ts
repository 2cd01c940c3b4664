import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DirectorySource, type DirectorySourceOptions } from './directory.ts';
import type { PolicySnapshot } from './policy-source.ts';

/** A change takes effect within a second; a test may run on a machine that is busy with others. */
const patienceMs = 15_000;

const list = (name: string, cidr: string, padding = '') =>
  [
    'apiVersion: portcullis.dev/v1alpha1',
    'kind: IpBlocklist',
    'metadata:',
    `  name: ${name}`,
    'spec:',
    '  entries:',
    `    - cidr: ${cidr}${padding}`,
    '',
  ].join('\n');

class Follower {
  readonly snapshots: PolicySnapshot[] = [];
  readonly source: DirectorySource;
  readonly #abort = new AbortController();
  readonly #ended: Promise<void>;

  constructor(options: DirectorySourceOptions) {
    this.source = new DirectorySource(options);
    this.#ended = this.source.run(this.#abort.signal, (snapshot) => this.snapshots.push(snapshot));
  }

  async until(holds: (inForce: string, findings: string) => boolean, timeoutMs = patienceMs): Promise<PolicySnapshot> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const newest = this.snapshots.at(-1);
      if (newest && holds(inForce(newest), codes(newest))) return newest;
      if (performance.now() > deadline)
        throw new Error(`not within ${timeoutMs} ms; newest: ${JSON.stringify(newest)}`);
      await sleep(5);
    }
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }
}

const inForce = ({ ipBlocklists }: PolicySnapshot) =>
  ipBlocklists
    .map(({ metadata, spec }) => `${metadata.name}=${spec.entries.map(({ cidr }) => cidr).join('+')}`)
    .sort()
    .join(' ');
const codes = ({ findings }: PolicySnapshot) => findings.map(({ code }) => code).join(' ');

let directory: string;
let follower: Follower | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'portcullis-policies-'));
});
afterEach(async () => {
  await follower?.stop();
  follower = undefined;
  rmSync(directory, { recursive: true, force: true });
});

const path = (name: string) => join(directory, name);
const write = (name: string, text: string) => writeFileSync(path(name), text);
/** As if it had been written long before the start. */
function writeOld(name: string, text: string): void {
  write(name, text);
  utimesSync(path(name), 1, 1);
}
function follow(options: Partial<DirectorySourceOptions> = {}): Follower {
  follower = new Follower({ directory, ...options });
  return follower;
}

describe('DirectorySource', () => {
  it('tells at once that there is nothing', async () => {
    await follow().until((inForce, findings) => inForce === '' && findings === '');
  });

  it('reads *.yaml and *.yml, not hidden ones, not folders in it', async () => {
    write('a.yaml', list('a', '192.0.2.1/32'));
    write('b.yml', list('b', '192.0.2.2/32'));
    write('.c.yaml', list('c', '192.0.2.3/32'));
    write('d.yaml~', list('d', '192.0.2.4/32'));
    write('e.json', '{}');
    mkdirSync(path('sub'));
    write('sub/f.yaml', list('f', '192.0.2.6/32'));
    const snapshot = await follow().until((inForce) => inForce !== '');
    expect(inForce(snapshot)).toBe('a=192.0.2.1/32 b=192.0.2.2/32');
    expect(follower!.snapshots).toHaveLength(1);
    expect(snapshot.findings).toEqual([]);
  });

  it('applies a new, a changed and a deleted file', async () => {
    const source = follow();
    await source.until(() => true);
    write('a.yaml', list('a', '192.0.2.1/32'));
    await source.until((inForce) => inForce === 'a=192.0.2.1/32');
    write('a.yaml', list('a', '192.0.2.2/32'));
    await source.until((inForce) => inForce === 'a=192.0.2.2/32');
    unlinkSync(path('a.yaml'));
    await source.until((inForce) => inForce === '');
    expect(source.snapshots).toHaveLength(4);
  });

  it('finds by looking what nothing announces: the target of a link elsewhere', async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), 'portcullis-elsewhere-'));
    try {
      writeFileSync(join(elsewhere, 'real'), list('a', '192.0.2.1/32'));
      symlinkSync(join(elsewhere, 'real'), path('a.yaml'));
      const source = follow();
      await source.until((inForce) => inForce === 'a=192.0.2.1/32');
      // Nothing happens in the directory itself.
      writeFileSync(join(elsewhere, 'real'), list('a', '192.0.2.2/32'));
      await source.until((inForce) => inForce === 'a=192.0.2.2/32');
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
  });

  it('does not read a file that is being written, however its writer pauses', async () => {
    const source = follow();
    await source.until(() => true);
    const file = openSync(path('a.yaml'), 'w');
    // Each piece leaves a valid document behind that the writer does not mean.
    for (const piece of [list('a', '192.0.2.1/32'), '    - cidr: 192.0.2.2/32\n', '    - cidr: 192.0.2.3/32\n']) {
      writeSync(file, piece);
      await sleep(200);
    }
    for (let i = 4; i < 9; i++) {
      writeSync(file, `    - cidr: 192.0.2.${i}/32\n`);
      await sleep(450);
    }
    expect(source.snapshots).toHaveLength(1);
    writeSync(file, '    - cidr: 192.0.2.9/32\n');
    closeSync(file);
    const last = await source.until((inForce) => inForce.includes('192.0.2.9'));
    expect(inForce(last)).toBe(`a=${[1, 2, 3, 4, 5, 6, 7, 8, 9].map((i) => `192.0.2.${i}/32`).join('+')}`);
    expect(source.snapshots).toHaveLength(2);
  });

  it('does not take a truncated file for an empty one while its writer thinks', async () => {
    write('a.yaml', list('a', '192.0.2.1/32'));
    const source = follow();
    await source.until((inForce) => inForce !== '');
    const file = openSync(path('a.yaml'), 'w');
    await sleep(400);
    writeSync(file, list('a', '192.0.2.2/32'));
    closeSync(file);
    await source.until((inForce) => inForce === 'a=192.0.2.2/32');
    expect(source.snapshots.map(inForce)).toEqual(['a=192.0.2.1/32', 'a=192.0.2.2/32']);
  });

  it('follows editors that move the old file away before they write the new one', async () => {
    write('a.yaml', list('a', '192.0.2.1/32'));
    const source = follow();
    await source.until((inForce) => inForce !== '');
    renameSync(path('a.yaml'), path('a.yaml~'));
    await sleep(100);
    write('a.yaml', list('a', '192.0.2.2/32'));
    unlinkSync(path('a.yaml~'));
    await source.until((inForce) => inForce === 'a=192.0.2.2/32');
    write('.a.yaml.new', list('a', '192.0.2.3/32'));
    renameSync(path('.a.yaml.new'), path('a.yaml'));
    await source.until((inForce) => inForce === 'a=192.0.2.3/32');
    expect(source.snapshots.map(inForce)).toEqual(['a=192.0.2.1/32', 'a=192.0.2.2/32', 'a=192.0.2.3/32']);
  });

  it('never shows an object gone that moves from one file to another', async () => {
    write('b.yaml', list('a', '192.0.2.1/32'));
    const source = follow();
    await source.until((inForce) => inForce !== '');
    unlinkSync(path('b.yaml'));
    await sleep(150);
    write('a.yaml', list('a', '192.0.2.1/32'));
    await sleep(1_000);
    expect(new Set(source.snapshots.map(inForce))).toEqual(new Set(['a=192.0.2.1/32']));
  });

  it('follows a mounted ConfigMap, whose files change by one rename of a link', async () => {
    const version = (folder: string, cidr: string) => {
      mkdirSync(path(folder));
      write(`${folder}/a.yaml`, list('a', cidr));
    };
    version('..1', '192.0.2.1/32');
    symlinkSync('..1', path('..data'));
    symlinkSync('..data/a.yaml', path('a.yaml'));
    const source = follow();
    await source.until((inForce) => inForce === 'a=192.0.2.1/32');
    version('..2', '192.0.2.2/32');
    symlinkSync('..2', path('..data_tmp'));
    renameSync(path('..data_tmp'), path('..data'));
    rmSync(path('..1'), { recursive: true });
    await source.until((inForce) => inForce === 'a=192.0.2.2/32');
    expect(source.snapshots).toHaveLength(2);
  });

  it('keeps the last good state of a file that breaks, says so, and takes it up again', async () => {
    write('a.yaml', list('a', '192.0.2.1/32'));
    const source = follow();
    await source.until((inForce) => inForce !== '');
    write('a.yaml', list('a', '192.0.2.300/32'));
    const bad = await source.until((_, findings) => findings === 'BadPrefix LastGoodKept');
    expect(inForce(bad)).toBe('a=192.0.2.1/32');
    expect(bad.findings[1]!.message).toContain(`${path('a.yaml')}:7`);
    expect(source.source.goodObjects()).toMatchObject([{ file: 'a.yaml', kind: 'IpBlocklist', name: 'a' }]);
    write('a.yaml', list('a', '192.0.2.3/32'));
    await source.until((inForce, findings) => inForce === 'a=192.0.2.3/32' && findings === '');
  });

  it('keeps the last good state of a file that cannot be read, is too large or no file at all', async () => {
    write('a.yaml', list('a', '192.0.2.1/32'));
    const source = follow({ maxFileBytes: 1_000 });
    const kept = (code: string) =>
      source.until((inForce, findings) => inForce === 'a=192.0.2.1/32' && findings === `${code} LastGoodKept`);
    await source.until((inForce) => inForce !== '');
    write('a.yaml', list('a', '192.0.2.2/32', ` # ${'x'.repeat(1_000)}`));
    await kept('FileTooLarge');
    unlinkSync(path('a.yaml'));
    symlinkSync('nowhere', path('a.yaml'));
    await kept('FileUnreadable');
    unlinkSync(path('a.yaml'));
    execFileSync('mkfifo', [path('a.yaml')]);
    await source.until((_, findings) => findings.startsWith('FileUnreadable'));
    await kept('FileUnreadable');
    unlinkSync(path('a.yaml'));
    mkdirSync(path('a.yaml'));
    await kept('FileUnreadable');
    rmSync(path('a.yaml'), { recursive: true });
    await source.until((inForce, findings) => inForce === '' && findings === '');
  });

  it('changes nothing while the directory cannot be read, and goes on when it can', async () => {
    write('a.yaml', list('a', '192.0.2.1/32'));
    const source = follow();
    await source.until((inForce) => inForce !== '');
    renameSync(directory, `${directory}-away`);
    const unreadable = await source.until((_, findings) => findings === 'DirectoryUnreadable');
    expect(inForce(unreadable)).toBe('a=192.0.2.1/32');
    expect(unreadable.findings[0]!.message).toContain(directory);
    mkdirSync(directory);
    write('a.yaml', list('a', '192.0.2.2/32'));
    rmSync(`${directory}-away`, { recursive: true });
    await source.until((inForce, findings) => inForce === 'a=192.0.2.2/32' && findings === '');
    // The new directory is the one that is watched now.
    write('a.yaml', list('a', '192.0.2.3/32'));
    await source.until((inForce) => inForce === 'a=192.0.2.3/32');
  });

  it('starts from the last good objects where the directory or a file cannot be read', async () => {
    writeOld('a.yaml', list('a', '192.0.2.1/32'));
    writeOld('b.yaml', list('b', '192.0.2.2/32'));
    writeOld('c.yaml', list('c', '192.0.2.3/32'));
    const first = follow();
    await first.until((inForce) => inForce.includes('c='));
    const lastGood = first.source.goodObjects();
    await first.stop();

    writeOld('a.yaml', 'spec: [');
    unlinkSync(path('c.yaml'));
    const second = follow({ lastGood });
    const snapshot = await second.until(() => true);
    expect(inForce(snapshot)).toBe('a=192.0.2.1/32 b=192.0.2.2/32');
    expect(codes(snapshot)).toBe('YamlSyntax LastGoodKept');
    await second.stop();

    rmSync(directory, { recursive: true });
    const third = follow({ lastGood });
    const without = await third.until(() => true);
    expect(inForce(without)).toBe('a=192.0.2.1/32 b=192.0.2.2/32 c=192.0.2.3/32');
    expect(codes(without)).toContain('DirectoryUnreadable');
  });

  it('refuses an object that an earlier file has, and takes it up when that one goes', async () => {
    write('a.yaml', list('x', '192.0.2.1/32'));
    write('b.yaml', list('x', '192.0.2.2/32'));
    const source = follow();
    const both = await source.until((_, findings) => findings === 'DuplicateObject');
    expect(inForce(both)).toBe('x=192.0.2.1/32');
    unlinkSync(path('a.yaml'));
    await source.until((inForce, findings) => inForce === 'x=192.0.2.2/32' && findings === '');
  });

  it('bounds the number of files; a new one never pushes out one that is known', async () => {
    write('m.yaml', list('m', '192.0.2.1/32'));
    write('o.yaml', list('o', '192.0.2.2/32'));
    const source = follow({ maxFiles: 2 });
    await source.until((inForce) => inForce === 'm=192.0.2.1/32 o=192.0.2.2/32');
    write('a.yaml', list('a', '192.0.2.3/32'));
    const full = await source.until((_, findings) => findings === 'TooMany');
    expect(inForce(full)).toBe('m=192.0.2.1/32 o=192.0.2.2/32');
    unlinkSync(path('m.yaml'));
    await source.until((inForce, findings) => inForce === 'a=192.0.2.3/32 o=192.0.2.2/32' && findings === '');
  });

  it('is not held up by a file that never stops growing', async () => {
    const source = follow();
    await source.until(() => true);
    const growing = setInterval(() => appendFileSync(path('z.yaml'), '# more\n'), 30);
    try {
      await sleep(300);
      write('a.yaml', list('a', '192.0.2.1/32'));
      await source.until((inForce) => inForce === 'a=192.0.2.1/32');
    } finally {
      clearInterval(growing);
    }
  });

  it('says nothing when a file is touched or written again as it was', async () => {
    write('a.yaml', list('a', '192.0.2.1/32'));
    const source = follow();
    const before = await source.until((inForce) => inForce !== '');
    chmodSync(path('a.yaml'), 0o600);
    write('a.yaml', list('a', '192.0.2.1/32'));
    await sleep(1_000);
    expect(source.snapshots.at(-1)).toBe(before);
    expect(statSync(path('a.yaml')).size).toBeGreaterThan(0);
  });

  it('keeps the identity of objects whose file did not change', async () => {
    write('a.yaml', list('a', '192.0.2.1/32'));
    const source = follow();
    const before = await source.until((inForce) => inForce !== '');
    write('b.yaml', list('b', '192.0.2.2/32'));
    const after = await source.until((inForce) => inForce.includes('b='));
    expect(after.ipBlocklists).toContain(before.ipBlocklists[0]);
  });

  it('ends soon after it is told to, and says nothing more', async () => {
    const source = follow();
    await source.until(() => true);
    await source.stop();
    write('a.yaml', list('a', '192.0.2.1/32'));
    await sleep(400);
    expect(source.snapshots).toHaveLength(1);
  });
});
