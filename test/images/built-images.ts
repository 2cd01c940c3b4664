// Archives of the images for every test that runs them, built once for the same sources. Run by itself it prints where they are:
// `built-images.ts [next] [arm64]`.
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { findBuilder, type ImageBuilder } from '../../scripts/images/builder.ts';
import { type ImageName, type ImageOptions, imageNames, imageRequest, imageTag } from '../../scripts/images/image.ts';
import { lockFile } from '../cluster/control-plane/file-lock.ts';
import { cacheFolder } from '../cluster/control-plane/go-programs.ts';
import { run } from '../support/command.ts';
import { standInNodeImage, standInRecipe, standInTargetImage } from './stand-in.ts';
import { makeNextTree } from './variant/next.ts';

export interface BuiltImages {
  /** Archives, of `docker.io/portcullis/agent:VERSION` and `docker.io/portcullis/operator:VERSION`, as the chart names them. */
  readonly agent: string;
  readonly operator: string;
  /** What both are tagged with. */
  readonly version: string;
  /** The folder of the chart that belongs to them. */
  readonly chart: string;
}

export interface BuiltImagesOptions {
  /** `next`: a later build of these sources, with another layout of the tables and more fields. See variant/next.ts. */
  readonly variant?: 'next';
  /** This machine's when absent. Others are tagged `localhost/portcullis-arm64/agent:VERSION`. */
  readonly platform?: 'linux/arm64';
  readonly env?: NodeJS.ProcessEnv;
  /** Gets sentences about what takes long. */
  readonly say?: (sentence: string) => void;
}

const repositoryRoot = join(import.meta.dirname, '..', '..');
const buildTimeoutMs = 900_000;
/** What was not asked for this long goes, when something new was built. */
const maxUnusedMs = 24 * 60 * 60 * 1_000;
const noContext = /(\.test\.ts$)|(\/testing\/)|(\/node_modules\/)/;

/**
 * The images of these sources:
 *
 *     const { agent, operator, chart } = await builtImages();
 *     const next = await builtImages({ variant: 'next' });
 *
 * They are kept in the cache folder by a digest of all that goes into them, so that a second call, of another process too, takes
 * some milliseconds; several may ask at a time. Their base is the stand-in (stand-in.ts) whether registries can be reached or
 * not, unless NODE_IMAGE names another. With PORTCULLIS_IMAGES=FOLDER nothing is built: FOLDER/agent.tar and
 * FOLDER/operator.tar are taken, and FOLDER/next/agent.tar and so on for the variant.
 * @throws NoImageBuilder where no program can build images
 */
export async function builtImages(options: BuiltImagesOptions = {}): Promise<BuiltImages> {
  const root = await sourcesOf(options);
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return {
    version,
    chart: join(root, 'charts', 'portcullis'),
    agent: await builtImage('agent', options),
    operator: await builtImage('operator', options),
  };
}

/** The archive of one of them alone; see builtImages(). */
export async function builtImage(name: ImageName, options: BuiltImagesOptions = {}): Promise<string> {
  const { variant, platform, env = process.env, say = sayOnStandardError } = options;
  if (env.PORTCULLIS_IMAGES) return join(env.PORTCULLIS_IMAGES, variant ?? '', `${name}.tar`);
  const cache = imageCache(env);
  const root = await sourcesOf(options);
  const target = platform?.replace('linux/', '-') ?? '';
  const salt = `${env.NODE_IMAGE || standInRecipe()} ${platform}`;
  const archive = (sources: string) => join(cache, `${name}${target}-${imageDigest(sources, name, salt)}.tar`);
  const present = archive(root);
  if (existsSync(present)) return touched(present);

  using _lock = await lockFile(join(cache, 'lock'), () => say('another run is building images; waiting for it'));
  // Sources that are edited meanwhile must not come under the digest of what they were.
  const snapshot = mkdtempSync(join(tmpdir(), 'pc-sources-'));
  try {
    for (const input of imageInputs(root, name)) cpSync(join(root, input), join(snapshot, input), { recursive: true });
    const file = archive(snapshot);
    if (existsSync(file)) return touched(file);
    say(`building the ${name}'s image${platform === undefined ? '' : ` for ${platform}`}`);
    const builder = findBuilder();
    const repository = platform === undefined ? 'docker.io/portcullis' : `localhost/portcullis${target}`;
    const bases = await basesFor(builder, platform, env);
    await build(builder, name, { root: snapshot, repository, platform, ...bases }, file);
    removeUnused(cache);
    return file;
  } finally {
    rmSync(snapshot, { recursive: true, force: true });
  }
}

function imageCache(env: NodeJS.ProcessEnv): string {
  const cache = join(cacheFolder(env), 'images');
  mkdirSync(cache, { recursive: true });
  return cache;
}

async function sourcesOf({ variant, env = process.env }: BuiltImagesOptions): Promise<string> {
  return variant === undefined ? repositoryRoot : await nextTree(imageCache(env));
}

async function basesFor(builder: ImageBuilder, platform: BuiltImagesOptions['platform'], env: NodeJS.ProcessEnv) {
  // One name stands for all the platforms of a real base.
  if (env.NODE_IMAGE) return { nodeImage: env.NODE_IMAGE };
  const nodeImage = await standInNodeImage(builder, env);
  if (platform === undefined) return { nodeImage };
  return { nodeImage, targetNodeImage: await standInTargetImage(builder, 'arm64', env) };
}

async function build(builder: ImageBuilder, name: ImageName, options: ImageOptions, file: string): Promise<void> {
  const partial = `${file}.partial`;
  rmSync(partial, { force: true });
  await run(builder.build(imageRequest(name, options)), { timeoutMs: buildTimeoutMs });
  await run(builder.save(imageTag(name, options), partial), { timeoutMs: buildTimeoutMs });
  renameSync(partial, file);
}

/** Made once of the same sources, since an image is built out of it only when it is not there. */
async function nextTree(cache: string): Promise<string> {
  const parts = ['charts', 'crds', 'scripts', 'docs/policies.md', 'test/images/variant/next.ts'];
  const inputs = imageNames.flatMap((name) => imageInputs(repositoryRoot, name));
  const tree = join(cache, `next-${digestOf(repositoryRoot, [...inputs, ...parts], '')}`);
  if (!existsSync(tree)) {
    using _lock = await lockFile(join(cache, 'next.lock'), () => {});
    if (!existsSync(tree)) {
      const partial = `${tree}.partial`;
      rmSync(partial, { recursive: true, force: true });
      makeNextTree(repositoryRoot, partial);
      renameSync(partial, tree);
    }
  }
  return touched(tree);
}

/** Of all that goes into an image. */
export function imageDigest(root: string, name: ImageName, base: string): string {
  return digestOf(root, imageInputs(root, name), base);
}

/** Files and folders that an image is made from: those that its Dockerfile copies, and itself. */
export function imageInputs(root: string, name: ImageName): readonly string[] {
  const dockerfile = `Dockerfile.${name}`;
  const copies = [...readFileSync(join(root, dockerfile), 'utf8').matchAll(/^COPY (?!--from)(.+) \S+$/gm)];
  return [dockerfile, '.dockerignore', ...copies.flatMap(([, sources]) => sources!.split(' '))];
}

function digestOf(root: string, paths: readonly string[], salt: string): string {
  const files = new Set(paths.flatMap((path) => filesBelow(join(root, path))));
  const hash = createHash('sha256').update(`${process.arch} ${salt}`);
  for (const file of [...files].sort()) {
    if (noContext.test(file)) continue;
    const content = readFileSync(file);
    hash.update(`\n${relative(root, file)} ${statSync(file).mode & 0o111} ${content.length}\n`).update(content);
  }
  return hash.digest('hex').slice(0, 16);
}

function filesBelow(path: string): readonly string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function removeUnused(cache: string): void {
  for (const entry of readdirSync(cache)) {
    const path = join(cache, entry);
    if (entry.endsWith('lock') || Date.now() - statSync(path).mtimeMs < maxUnusedMs) continue;
    rmSync(path, { recursive: true, force: true });
  }
}

/** As used just now. */
function touched(path: string): string {
  const now = new Date();
  utimesSync(path, now, now);
  return path;
}

function sayOnStandardError(sentence: string): void {
  process.stderr.write(`images: ${sentence}\n`);
}

if (import.meta.main) {
  const words = process.argv.slice(2);
  const unknown = words.find((word) => !['next', 'arm64'].includes(word));
  if (unknown !== undefined) throw new Error(`unknown word ${unknown}: only next and arm64`);
  const built = await builtImages({
    ...(words.includes('next') && { variant: 'next' }),
    ...(words.includes('arm64') && { platform: 'linux/arm64' }),
  });
  process.stdout.write(`${JSON.stringify(built, undefined, 2)}\n`);
}
