import koffi from 'koffi';
import { BpfError, check } from './bpf-error.ts';
import { OwnedFd } from './fd.ts';
import { type Bytes, type Count, later, lib, type MapFd } from './ffi.ts';

/** BPF_MAP_TYPE_* of include/uapi/linux/bpf.h: the ones the agent creates itself. */
export const mapType = { hash: 1, array: 2, percpuArray: 6, lpmTrie: 11, arrayOfMaps: 12, ringbuf: 27 } as const;
/** BPF_F_* map flags. */
export const mapFlag = { noPrealloc: 1, mmapable: 1 << 10 } as const;
/** Flags of an update. */
export const updateFlag = { any: 0, noExist: 1, exist: 2 } as const;

const ENOENT = 2;
const ENOSPC = 28;

export interface MapShape {
  readonly type: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
  readonly flags: number;
}

const roundUpTo8 = (bytes: number): number => (bytes + 7) & ~7;

let cpus: number | undefined;
/** Possible CPUs, not online ones: the kernel's per-CPU values have one slot for each. */
export const possibleCpus = (): number => {
  cpus ??= check('libbpf_num_possible_cpus', lib.possibleCpus());
  return cpus;
};

/** A map by its file descriptor; keys and values are bytes, their layout is the caller's. */
export class BpfMap extends OwnedFd<MapFd> {
  readonly name: string;
  readonly shape: MapShape;

  private constructor(fd: MapFd, name: string) {
    super(fd, `map ${name}`);
    this.name = name;
    this.shape = mapShape(fd, name);
  }

  /** Takes the descriptor over. */
  static fromFd(fd: MapFd, name: string): BpfMap {
    return new BpfMap(fd, name);
  }

  static create(name: string, shape: MapShape, innerMap?: BpfMap): BpfMap {
    const options = Buffer.alloc(48);
    options.writeBigUInt64LE(48n, 0);
    if (innerMap) options.writeUInt32LE(innerMap.fd, 24);
    options.writeUInt32LE(shape.flags, 28);
    // The kernel's name field holds 15 bytes.
    const fd = lib.mapCreate(
      shape.type,
      name.slice(0, 15),
      shape.keyBytes,
      shape.valueBytes,
      shape.maxEntries,
      options,
    );
    return new BpfMap(check(`create map ${name}`, fd), name);
  }

  static openPinned(path: string, name: string): BpfMap {
    return new BpfMap(check(`open pinned map ${path}`, lib.objGet(path)) as MapFd, name);
  }

  pin(path: string): void {
    check(`pin map ${this.name} at ${path}`, lib.objPin(this.fd, path));
  }

  get perCpu(): boolean {
    return this.shape.type === mapType.percpuArray;
  }

  /** Bytes of one value as system calls see it: a slot of 8-byte multiples for each possible CPU of a per-CPU map. */
  get userValueBytes(): number {
    return this.perCpu ? roundUpTo8(this.shape.valueBytes) * possibleCpus() : this.shape.valueBytes;
  }

  /** Undefined when the key is not there. */
  lookup(key: Buffer, into: Buffer = Buffer.alloc(this.userValueBytes)): Buffer | undefined {
    const result = lib.mapLookup(this.fd, key, into);
    if (result === -ENOENT || (result === -1 && koffi.errno() === ENOENT)) return undefined;
    check(`look up in map ${this.name}`, result);
    return into;
  }

  /** @throws BpfError E2BIG or ENOSPC when the map is full */
  update(key: Buffer, value: Buffer, flags: number = updateFlag.any): void {
    check(`update map ${this.name}`, lib.mapUpdate(this.fd, key, value, flags));
  }

  /** False when the key was not there. */
  delete(key: Buffer): boolean {
    const result = lib.mapDelete(this.fd, key);
    if (result === -ENOENT || (result === -1 && koffi.errno() === ENOENT)) return false;
    check(`delete from map ${this.name}`, result);
    return true;
  }

  /** Puts an inner map into an array of maps; waits for RCU, so it runs on the thread pool. */
  async setInner(index: number, inner: BpfMap): Promise<void> {
    const key = u32(index);
    const value = u32(inner.fd);
    const { result, errno } = await later<unknown[], number>(lib.mapUpdate, this.fd, key, value, 0);
    check(`set slot ${index} of ${this.name}`, result, errno);
  }

  async clearInner(index: number): Promise<void> {
    const { result, errno } = await later<unknown[], number>(lib.mapDelete, this.fd, u32(index));
    if (result === -ENOENT) return;
    check(`clear slot ${index} of ${this.name}`, result, errno);
  }

  /** Many updates in one call; keys and values lie end to end. @throws BpfError with the number that went in */
  async updateBatch(keys: Buffer, values: Buffer, count: number): Promise<void> {
    if (count === 0) return;
    const done: Count = [count];
    const { result, errno } = await later<unknown[], number>(lib.mapUpdateBatch, this.fd, keys, values, done, null);
    if (result < 0) check(`update map ${this.name} (${done[0]} of ${count} went in)`, result, errno);
  }

  /** All entries, for maps that know batch look-up (hash, array, per-CPU array). Entries that come and go meanwhile may be missed or seen. */
  *entries(batch = 1024): Generator<{ key: Buffer; value: Buffer }> {
    const { keyBytes, maxEntries } = this.shape;
    const valueBytes = this.userValueBytes;
    // A batch below a hash bucket's size fails with ENOSPC; it is then grown and tried again.
    let size = Math.min(batch, Math.max(maxEntries, 1));
    let position: Buffer = Buffer.alloc(Math.max(keyBytes, 8));
    let first = true;
    for (;;) {
      const keys = Buffer.alloc(size * keyBytes);
      const values = Buffer.alloc(size * valueBytes);
      const next = Buffer.alloc(Math.max(keyBytes, 8));
      const count: Count = [size];
      const result = lib.mapLookupBatch(this.fd, first ? null : position, next, keys, values, count, null);
      const errno = result === -1 ? koffi.errno() : -result;
      if (result < 0 && errno === ENOSPC && size < maxEntries * 2 + 64) {
        size *= 2;
        continue;
      }
      if (result < 0 && errno !== ENOENT) throw new BpfError(`read map ${this.name}`, errno);
      for (let i = 0; i < count[0]; i++) {
        yield {
          key: keys.subarray(i * keyBytes, (i + 1) * keyBytes),
          value: values.subarray(i * valueBytes, (i + 1) * valueBytes),
        };
      }
      if (result < 0) return;
      position = next;
      first = false;
    }
  }

  /** A range of an array's elements in one call; `into` holds `count` values and spares making a buffer. */
  readArray(start: number, count: number, into?: Buffer): Buffer {
    const values = into ?? Buffer.alloc(count * this.userValueBytes);
    const done: Count = [count];
    const from = start === 0 ? null : u32(start - 1);
    const result = lib.mapLookupBatch(this.fd, from, Buffer.alloc(8), Buffer.alloc(count * 4), values, done, null);
    const errno = result === -1 ? koffi.errno() : -result;
    if (result < 0 && errno !== ENOENT) throw new BpfError(`read map ${this.name}`, errno);
    return values.subarray(0, done[0] * this.userValueBytes);
  }

  /** All keys by walking the map: works for LPM tries, which know no batch look-up before 6.x. */
  keys(): Buffer[] {
    const keys: Buffer[] = [];
    let key: Bytes = null;
    // A concurrent change may send the walk back to the start: bounded by what can be there.
    for (let i = 0; i <= this.shape.maxEntries; i++) {
      const next = Buffer.alloc(this.shape.keyBytes);
      const result = lib.mapNextKey(this.fd, key, next);
      if (result < 0) {
        const errno = result === -1 ? koffi.errno() : -result;
        if (errno === ENOENT) break;
        throw new BpfError(`walk map ${this.name}`, errno);
      }
      keys.push(next);
      key = next;
    }
    return keys;
  }

  /** The values of an array created with BPF_F_MMAPABLE, shared with the kernel. The view must not be touched after unmap(). */
  mmap(): MappedArray {
    const bytes = roundUpTo8(this.shape.valueBytes) * this.shape.maxEntries;
    return mapMemory(this.fd, bytes, PROT_READ | PROT_WRITE, 0, this.name);
  }
}

export const u32 = (value: number): Buffer => {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
};

export interface MappedArray {
  readonly memory: ArrayBuffer;
  unmap(): void;
}

export const PROT_READ = 1;
export const PROT_WRITE = 2;
const MAP_SHARED = 1;
/** mmap's MAP_FAILED as koffi shows a pointer of -1. */
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

export const mapMemory = (fd: number, bytes: number, protection: number, at: number, what: string): MappedArray => {
  const address = BigInt(lib.mmap(null, bytes, protection, MAP_SHARED, fd, at));
  if (address === MAP_FAILED || address === -1n) throw new BpfError(`mmap ${what}`, koffi.errno());
  return {
    memory: koffi.view(address, bytes) as ArrayBuffer,
    unmap: () => {
      lib.munmap(address, bytes);
    },
  };
};

/** struct bpf_map_info: type, id, key_size, value_size, max_entries, map_flags, each a u32. */
const mapShape = (fd: MapFd, name: string): MapShape => {
  const info = Buffer.alloc(96);
  check(`describe map ${name}`, lib.infoByFd(fd, info, [info.length]));
  return {
    type: info.readUInt32LE(0),
    keyBytes: info.readUInt32LE(8),
    valueBytes: info.readUInt32LE(12),
    maxEntries: info.readUInt32LE(16),
    flags: info.readUInt32LE(20),
  };
};
