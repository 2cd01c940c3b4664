import { readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parsePrefixOrAddress } from '../../api/cidr.ts';
import { PortcullisError } from '../../api/errors.ts';
import { validateObject } from '../../api/validate.ts';
import { blockFlag } from '../datapath/layout.ts';
import { writeAtomically } from '../report/file.ts';
import { readSavedCluster, type SavedCluster } from '../source/cluster-state.ts';
import type { SourcedObject } from '../source/directory.ts';

const FORMAT_VERSION = 1;
const OBJECTS_FILE = 'objects.json';
const BLOCKS_FILE = 'blocks.json';
const CLUSTER_FILE = 'cluster.json';
/** Prefixes of lists out of ConfigMaps: files named by what they hold, so that one which is there need not be written again. */
const CHUNKS_FOLDER = 'prefix-chunks';
/** A block table's worth of blocks is about 20 MB; more cannot be ours. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** A block as it is kept over a reboot: wall clock times, names instead of ids. */
export interface SavedBlock {
  /** Canonical address or prefix. */
  readonly source: string;
  /** Absent for a manual block. */
  readonly policy?: string;
  readonly flags: number;
  readonly probes: number;
  readonly ports: readonly number[];
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly packetsDropped: number;
  /** Of a manual block. */
  readonly reason?: string;
}

export interface KeptBlocks {
  /** The kernel has them in its tables, if those can be read and were not detached on purpose. */
  readonly ofThisBoot: boolean;
  readonly blocks: readonly SavedBlock[];
}

/** The kernel's id of this boot: it tells a reboot from a restart of the agent. */
export const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

/** What `--state` keeps over a reboot: the last good objects, and the blocks that were in force. */
export class StateStore {
  readonly #folder: string;
  #savedObjects = '';
  #savedBlocks = '';
  #savedCluster = '';

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** @throws PortcullisError StateUnreadable when the folder cannot be made */
  async prepare(): Promise<void> {
    try {
      await mkdir(join(this.#folder, CHUNKS_FOLDER), { recursive: true, mode: 0o700 });
    } catch (cause) {
      throw unreadable(this.#folder, cause);
    }
  }

  /** Empty when nothing was saved; what is no valid object is left out. @throws PortcullisError StateUnreadable for a file that is not ours or damaged */
  async loadObjects(): Promise<readonly SourcedObject[]> {
    const saved = await this.#load(OBJECTS_FILE);
    return isRecord(saved) && Array.isArray(saved.objects) ? saved.objects.flatMap(sourcedObject) : [];
  }

  async saveObjects(objects: readonly SourcedObject[]): Promise<void> {
    const text = JSON.stringify({ formatVersion: FORMAT_VERSION, objects });
    if (text === this.#savedObjects) return;
    await writeAtomically(join(this.#folder, OBJECTS_FILE), text);
    this.#savedObjects = text;
  }

  /** Undefined when nothing was saved, or by the agent of another node. @throws PortcullisError StateUnreadable for a file that is not ours or damaged */
  async loadCluster(nodeName: string): Promise<SavedCluster | undefined> {
    const saved = await this.#load(CLUSTER_FILE);
    return isRecord(saved) ? readSavedCluster(saved.cluster, nodeName) : undefined;
  }

  /** `textOf` gives a chunk of one of the prefix sets, as long as it is not on disk already. */
  async saveCluster(cluster: SavedCluster, textOf: (chunk: string) => string | undefined): Promise<void> {
    const text = JSON.stringify({ formatVersion: FORMAT_VERSION, cluster });
    if (text === this.#savedCluster) return;
    const folder = join(this.#folder, CHUNKS_FOLDER);
    const wanted = new Set(Object.values(cluster.prefixSets).flatMap(({ chunks }) => chunks));
    const standing = new Set(await readdir(folder));
    for (const chunk of wanted) {
      const content = standing.has(chunk) ? undefined : textOf(chunk);
      if (content !== undefined) await writeAtomically(join(folder, chunk), content);
    }
    await writeAtomically(join(this.#folder, CLUSTER_FILE), text);
    // Last: until here the file that stands may name them.
    for (const name of standing) if (!wanted.has(name)) await rm(join(folder, name), { force: true });
    this.#savedCluster = text;
  }

  /** The text of a chunk; undefined when it was not saved. What it holds is checked against its name by whoever uses it. */
  async loadChunk(name: string): Promise<string | undefined> {
    return await this.#read(join(this.#folder, CHUNKS_FOLDER, basename(name)));
  }

  /** Blocks that were saved and still hold; undefined when none were saved. @throws PortcullisError StateUnreadable */
  async loadBlocks(nowMs: number): Promise<KeptBlocks | undefined> {
    const saved = await this.#load(BLOCKS_FILE);
    if (!isRecord(saved) || !Array.isArray(saved.blocks)) return undefined;
    const blocks = saved.blocks.filter(isSavedBlock).filter(({ untilMs }) => untilMs > nowMs);
    return { ofThisBoot: saved.bootId === bootId(), blocks };
  }

  async saveBlocks(blocks: readonly SavedBlock[]): Promise<void> {
    const text = JSON.stringify({ formatVersion: FORMAT_VERSION, bootId: bootId(), blocks });
    if (text === this.#savedBlocks) return;
    await writeAtomically(join(this.#folder, BLOCKS_FILE), text);
    this.#savedBlocks = text;
  }

  /** Takes away all that was ever written here; the folder itself stays, which may be a mount. */
  async clear(): Promise<void> {
    for (const name of [OBJECTS_FILE, BLOCKS_FILE, CLUSTER_FILE]) await rm(join(this.#folder, name), { force: true });
    await rm(join(this.#folder, CHUNKS_FOLDER), { recursive: true, force: true });
  }

  /** Takes a source's blocks out of the file, for `unblock` while no agent runs. */
  async forgetBlocks(isLifted: (block: SavedBlock) => boolean): Promise<void> {
    const saved = await this.#load(BLOCKS_FILE);
    if (!isRecord(saved) || !Array.isArray(saved.blocks)) return;
    const blocks = saved.blocks.filter((block) => isSavedBlock(block) && !isLifted(block));
    await writeAtomically(join(this.#folder, BLOCKS_FILE), JSON.stringify({ ...saved, blocks }));
  }

  async #load(name: string): Promise<unknown> {
    const path = join(this.#folder, name);
    const text = await this.#read(path);
    if (text === undefined) return undefined;
    try {
      if (text.length > MAX_FILE_BYTES) throw new Error(`${text.length} bytes are too many`);
      const value: unknown = JSON.parse(text);
      if (!isRecord(value) || value.formatVersion !== FORMAT_VERSION)
        throw new Error(
          `format version ${isRecord(value) ? String(value.formatVersion) : 'none'} is not ${FORMAT_VERSION}`,
        );
      return value;
    } catch (cause) {
      throw unreadable(path, cause);
    }
  }

  /** Undefined when there is no such file. */
  async #read(path: string): Promise<string | undefined> {
    try {
      return await readFile(path, 'utf8');
    } catch (cause) {
      if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
      throw unreadable(path, cause);
    }
  }
}

const unreadable = (path: string, cause: unknown): PortcullisError =>
  new PortcullisError('StateUnreadable', `${path}: ${cause instanceof Error ? cause.message : String(cause)}`, {
    field: '--state',
    value: path,
    cause,
  });

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Another version wrote the file, or somebody edited it: what does not hold as a policy today would stop the agent from applying any. */
const sourcedObject = (saved: unknown): SourcedObject[] => {
  if (!isRecord(saved) || typeof saved.file !== 'string' || basename(saved.file) !== saved.file) return [];
  const { object } = validateObject(saved.object);
  if (object === undefined) return [];
  const line = Number.isSafeInteger(saved.line) ? (saved.line as number) : 1;
  return [{ file: saved.file, kind: object.kind, name: object.metadata.name, line, object } as SourcedObject];
};

const isWhole = (value: unknown, most: number): boolean =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= most;

/** What a block's source can be: one address or an IPv6 prefix as detection aggregates; by hand, what `block` takes. */
const isSource = (text: unknown, byHand: boolean): boolean => {
  const prefix = typeof text === 'string' ? parsePrefixOrAddress(text) : undefined;
  if (!prefix) return false;
  const [shortest4, shortest6] = byHand ? [8, 16] : [32, 48];
  return prefix.length >= (prefix.family === 4 ? shortest4 : shortest6);
};

/** The latest time that Date knows. */
const MAX_TIME_MS = 8.64e15;
const MAX_U32 = 0xffff_ffff;

/** The file may have been edited by hand: what is not a block is left out, and nothing of it reaches the kernel. */
const isSavedBlock = (value: unknown): value is SavedBlock =>
  isRecord(value) &&
  (value.policy === undefined || typeof value.policy === 'string') &&
  (value.reason === undefined || typeof value.reason === 'string') &&
  isSource(value.source, value.policy === undefined) &&
  (value.flags === 0 || value.flags === blockFlag.BLOCK_PROVEN) &&
  isWhole(value.probes, MAX_U32) &&
  isWhole(value.packetsDropped, Number.MAX_SAFE_INTEGER) &&
  isWhole(value.sinceMs, MAX_TIME_MS) &&
  isWhole(value.untilMs, MAX_TIME_MS) &&
  Array.isArray(value.ports) &&
  value.ports.every((port) => Number.isInteger(port) && port >= 0 && port <= 0xffff);
