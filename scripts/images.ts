// Builds the images: `images.ts [--save FOLDER] [agent] [operator]`. With docker, podman or buildah, whichever works here.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { standInNodeImage, standInTargetImage } from '../test/images/stand-in.ts';
import { UnpackedImage } from './images/archive.ts';
import { findBuilder, type ImageBuilder, NoImageBuilder } from './images/builder.ts';
import { type ImageName, type ImageOptions, imageNames, imageRequest, imageTag, pinnedBase } from './images/image.ts';

const usage = `usage: images.ts [options] [agent] [operator]
  --builder NAME        docker, podman or buildah; the first that works when absent
  --repository NAME     before /agent and /operator; docker.io/portcullis when absent
  --version VERSION     tag and label; that of package.json when absent
  --platform PLATFORM   linux/amd64 or linux/arm64; this machine's when absent
  --node-image IMAGE    instead of what the Dockerfiles pin; NODE_IMAGE in the environment does the same
  --target-node-image IMAGE
  --stand-in            on a base made of Debian's packages and the Node.js of this machine, where no registry can be reached
  --save FOLDER         write FOLDER/agent.tar and FOLDER/operator.tar, and say how large they are
`;

const { values, positionals } = (() => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        builder: { type: 'string' },
        repository: { type: 'string', default: 'docker.io/portcullis' },
        version: { type: 'string' },
        platform: { type: 'string' },
        'node-image': { type: 'string' },
        'target-node-image': { type: 'string' },
        'stand-in': { type: 'boolean', default: false },
        save: { type: 'string' },
      },
    });
  } catch (error) {
    fail(`${(error as Error).message}\n${usage}`);
  }
})();
const unknown = positionals.find((name) => !(imageNames as readonly string[]).includes(name));
if (unknown !== undefined) fail(`unknown image ${unknown}\n${usage}`);
const names = positionals.length === 0 ? imageNames : (positionals as readonly ImageName[]);
const root = join(import.meta.dirname, '..');

try {
  const builder = findBuilder(values.builder);
  const bases = values['stand-in'] ? await standIns(builder) : givenBases();
  const { repository, version, platform } = values;
  const options: ImageOptions = { root, repository, version, platform, ...bases };
  if (!values['stand-in']) requireBase(builder, bases.nodeImage ?? pinnedBase(root, names[0]!));
  for (const name of names) {
    run(builder.build(imageRequest(name, options)));
    const tag = imageTag(name, options);
    process.stdout.write(`images: ${tag}, by ${builder.name}\n`);
    if (values.save === undefined) continue;
    mkdirSync(values.save, { recursive: true });
    const file = join(values.save, `${name}.tar`);
    // docker adds to an archive that is there, podman refuses it.
    rmSync(file, { force: true });
    run(builder.save(tag, file));
    using image = UnpackedImage.open(file);
    const [packed, unpacked] = [await image.compressedBytes(), image.unpackedBytes()].map((bytes) => bytes / 1e6);
    process.stdout.write(
      `images: ${file}, ${packed!.toFixed(1)} MB compressed, ${unpacked!.toFixed(1)} MB unpacked, ${image.paths().length} entries\n`,
    );
  }
} catch (error) {
  if (error instanceof NoImageBuilder) fail(error.message);
  throw error;
}

function givenBases() {
  return {
    nodeImage: values['node-image'] ?? (process.env.NODE_IMAGE || undefined),
    targetNodeImage: values['target-node-image'] ?? (process.env.TARGET_NODE_IMAGE || undefined),
  };
}

async function standIns(builder: ImageBuilder) {
  const nodeImage = await standInNodeImage(builder);
  const target = values.platform?.replace('linux/', '');
  if (target === undefined || target === { x64: 'amd64', arm64: 'arm64' }[process.arch as string]) return { nodeImage };
  if (target !== 'arm64')
    fail(`--stand-in has no Node.js for ${values.platform}, only for linux/arm64 and this machine's own`);
  return { nodeImage, targetNodeImage: await standInTargetImage(builder, target) };
}

/** In one sentence what a builder would say in ten, and what to do. */
function requireBase(builder: ImageBuilder, image: string): void {
  const [program, ...args] = builder.isHere(image);
  if (spawnSync(program!, args, { stdio: 'ignore' }).status === 0) return;
  const [puller, ...rest] = builder.pull(image);
  const { status, stderr } = spawnSync(puller!, rest, { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });
  if (status === 0) return;
  const reason = stderr.trim().split('\n').at(-1);
  fail(`the base ${image} cannot be had by ${builder.name} (${reason})
  From another registry:   make images NODE_IMAGE=registry.example/node:24-trixie-slim
  Without any registry:    make images IMAGES=--stand-in    (Debian's packages and this machine's Node.js; to try them, not to publish)`);
}

function run([program, ...args]: readonly string[]): void {
  const { status } = spawnSync(program!, args, { stdio: 'inherit' });
  if (status !== 0) fail(`${[program, ...args].join(' ')} ended with ${status}`);
}

function fail(message: string): never {
  process.stderr.write(`images: ${message}\n`);
  process.exit(1);
}
