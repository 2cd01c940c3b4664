import { existsSync, globSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UnpackedImage } from '../../scripts/images/archive.ts';
import { isElf, neededLibraries } from '../../scripts/images/elf.ts';
import { type ImageName, imageNames } from '../../scripts/images/image.ts';
import { nodePath, run } from '../support/command.ts';
import { builtImages } from './built-images.ts';
import { agentCapabilities, type ContainerOptions, runContainer } from './container.ts';

const root = join(import.meta.dirname, '..', '..');
const images = new Map<ImageName, UnpackedImage>();
/** MB, of 1,000,000 bytes. */
const goals = { agent: { compressed: 50, unpacked: 125 }, operator: { compressed: 48, unpacked: 120 } };

beforeAll(async () => {
  const built = await builtImages();
  for (const name of imageNames) images.set(name, UnpackedImage.open(built[name]));
}, 1_200_000);

afterAll(() => {
  for (const image of images.values()) image[Symbol.dispose]();
});

describe.each(imageNames)('the image of the %s', (name) => {
  const image = () => images.get(name)!;
  const file = (path: string) => join(image().rootfs, path);
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

  test('starts its program, on a read-only root and without any privilege', async () => {
    const { code, stdout, stderr } = await runContainer(image(), { args: ['--version'] });
    expect(stderr).toBe('');
    expect(code).toBe(0);
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
    const { components } = bill as { components: readonly { name: string; version: string }[] };
    expect(components.find((component) => component.name === 'node')?.version).toBe(process.versions.node);
  });

  test('is labelled, and runs as the user that it needs', () => {
    const { Labels = {}, User, Entrypoint, Cmd } = image().config.config;
    expect(Labels).toMatchObject({
      'org.opencontainers.image.title': `portcullis-${name}`,
      'org.opencontainers.image.licenses': 'Apache-2.0',
      'org.opencontainers.image.version': manifest.version,
    });
    expect(User).toBe(name === 'agent' ? '0:0' : '65532:65532');
    expect(Entrypoint).toEqual([`/usr/bin/portcullis-${name}`]);
    expect(Cmd).toEqual(['run']);
  });
});

test('both images share the layer that Node.js is in', () => {
  const [agent, operator] = imageNames.map((name) => images.get(name)!.layerDigests());
  expect(agent).toHaveLength(2);
  expect(operator![0]).toBe(agent![0]);
  expect(operator![1]).not.toBe(agent![1]);
});

test('a base that cannot be had is told in one sentence, with what to do', async () => {
  const argv = [nodePath, join(root, 'scripts', 'images.ts'), '--node-image', '127.0.0.1:1/no/such-image:1'];
  const { code, stderr } = await run(argv, { allowFailure: true, timeoutMs: 110_000 });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^images: the base 127\.0\.0\.1:1\/no\/such-image:1 cannot be had by \w+ \(.*refused.*\)$/m);
  expect(stderr).toContain('make images NODE_IMAGE=');
  expect(stderr).toContain('make images IMAGES=--stand-in');
});

describe('what the programs read', () => {
  const names = (image: ImageName, folder: string) => readdirSync(join(images.get(image)!.rootfs, folder)).toSorted();

  test('is there: an object for each attach point of the agent', () => {
    const sources = globSync('bpf/*.bpf.c', { cwd: root }).map((path) => basename(path, '.c'));
    expect(names('agent', 'opt/portcullis/dist').filter((name) => name.endsWith('.o'))).toEqual(
      sources.map((name) => `${name}.o`).toSorted(),
    );
  });

  test('is there: the CRDs that the operator applies', () => {
    expect(names('operator', 'opt/portcullis/crds')).toEqual(readdirSync(join(root, 'crds')).toSorted());
    for (const name of names('operator', 'opt/portcullis/crds'))
      expect(readFileSync(join(images.get('operator')!.rootfs, 'opt/portcullis/crds', name), 'utf8')).toBe(
        readFileSync(join(root, 'crds', name), 'utf8'),
      );
  });
});

describe("the agent's container", () => {
  const all: readonly string[] = agentCapabilities;
  const policy = readFileSync(join(root, 'examples', 'web-node.yaml'), 'utf8');
  const start = (options: Omit<ContainerOptions, 'args'>) =>
    runContainer(images.get('agent')!, {
      args: ['run', '--policies', '/etc/given', '--state', '/run/state'],
      files: { 'web-node.yaml': policy },
      ...options,
    });

  test('needs the capabilities BPF, NET_ADMIN and PERFMON, and nothing more', async () => {
    const { stdout, stderr } = await start({ capabilities: all, stopWhenSaid: '"event":"enforcing"' });
    expect(stderr).toBe('');
    expect(stdout).toContain('"event":"enforcing"');
  });

  test.each(agentCapabilities)('says so when it has no %s, and what helps', async (missing) => {
    const { code, stderr } = await start({ capabilities: all.filter((name) => name !== missing) });
    const name = missing.replace('CAP_', '');
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`NotRoot: .*lacks the capability ${name}`));
    expect(stderr).toContain(`Add ${name} to the container's capabilities`);
    expect(stderr).toContain('agent.privileged=true');
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  test('says so when a seccomp profile refuses bpf(), and what helps', async () => {
    const { code, stderr } = await start({ capabilities: all, refusedCalls: ['bpf'] });
    expect(code).toBe(1);
    expect(stderr).toMatch(/NotRoot: .*EPERM.*seccomp profile/);
    expect(stderr).toContain('agent.seccompProfile=Unconfined');
    expect(stderr).not.toMatch(/^\s+at /m);
  });
});
