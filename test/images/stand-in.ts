import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
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

export const standInImage = 'localhost/portcullis-stand-in-node:trixie';
const release = 'trixie';
const maxAgeMs = 14 * 24 * 60 * 60 * 1_000;
const buildTimeoutMs = 300_000;

/**
 * Makes an image that has what the Dockerfiles ask of theirs, out of Debian's packages and the Node.js and npm of this machine:
 * where no image registry can be reached, the same Dockerfiles are tried on it. Returns its name.
 */
export async function standInNodeImage(builder: ImageBuilder, env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const folder = await standInFolder(env);
  const argv = builder.build({
    root: folder,
    dockerfile: 'Dockerfile',
    tag: standInImage,
    args: {},
    secrets: {},
  });
  await run(argv, { timeoutMs: buildTimeoutMs });
  return standInImage;
}

/** The context of its build, kept from run to run: mmdebstrap takes a quarter of a minute. */
async function standInFolder(env: NodeJS.ProcessEnv): Promise<string> {
  const cache = cacheFolder(env);
  mkdirSync(cache, { recursive: true });
  const folder = join(cache, `stand-in-${standInRecipe()}`);
  using _lock = await lockFile(join(cache, 'stand-in.lock'), () => {});
  if (existsSync(folder)) return folder;
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  await run(
    [
      ...['mmdebstrap', '--variant=minbase', '--include=ca-certificates', '--mode=root'],
      // As Debian's own images have it: else each RUN step would keep what apt downloaded.
      `--aptopt=Binary::apt::APT::Keep-Downloaded-Packages "false"`,
      `--aptopt=Dir::Cache::pkgcache ""`,
      `--aptopt=Dir::Cache::srcpkgcache ""`,
      '--dpkgopt=force-unsafe-io',
      ...[release, join(partial, 'debian.tar')],
    ],
    { timeoutMs: buildTimeoutMs },
  );
  const local = join(partial, 'local');
  mkdirSync(join(local, 'bin'), { recursive: true });
  mkdirSync(join(local, 'lib', 'node_modules'), { recursive: true });
  copyFileSync(realpathSync(nodePath), join(local, 'bin', 'node'));
  chmodSync(join(local, 'bin', 'node'), 0o755);
  // The text comes with Node.js's own archive and images, not with the npm package.
  writeFileSync(
    join(local, 'LICENSE'),
    'Node.js is licensed for use as its authors say: https://github.com/nodejs/node/blob/main/LICENSE\n',
  );
  const { stdout: npm } = await run(['sh', '-c', 'readlink -f "$(command -v npm)"']);
  cpSync(dirname(dirname(npm.trim())), join(local, 'lib', 'node_modules', 'npm'), { recursive: true });
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(local, 'bin', 'npm'));
  writeFileSync(
    join(partial, 'Dockerfile'),
    'FROM scratch\nADD debian.tar /\nCOPY local /usr/local\nENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n',
  );
  renameSync(partial, folder);
  return folder;
}

/** Another one for another Node.js, and now and then for newer packages. */
export function standInRecipe(): string {
  const hash = createHash('sha256').update(readFileSync(import.meta.filename));
  return hash
    .update(`${realpathSync(nodePath)} ${Math.floor(Date.now() / maxAgeMs)}`)
    .digest('hex')
    .slice(0, 16);
}
