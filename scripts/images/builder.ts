import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

export interface BuildRequest {
  /** Of the repository. */
  readonly root: string;
  readonly dockerfile: string;
  /** Whole: `docker.io/portcullis/agent:0.1.0`. */
  readonly tag: string;
  /** `linux/amd64`; the machine's own when absent. */
  readonly platform?: string | undefined;
  readonly args: Readonly<Record<string, string>>;
  /** Files by the id that a RUN step mounts them by. */
  readonly secrets: Readonly<Record<string, string>>;
}

/** One of the programs that make images out of a Dockerfile. */
export interface ImageBuilder {
  readonly name: 'docker' | 'podman' | 'buildah';
  build(request: BuildRequest): readonly string[];
  /** Ends with 0 when an image is here already. */
  isHere(image: string): readonly string[];
  pull(image: string): readonly string[];
  /** Writes an image as an archive that containerd imports. */
  save(tag: string, file: string): readonly string[];
}

/** None of the programs can build here; the message says why each cannot. */
export class NoImageBuilder extends Error {
  override readonly name = 'NoImageBuilder';
}

interface Candidate extends ImageBuilder {
  /** What must end with 0, with what it tells when it does not. */
  readonly conditions: readonly (readonly [argv: readonly string[], obstacle: string])[];
}

const shared = ({ dockerfile, tag, platform, args, secrets, root }: BuildRequest): readonly string[] => [
  ...['--file', join(root, dockerfile), '--tag', tag],
  ...(platform === undefined ? [] : ['--platform', platform]),
  ...Object.entries(args).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]),
  ...Object.entries(secrets).flatMap(([id, file]) => ['--secret', `id=${id},src=${file}`]),
  root,
];

/** buildah up to 1.28, and podman with it, do not know this variable in `FROM --platform=`, and look for a base of the target. */
const buildPlatform = [
  '--build-arg',
  `BUILDPLATFORM=linux/${{ x64: 'amd64' }[process.arch as string] ?? process.arch}`,
];

const candidates: readonly Candidate[] = [
  {
    name: 'docker',
    conditions: [
      [['docker', 'info'], 'no daemon of it answers'],
      [['docker', 'buildx', 'version'], 'it has no buildx'],
    ],
    build: (request) => ['docker', 'buildx', 'build', '--load', ...shared(request)],
    isHere: (image) => ['docker', 'image', 'inspect', image],
    pull: (image) => ['docker', 'pull', '--quiet', image],
    save: (tag, file) => ['docker', 'save', '--output', file, tag],
  },
  {
    name: 'podman',
    conditions: [[['podman', 'info'], 'it does not work here']],
    build: (request) => ['podman', 'build', '--layers', '--format', 'oci', ...buildPlatform, ...shared(request)],
    isHere: (image) => ['podman', 'image', 'exists', image],
    pull: (image) => ['podman', 'pull', '--quiet', image],
    save: (tag, file) => ['podman', 'save', '--format', 'oci-archive', '--output', file, tag],
  },
  {
    name: 'buildah',
    conditions: [[['buildah', 'info'], 'it does not work here']],
    // In a chroot, and in the network of who builds: no container runtime has to be there.
    build: (request) => [
      ...['buildah', 'build', '--layers', '--format', 'oci', '--isolation', 'chroot', '--network', 'host'],
      ...buildPlatform,
      ...shared(request),
    ],
    isHere: (image) => ['buildah', 'inspect', '--type', 'image', image],
    pull: (image) => ['buildah', 'pull', '--quiet', image],
    save: (tag, file) => ['buildah', 'push', '--quiet', tag, `oci-archive:${file}:${tag}`],
  },
];

/**
 * The first program that can build here, or the one that is asked for.
 * @throws NoImageBuilder
 */
export function findBuilder(wanted?: string, succeeds = endsWell): ImageBuilder {
  const asked = candidates.filter(({ name }) => wanted === undefined || name === wanted);
  if (asked.length === 0)
    throw new NoImageBuilder(`${wanted} is none of ${candidates.map(({ name }) => name).join(', ')}`);
  const obstacles: string[] = [];
  for (const candidate of asked) {
    const failed = candidate.conditions.find(([argv]) => !succeeds(argv));
    if (failed === undefined) return candidate;
    obstacles.push(
      succeeds([candidate.name, '--version']) ? `${candidate.name}: ${failed[1]}` : `no ${candidate.name}`,
    );
  }
  throw new NoImageBuilder(
    `nothing here builds images (${obstacles.join('; ')}): install one of them, such as Debian's buildah`,
  );
}

function endsWell([program, ...args]: readonly string[]): boolean {
  const { error, status } = spawnSync(program!, args, { stdio: 'ignore', timeout: 30_000 });
  return error === undefined && status === 0;
}
