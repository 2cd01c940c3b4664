import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BpfMap, mapFlag, mapType } from '../../agent/libbpf/map.ts';
import { BpfObject } from '../../agent/libbpf/object.ts';
import type { BpfProgram } from '../../agent/libbpf/program.ts';

const root = join(import.meta.dirname, '..', '..');
const NEWEST_CLANG = 22;
const OLDEST_CLANG = 16;

const clangNames = function* (): Generator<string> {
  if (process.env.CLANG) yield process.env.CLANG;
  for (let version = NEWEST_CLANG; version >= OLDEST_CLANG; version--) yield `clang-${version}`;
  yield 'clang';
};

const images = new Map<string, Buffer>();

/** Compiles test/bench/NAME.bpf.c with the flags of the product's own objects. Once a run: it takes half a second. */
const image = (name: string): Buffer => {
  const known = images.get(name);
  if (known) return known;
  const folder = join(root, 'build', 'bench');
  mkdirSync(folder, { recursive: true });
  const output = join(folder, `${name}.bpf.o`);
  const multiarch = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[process.arch as 'x64' | 'arm64'];
  const include = multiarch ? ['-idirafter', `/usr/include/${multiarch}`] : [];
  const flags = ['-target', 'bpf', '-mcpu=v3', '-O2', '-g', '-Wall', ...include];
  const source = join(import.meta.dirname, `${name}.bpf.c`);
  for (const clang of clangNames()) {
    try {
      execFileSync(clang, [...flags, '-c', source, '-o', output], { stdio: ['ignore', 'inherit', 'inherit'] });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
      throw error;
    }
    const bytes = readFileSync(output);
    images.set(name, bytes);
    return bytes;
  }
  throw new Error(`no clang ${OLDEST_CLANG} or newer found: run \`make setup\``);
};

/** Loads a program of a benchmark object onto these maps; `config` are its read-only constants, if it has any. */
export const loadBenchProgram = async (
  object: string,
  program: string,
  maps: ReadonlyMap<string, BpfMap>,
  config?: Buffer,
): Promise<BpfProgram> => {
  using opened = BpfObject.open(image(object));
  for (const name of opened.mapNames) {
    const map = maps.get(name);
    if (map) opened.reuse(name, map);
  }
  if (config) opened.setReadOnlyData(config);
  await opened.load(program);
  return opened.takeProgram(program);
};

/** Entries of the array of sources that rotate.h reads. */
export const KEYS = 1 << 20;
const KEY_BYTES = 8;
const CURSOR_BYTES = 8;

/** The sources that rotate.h walks through, shared with the program. */
export class RotatedKeys {
  readonly maps: ReadonlyMap<string, BpfMap>;
  readonly #keys: BpfMap;
  readonly #cursor: BpfMap;
  readonly #view: Uint8Array;
  readonly #unmap: () => void;

  constructor() {
    this.#keys = BpfMap.create('bench_keys', {
      type: mapType.array,
      keyBytes: 4,
      valueBytes: KEY_BYTES,
      maxEntries: KEYS,
      flags: mapFlag.mmapable,
    });
    this.#cursor = BpfMap.create('bench_cursor', {
      type: mapType.array,
      keyBytes: 4,
      valueBytes: CURSOR_BYTES,
      maxEntries: 1,
      flags: 0,
    });
    this.maps = new Map([
      ['bench_keys', this.#keys],
      ['bench_cursor', this.#cursor],
    ]);
    const mapped = this.#keys.mmap();
    this.#view = new Uint8Array(mapped.memory);
    this.#unmap = mapped.unmap;
  }

  /** Puts keys in place and starts at the first; their number must be a power of two. */
  use(keys: Buffer): void {
    const count = keys.length / KEY_BYTES;
    if (count > KEYS || (count & (count - 1)) !== 0) throw new Error(`${count} keys: a power of two up to ${KEYS}`);
    this.#view.set(keys);
    const cursor = Buffer.alloc(CURSOR_BYTES);
    cursor.writeUInt32LE(count - 1, 4);
    this.#cursor.update(Buffer.alloc(4), cursor);
  }

  /** Frames that have been given a source since `use`, modulo 2^32. */
  get walked(): number {
    return this.#cursor.lookup(Buffer.alloc(4))!.readUInt32LE(0);
  }

  close(): void {
    this.#unmap();
    this.#keys.close();
    this.#cursor.close();
  }
}
