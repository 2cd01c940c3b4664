import { spawnSync } from 'node:child_process';
import {
  createReadStream,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';

/** The configuration of an image, as far as it is looked at. */
export interface ImageConfig {
  readonly architecture: string;
  readonly rootfs: { readonly diff_ids: readonly string[] };
  readonly config: {
    readonly User?: string;
    readonly Entrypoint?: readonly string[];
    readonly Cmd?: readonly string[];
    readonly Labels?: Readonly<Record<string, string>>;
  };
}

/** An image archive, OCI's or docker's, unpacked into a folder of its own that is gone after `using image = ...`. */
export class UnpackedImage implements Disposable {
  readonly config: ImageConfig;
  /** The file system that its layers make. */
  readonly rootfs: string;
  readonly #folder: string;
  readonly #layers: readonly string[];

  private constructor(folder: string, config: ImageConfig, layers: readonly string[]) {
    this.#folder = folder;
    this.config = config;
    this.#layers = layers;
    this.rootfs = join(folder, 'rootfs');
  }

  /** @throws Error when it is no image archive */
  static open(archive: string): UnpackedImage {
    const folder = mkdtempSync(join(tmpdir(), 'pc-image-'));
    try {
      const parts = join(folder, 'archive');
      unpack(archive, parts);
      const { config, layers } = contents(parts);
      const image = new UnpackedImage(folder, JSON.parse(readFileSync(config, 'utf8')) as ImageConfig, layers);
      for (const layer of layers) unpack(layer, image.rootfs);
      return image;
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Every file, folder and link, relative to the root, sorted. */
  paths(): readonly string[] {
    return [...walk(this.rootfs)].toSorted();
  }

  /** Of the unpacked layers, the lowest first: the same digest is the same layer, however it was compressed. */
  layerDigests(): readonly string[] {
    return this.config.rootfs.diff_ids;
  }

  /** Bytes of all files, as they lie on a node's disk. */
  unpackedBytes(): number {
    return this.paths()
      .map((path) => lstatSync(join(this.rootfs, path)))
      .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0);
  }

  /** Bytes that go over the network: its layers by gzip, as registries keep them. */
  async compressedBytes(): Promise<number> {
    let sum = 0;
    for (const layer of this.#layers) sum += await gzipBytes(layer);
    return sum;
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Not through links to folders, as readdir's own `recursive` goes. */
function* walk(root: string, folder = ''): Generator<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = join(folder, entry.name);
    yield path;
    if (entry.isDirectory()) yield* walk(root, path);
  }
}

interface Descriptor {
  readonly digest: string;
}

function contents(parts: string): { readonly config: string; readonly layers: readonly string[] } {
  const read = (path: string) => JSON.parse(readFileSync(join(parts, path), 'utf8'));
  const blob = ({ digest }: Descriptor) => join('blobs', ...digest.split(':'));
  if (!existsSync(join(parts, 'index.json'))) {
    const [image] = read('manifest.json') as readonly { Config: string; Layers: readonly string[] }[];
    return { config: join(parts, image!.Config), layers: image!.Layers.map((layer) => join(parts, layer)) };
  }
  let manifest = read('index.json');
  // An index may name another index, of platforms; what is made here has one.
  while (manifest.manifests) manifest = read(blob(manifest.manifests[0]));
  const layers = (manifest.layers as readonly Descriptor[]).map((layer) => join(parts, blob(layer)));
  return { config: join(parts, blob(manifest.config)), layers };
}

function unpack(file: string, folder: string): void {
  mkdirSync(folder, { recursive: true });
  const { status, stderr } = spawnSync('tar', ['--extract', '--file', file, '--directory', folder], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${file} cannot be unpacked: ${stderr}`);
}

async function gzipBytes(file: string): Promise<number> {
  let bytes = 0;
  const count = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      bytes += chunk.length;
      done();
    },
  });
  // Packed anew whoever packed it, so that figures compare.
  const packed = readFileSync(file).readUInt16BE() === 0x1f8b;
  const source = createReadStream(file);
  if (packed) await pipeline(source, createGunzip(), createGzip({ level: 6 }), count);
  else await pipeline(source, createGzip({ level: 6 }), count);
  return bytes;
}
