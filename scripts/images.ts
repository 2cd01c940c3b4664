// Builds the images: `images.ts [--save FOLDER] [agent] [operator]`. With docker, podman or buildah, whichever works here.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { UnpackedImage } from './images/archive.ts';
import { findBuilder, NoImageBuilder } from './images/builder.ts';
import { type ImageName, type ImageOptions, imageNames, imageRequest, imageTag } from './images/image.ts';

const usage = `usage: images.ts [options] [agent] [operator]
  --builder NAME        docker, podman or buildah; the first that works when absent
  --repository NAME     before /agent and /operator; docker.io/portcullis when absent
  --version VERSION     tag and label; that of package.json when absent
  --platform PLATFORM   linux/amd64 or linux/arm64; this machine's when absent
  --node-image IMAGE    instead of what the Dockerfiles pin
  --target-node-image IMAGE
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
const options: ImageOptions = {
  root: join(import.meta.dirname, '..'),
  repository: values.repository,
  version: values.version,
  platform: values.platform,
  nodeImage: values['node-image'],
  targetNodeImage: values['target-node-image'],
};

try {
  const builder = findBuilder(values.builder);
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

function run([program, ...args]: readonly string[]): void {
  const { status } = spawnSync(program!, args, { stdio: 'inherit' });
  if (status !== 0) fail(`${[program, ...args].join(' ')} ended with ${status}`);
}

function fail(message: string): never {
  process.stderr.write(`images: ${message}\n`);
  process.exit(1);
}
