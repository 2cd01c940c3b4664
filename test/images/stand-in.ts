import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { ImageBuilder } from '../../scripts/images/builder.ts';
import { lockFile } from '../cluster/control-plane/file-lock.ts';
import { cacheFolder } from '../cluster/control-plane/go-programs.ts';
import { nodePath, run } from '../support/command.ts';

/** A name before a slash, so that no builder looks for it at a registry. */
export const standInImage = 'localhost/portcullis-stand-in-node:trixie';
/** What is built upon the stand-in has it too, so that what is left of it can be told from other images. */
export const standInLabel = 'dev.portcullis.stand-in=true';
const targetImage = (architecture: string) => `localhost/portcullis-stand-in-node-${architecture}:latest`;
const release = 'trixie';
const maxAgeMs = 14 * 24 * 60 * 60 * 1_000;
const buildTimeoutMs = 600_000;
const maxUnusedMs = 2 * 60 * 60 * 1_000;

const debian = [
  ...['mmdebstrap', '--variant=minbase', '--include=ca-certificates', '--mode=root'],
  // As Debian's own images have it: else each RUN step would keep what apt downloaded.
  `--aptopt=Binary::apt::APT::Keep-Downloaded-Packages "false"`,
  `--aptopt=Dir::Cache::pkgcache ""`,
  `--aptopt=Dir::Cache::srcpkgcache ""`,
  '--dpkgopt=force-unsafe-io',
  release,
];
const dockerfile = `FROM scratch
LABEL ${standInLabel}
ADD debian.tar /
COPY local /usr/local
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
`;
const targetDockerfile = `FROM scratch
LABEL ${standInLabel}
COPY local /usr/local
`;
// The text comes with Node.js's own archive and images, not with the npm package.
const license = 'Node.js is licensed for use as its authors say: https://github.com/nodejs/node/blob/main/LICENSE\n';

/**
 * Makes an image that has what the Dockerfiles ask of theirs, out of Debian's packages and the Node.js and npm of this machine:
 * where no image registry can be reached, the same Dockerfiles are tried on it. Returns its name.
 */
export async function standInNodeImage(builder: ImageBuilder, env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const folder = await keptFolder(`stand-in-${standInRecipe()}`, env, async (partial) => {
    await run([...debian, join(partial, 'debian.tar')], { timeoutMs: buildTimeoutMs });
    const local = join(partial, 'local');
    addNode(local, realpathSync(nodePath));
    mkdirSync(join(local, 'lib', 'node_modules'), { recursive: true });
    const { stdout: npm } = await run(['sh', '-c', 'readlink -f "$(command -v npm)"']);
    cpSync(dirname(dirname(npm.trim())), join(local, 'lib', 'node_modules', 'npm'), { recursive: true });
    symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(local, 'bin', 'npm'));
    writeFileSync(join(partial, 'Dockerfile'), dockerfile);
  });
  await run(builder.build({ root: folder, dockerfile: 'Dockerfile', tag: standInImage, args: {}, secrets: {} }), {
    timeoutMs: buildTimeoutMs,
  });
  await removeOldLayers(builder);
  return standInImage;
}

/**
 * The same for TARGET_NODE_IMAGE, of which only Node.js is taken: that of another architecture, as its npm package brings it.
 * Nothing of it runs here.
 */
export async function standInTargetImage(
  builder: ImageBuilder,
  architecture: 'arm64',
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  const version = await nodeVersion();
  const folder = await keptFolder(
    `stand-in-${architecture}-${digest(version, targetDockerfile)}`,
    env,
    async (partial) => {
      const source = `node-linux-${architecture}`;
      await run(['npm', 'install', '--prefix', partial, '--force', '--no-audit', '--no-fund', `${source}@${version}`], {
        timeoutMs: buildTimeoutMs,
      });
      addNode(join(partial, 'local'), join(partial, 'node_modules', source, 'bin', 'node'));
      for (const name of ['node_modules', 'package.json', 'package-lock.json'])
        rmSync(join(partial, name), { recursive: true, force: true });
      writeFileSync(join(partial, 'Dockerfile'), targetDockerfile);
    },
  );
  const tag = targetImage(architecture);
  const request = {
    root: folder,
    dockerfile: 'Dockerfile',
    tag,
    platform: `linux/${architecture}`,
    args: {},
    secrets: {},
  };
  await run(builder.build(request), { timeoutMs: buildTimeoutMs });
  return tag;
}

/** Another one for another Node.js, and now and then for newer packages. */
export function standInRecipe(): string {
  return digest(...debian, dockerfile, realpathSync(nodePath), `${Math.floor(Date.now() / maxAgeMs)}`);
}

function digest(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 16);
}

async function nodeVersion(): Promise<string> {
  return (await run([nodePath, '--version'])).stdout.trim().replace('v', '');
}

function addNode(local: string, node: string): void {
  mkdirSync(join(local, 'bin'), { recursive: true });
  copyFileSync(node, join(local, 'bin', 'node'));
  chmodSync(join(local, 'bin', 'node'), 0o755);
  writeFileSync(join(local, 'LICENSE'), license);
}

/** The context of a build, kept from run to run: mmdebstrap takes a quarter of a minute. */
async function keptFolder(
  name: string,
  env: NodeJS.ProcessEnv,
  fill: (folder: string) => Promise<void>,
): Promise<string> {
  const cache = cacheFolder(env);
  mkdirSync(cache, { recursive: true });
  const folder = join(cache, name);
  using _lock = await lockFile(join(cache, 'stand-in.lock'), () => {});
  if (existsSync(folder)) return folder;
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  await fill(partial);
  renameSync(partial, folder);
  return folder;
}

/** Layers of builds of yesterday's sources, half a gigabyte each, which nobody else removes: docker bounds them by itself. */
async function removeOldLayers(builder: ImageBuilder): Promise<void> {
  if (builder.name === 'docker') return;
  const filters = ['--filter', 'dangling=true', '--filter', `label=${standInLabel}`];
  const format = '{{.ID}} {{.CreatedAtRaw}}';
  const { stdout } = await run([builder.name, 'images', ...filters, '--format', format], { allowFailure: true });
  const old = stdout
    .split('\n')
    .map((line) => /^(\w+) (\S+ \S+)/.exec(line))
    .filter((match) => match !== null && Date.now() - Date.parse(`${match[2]}Z`) > maxUnusedMs)
    .map((match) => match![1]!);
  // One that something is built upon stays; that is no fault.
  if (old.length > 0) await run([builder.name, 'rmi', ...old], { allowFailure: true, timeoutMs: buildTimeoutMs });
}
