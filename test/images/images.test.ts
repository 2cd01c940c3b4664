import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UnpackedImage } from '../../scripts/images/archive.ts';
import { findBuilder } from '../../scripts/images/builder.ts';
import { isElf, neededLibraries } from '../../scripts/images/elf.ts';
import { type ImageName, imageNames, imageRequest, imageTag } from '../../scripts/images/image.ts';
import { run } from '../support/command.ts';
import { standInNodeImage } from './stand-in.ts';

const root = join(import.meta.dirname, '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'pc-images-'));
const options = { root, repository: 'localhost/portcullis-test' };
const images = new Map<ImageName, UnpackedImage>();
/** MB, of 1,000,000 bytes. */
const goals = { agent: { compressed: 50, unpacked: 125 }, operator: { compressed: 48, unpacked: 120 } };

/** Archives that were built already, instead of building them on the stand-in: `agent.tar`, `operator.tar`. */
const given = process.env.PORTCULLIS_IMAGES;

beforeAll(async () => {
  if (given === undefined) await buildAll();
  for (const name of imageNames) images.set(name, UnpackedImage.open(join(given ?? folder, `${name}.tar`)));
}, 1_200_000);

async function buildAll(): Promise<void> {
  const builder = findBuilder();
  const nodeImage = await standInNodeImage(builder);
  for (const name of imageNames) {
    await run(builder.build(imageRequest(name, { ...options, nodeImage })), { timeoutMs: 600_000 });
    await run(builder.save(imageTag(name, options), join(folder, `${name}.tar`)), { timeoutMs: 120_000 });
  }
}

afterAll(() => {
  for (const image of images.values()) image[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs the image's own entry point in its file system, as its user, with nothing of the machine's but /proc. */
function runInside({ rootfs, config }: UnpackedImage, ...args: readonly string[]) {
  const { User = '0:0', Entrypoint = [] } = config.config;
  const [uid, gid] = User.split(':');
  const own = ['--mount', '--pid', '--fork', '--mount-proc', `--root=${rootfs}`];
  const user = [`--setuid=${uid}`, `--setgid=${gid}`];
  return spawnSync('unshare', [...own, ...user, ...Entrypoint, ...args], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH },
    timeout: 60_000,
  });
}

describe.each(imageNames)('the image of the %s', (name) => {
  const image = () => images.get(name)!;
  const file = (path: string) => join(image().rootfs, path);
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

  test('starts its program', () => {
    const { status, stdout, stderr } = runInside(image(), '--version');
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toContain(manifest.version);
  });

  test('is within its bounds', async () => {
    expect((await image().compressedBytes()) / 1e6).toBeLessThanOrEqual(goals[name].compressed);
    expect(image().unpackedBytes() / 1e6).toBeLessThanOrEqual(goals[name].unpacked);
  });

  test('has no shell, no compiler, no package manager and nothing that runs as somebody else', () => {
    const programs = image()
      .paths()
      .filter((path) => /^usr\/s?bin\//.test(path))
      .map((path) => path.replace(/^usr\/s?bin\//, ''));
    expect(programs).toEqual(['node', `portcullis-${name}`]);
    const special = image()
      .paths()
      .filter((path) => {
        const stat = lstatSync(file(path));
        return stat.isFile() && (stat.mode & 0o6000) !== 0;
      });
    expect(special).toEqual([]);
  });

  test('has every library that something in it needs, and no other', () => {
    const elf = image()
      .paths()
      .filter((path) => lstatSync(file(path)).isFile() && isElf(file(path)));
    const needed = new Set(elf.flatMap((path) => neededLibraries(file(path))));
    if (name === 'agent') needed.add('libbpf.so.1');
    const libraries = elf.map((path) => path.split('/').at(-1)!).filter((each) => each.includes('.so'));
    expect(libraries.toSorted()).toEqual([...needed].toSorted());
  });

  test('says whose each library is, in the way that scanners read', () => {
    const packages = image()
      .paths()
      .filter((path) => path.startsWith('var/lib/dpkg/status.d/'))
      .map((path) => readFileSync(file(path), 'utf8'));
    const names = packages.map((text) => /^Package: (.*)$/m.exec(text)![1]!);
    expect(names).toEqual(expect.arrayContaining(['base-files', 'libc6', 'libgcc-s1', 'libstdc++6']));
    for (const text of packages) expect(text).toMatch(/^Version: \S+$/m);
    for (const each of names) expect(existsSync(file(`usr/share/doc/${each}/copyright`))).toBe(true);
    expect(readFileSync(file('etc/os-release'), 'utf8')).toContain('VERSION_ID="13"');
  });

  test('lists all that it is made of', () => {
    const bill = JSON.parse(readFileSync(file(`usr/share/sbom/portcullis-${name}.cdx.json`), 'utf8'));
    const names: readonly string[] = bill.components.map(
      (component: { purl?: string }) => component.purl?.split('@')[0],
    );
    expect(names).toEqual(
      expect.arrayContaining(['pkg:generic/node', 'pkg:npm/pino', 'pkg:npm/prom-client', 'pkg:deb/debian/libc6']),
    );
    // What the bundle holds is nowhere else to be seen.
    for (const each of ['pino', 'prom-client', 'undici'])
      expect(existsSync(file(`opt/portcullis/node_modules/${each}/package.json`))).toBe(true);
  });

  test('is labelled, and runs as the user that it needs', () => {
    const { Labels = {}, User, Entrypoint } = image().config.config;
    expect(Labels).toMatchObject({
      'org.opencontainers.image.title': `portcullis-${name}`,
      'org.opencontainers.image.licenses': 'Apache-2.0',
      'org.opencontainers.image.version': manifest.version,
    });
    expect(User).toBe(name === 'agent' ? '0:0' : '65532:65532');
    expect(Entrypoint).toEqual([`/usr/bin/portcullis-${name}`]);
  });
});
