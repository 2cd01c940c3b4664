import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BuildRequest } from './builder.ts';

export const imageNames = ['agent', 'operator'] as const;
export type ImageName = (typeof imageNames)[number];

export interface ImageOptions {
  readonly root: string;
  /** `docker.io/portcullis` */
  readonly repository: string;
  /** Of package.json when absent. */
  readonly version?: string | undefined;
  readonly platform?: string | undefined;
  /** Instead of what the Dockerfile pins. */
  readonly nodeImage?: string | undefined;
  /** Where node of the target is taken from, where that is not `nodeImage`. */
  readonly targetNodeImage?: string | undefined;
}

/** `docker.io/portcullis/agent:0.1.0` */
export function imageTag(name: ImageName, { root, repository, version }: ImageOptions): string {
  return `${repository}/${name}:${version ?? packageVersion(root)}`;
}

export function imageRequest(name: ImageName, options: ImageOptions, env = process.env): BuildRequest {
  const { root, platform, nodeImage, targetNodeImage } = options;
  return {
    root,
    dockerfile: `Dockerfile.${name}`,
    tag: imageTag(name, options),
    platform,
    args: {
      VERSION: options.version ?? packageVersion(root),
      ...origin(root),
      ...(nodeImage === undefined ? {} : { NODE_IMAGE: nodeImage }),
      ...(targetNodeImage === undefined ? {} : { TARGET_NODE_IMAGE: targetNodeImage }),
    },
    secrets: certificates(env),
  };
}

/** What a Dockerfile stands on when nothing else is given. */
export function pinnedBase(root: string, name: ImageName): string {
  const file = join(root, `Dockerfile.${name}`);
  const found = /^ARG NODE_IMAGE=(\S+)$/m.exec(readFileSync(file, 'utf8'))?.[1];
  if (found === undefined) throw new Error(`${file} pins no NODE_IMAGE`);
  return found;
}

function packageVersion(root: string): string {
  return (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;
}

/** The commit and its time, which make the same image of the same sources; nothing outside of a checkout. */
function origin(root: string): Readonly<Record<string, string>> {
  const git = (...args: readonly string[]) => {
    const { status, stdout } = spawnSync('git', ['-C', root, ...args], { encoding: 'utf8' });
    return status === 0 ? stdout.trim() : undefined;
  };
  const [revision, created] = git('log', '-1', '--format=%H %cI')?.split(' ') ?? [];
  if (revision === undefined || created === undefined) return {};
  const isChanged = git('status', '--porcelain', '--untracked-files=no') !== '';
  return { REVISION: isChanged ? `${revision}-modified` : revision, CREATED: created };
}

/** What Node.js on this machine is told to trust besides its own, npm in the build needs too. */
function certificates(env: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  const file = env.NODE_EXTRA_CA_CERTS;
  return file && existsSync(file) ? { ca: file } : {};
}
