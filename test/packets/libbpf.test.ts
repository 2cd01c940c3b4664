/** The bindings against the kernel: what they give, and what an error of theirs says. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { arch } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadClockProgram } from '../../agent/datapath/kernel.ts';
import { objectImage } from '../../agent/datapath/objects.ts';
import { BpfError } from '../../agent/libbpf/bpf-error.ts';
import { tryLockDirectory } from '../../agent/libbpf/directory-lock.ts';
import { BpfMap, type MapShape, mapFlag, mapType, possibleCpus, u32, updateFlag } from '../../agent/libbpf/map.ts';
import { BpfObject } from '../../agent/libbpf/object.ts';
import { TestRun } from '../../agent/libbpf/test-run.ts';
import { nodePath, TestNet } from '../support/namespaces.ts';

let net: TestNet;
beforeAll(async () => {
  net = await TestNet.create();
});
afterAll(async () => {
  await net?.[Symbol.asyncDispose]();
});

const shape = (more: Partial<MapShape> = {}): MapShape => ({
  ...{ type: mapType.hash, keyBytes: 4, valueBytes: 8, maxEntries: 16, flags: 0 },
  ...more,
});
const u64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const errorOf = (work: () => unknown): BpfError => {
  try {
    work();
  } catch (error) {
    if (error instanceof BpfError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};
const contents = (map: BpfMap) =>
  [...map.entries()]
    .map(({ key, value }) => [key.readUInt32LE(0), Number(value.readBigUInt64LE(0))])
    .sort(([a], [b]) => a! - b!);

describe('a map', () => {
  test('is described as it was made', () => {
    using map = BpfMap.create('described', shape({ maxEntries: 3, valueBytes: 24 }));
    expect(map.shape).toEqual(shape({ maxEntries: 3, valueBytes: 24 }));
    expect(map.perCpu).toBe(false);
    expect(map.userValueBytes).toBe(24);
  });

  test('gives, changes and forgets entries, and tells what is not there', () => {
    using map = BpfMap.create('entries', shape());
    expect(map.lookup(u32(1))).toBeUndefined();
    map.update(u32(1), u64(10));
    expect(map.lookup(u32(1))).toEqual(u64(10));
    map.update(u32(1), u64(11), updateFlag.exist);
    expect(errorOf(() => map.update(u32(1), u64(12), updateFlag.noExist)).code).toBe('EEXIST');
    expect(errorOf(() => map.update(u32(2), u64(12), updateFlag.exist)).code).toBe('ENOENT');
    expect(map.lookup(u32(1))).toEqual(u64(11));
    expect(map.delete(u32(1))).toBe(true);
    expect(map.delete(u32(1))).toBe(false);
  });

  test('that is full says so by name', () => {
    using map = BpfMap.create('tiny', shape({ maxEntries: 1 }));
    map.update(u32(1), u64(1));
    expect(errorOf(() => map.update(u32(2), u64(2)))).toMatchObject({ code: 'E2BIG', operation: 'update map tiny' });
  });

  test.each([1, 2, 3, 64, 5_000])('gives all of 5,000 entries in batches of %i', (batch) => {
    using map = BpfMap.create('many', shape({ maxEntries: 5_000 }));
    for (let i = 0; i < 5_000; i++) map.update(u32(i), u64(i * 2));
    const seen = new Map([...map.entries(batch)].map(({ key, value }) => [key.readUInt32LE(0), value.readUInt32LE(0)]));
    expect(seen.size).toBe(5_000);
    expect([...seen].every(([key, value]) => value === key * 2)).toBe(true);
  });

  test('of which keys are long is walked as well', () => {
    using map = BpfMap.create('long_keys', shape({ keyBytes: 40, maxEntries: 300 }));
    for (let i = 0; i < 300; i++) map.update(Buffer.alloc(40, u32(i)), u64(i));
    expect(new Set([...map.entries(16)].map(({ key }) => key.toString('hex'))).size).toBe(300);
  });

  test('takes many entries in one call, and none', async () => {
    using map = BpfMap.create('batched', shape({ maxEntries: 100 }));
    await map.updateBatch(Buffer.alloc(0), Buffer.alloc(0), 0);
    const numbers = Array.from({ length: 100 }, (_, i) => i);
    await map.updateBatch(Buffer.concat(numbers.map(u32)), Buffer.concat(numbers.map(u64)), 100);
    expect(contents(map)).toEqual(numbers.map((i) => [i, i]));
  });

  test('that cannot take all of a batch says how many went in', async () => {
    using map = BpfMap.create('half', shape({ maxEntries: 2 }));
    const keys = Buffer.concat([1, 2, 3].map(u32));
    await expect(map.updateBatch(keys, Buffer.concat([1, 2, 3].map(u64)), 3)).rejects.toMatchObject({
      code: 'E2BIG',
      operation: 'update map half (2 of 3 went in)',
    });
  });

  test('of the array kind gives any range', () => {
    using map = BpfMap.create('array', shape({ type: mapType.array, maxEntries: 10 }));
    for (let i = 0; i < 10; i++) map.update(u32(i), u64(i));
    for (const [start, count] of [
      [0, 10],
      [0, 1],
      [9, 1],
      [3, 4],
      [8, 100],
    ] as const) {
      const wanted = Array.from({ length: Math.min(count, 10 - start) }, (_, i) => u64(start + i));
      expect(map.readArray(start, count), `${start}, ${count}`).toEqual(Buffer.concat(wanted));
    }
  });

  test('of the per-CPU kind has a value for each possible CPU', () => {
    using map = BpfMap.create('per_cpu', shape({ type: mapType.percpuArray, valueBytes: 4, maxEntries: 2 }));
    const cpus = possibleCpus();
    expect(map.userValueBytes).toBe(8 * cpus);
    const values = Buffer.concat(Array.from({ length: cpus }, (_, cpu) => u64(cpu + 1)));
    map.update(u32(1), values);
    expect(map.lookup(u32(1))).toEqual(values);
    expect(map.lookup(u32(0))).toEqual(Buffer.alloc(8 * cpus));
    expect(map.readArray(0, 2)).toEqual(Buffer.concat([Buffer.alloc(8 * cpus), values]));
  });

  test('of the trie kind finds the longest match and gives its keys', () => {
    const trie = shape({ type: mapType.lpmTrie, keyBytes: 8, flags: mapFlag.noPrealloc });
    using map = BpfMap.create('trie', trie);
    const key = (length: number, ...address: number[]) => Buffer.concat([u32(length), Buffer.from(address)]);
    map.update(key(8, 10, 0, 0, 0), u64(8));
    map.update(key(16, 10, 1, 0, 0), u64(16));
    expect(map.lookup(key(32, 10, 1, 2, 3))).toEqual(u64(16));
    expect(map.lookup(key(32, 10, 2, 2, 3))).toEqual(u64(8));
    expect(map.lookup(key(32, 11, 2, 2, 3))).toBeUndefined();
    expect(map.keys().map((one) => one.toString('hex'))).toHaveLength(2);
    expect(map.keys()).toEqual(expect.arrayContaining([key(8, 10, 0, 0, 0), key(16, 10, 1, 0, 0)]));
    expect(map.delete(key(16, 10, 1, 0, 0))).toBe(true);
    expect(map.keys()).toEqual([key(8, 10, 0, 0, 0)]);
  });

  test('is shared as memory', () => {
    using map = BpfMap.create('shared', shape({ type: mapType.array, maxEntries: 4, flags: mapFlag.mmapable }));
    const { memory, unmap } = map.mmap();
    expect(memory.byteLength).toBe(32);
    map.update(u32(2), u64(7));
    const words = new Uint32Array(memory);
    expect(words[4]).toBe(7);
    Atomics.add(words, 4, 1);
    expect(map.lookup(u32(2))).toEqual(u64(8));
    unmap();
    using plain = BpfMap.create('plain', shape({ type: mapType.array }));
    expect(errorOf(() => plain.mmap())).toMatchObject({ operation: 'mmap plain' });
  });

  test('that is pinned outlives its descriptor, under any number of names', () => {
    const path = join(net.pinPath(), 'map');
    const map = BpfMap.create('pinned', shape());
    map.update(u32(1), u64(42));
    map.pin(path);
    expect(errorOf(() => map.pin(path))).toMatchObject({ code: 'EEXIST' });
    map.close();
    map.close();
    expect(() => map.fd).toThrow('map pinned is closed');
    using again = BpfMap.openPinned(path, 'pinned');
    expect(again.lookup(u32(1))).toEqual(u64(42));
    unlinkSync(path);
    expect(errorOf(() => BpfMap.openPinned(path, 'pinned'))).toMatchObject({
      code: 'ENOENT',
      operation: `open pinned map ${path}`,
    });
  });

  test('of maps takes, gives up and keeps an inner map whose own descriptor is closed', async () => {
    const inner = BpfMap.create('inner', shape());
    using outer = BpfMap.create('outer', shape({ type: mapType.arrayOfMaps, valueBytes: 4, maxEntries: 2 }), inner);
    await outer.setInner(1, inner);
    inner.close();
    expect(outer.lookup(u32(0))).toBeUndefined();
    expect(outer.lookup(u32(1))?.readUInt32LE(0)).toBeGreaterThan(0);
    await outer.clearInner(1);
    await outer.clearInner(1);
    expect(outer.lookup(u32(1))).toBeUndefined();
    await expect(outer.clearInner(2)).rejects.toMatchObject({ operation: 'clear slot 2 of outer' });
  });
});

describe('an object', () => {
  const compile = (source: string): Buffer => {
    const folder = net.folder();
    const machine = arch() === 'arm64' ? 'aarch64' : 'x86_64';
    writeFileSync(join(folder, 'one.bpf.c'), source);
    const clang = process.env.CLANG ?? 'clang-19';
    const flags = ['-target', 'bpf', '-O2', '-g', '-mcpu=v3', `-I/usr/include/${machine}-linux-gnu`];
    execFileSync(clang, [...flags, '-c', join(folder, 'one.bpf.c'), '-o', join(folder, 'one.o')]);
    return readFileSync(join(folder, 'one.o'));
  };

  test('that is none is refused', () => {
    expect(errorOf(() => BpfObject.open(Buffer.from('not an object at all'.repeat(20))))).toMatchObject({
      operation: 'open BPF object',
    });
  });

  test('whose program the verifier refuses shows what the verifier said', async () => {
    // Reads behind the end of the packet without having looked where that is.
    const image = compile(`
      #include <linux/bpf.h>
      #include <bpf/bpf_helpers.h>
      SEC("xdp") int careless(struct xdp_md *ctx) { return *(unsigned char *)(long)ctx->data; }
      char LICENSE[] SEC("license") = "GPL";`);
    using object = BpfObject.open(image);
    const error: unknown = await object.load('careless').catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(BpfError);
    expect(error).toMatchObject({ operation: 'load careless', code: 'EACCES' });
    expect((error as BpfError).verifierLog).toContain('invalid access to packet');
    expect((error as BpfError).message).toContain('invalid access to packet');
  });

  test('has the maps of its source, and says which name it does not know', () => {
    using object = BpfObject.open(objectImage('guard'));
    expect(object.mapNames).toEqual(expect.arrayContaining(['blocks', 'domains', 'events', 'concern']));
    expect(object.mapNames.filter((name) => name.includes('.'))).toEqual([]);
    expect(() => object.setMaxEntries('nothing', 1)).toThrow('BPF object has no map nothing');
    expect(() => object.takeProgram('nothing')).toThrow('find program nothing');
  });

  test('cannot be configured once it is loaded, nor used once it is closed', async () => {
    const object = BpfObject.open(objectImage('clock'));
    await object.load('clock');
    expect(() => object.disableFrags('clock')).toThrow('configuration is frozen');
    using program = object.takeProgram('clock');
    object.close();
    object.close();
    await expect(object.load('clock')).rejects.toThrow('BPF object is closed');
    // What was taken out lives on.
    expect(program.info()).toMatchObject({ instructions: expect.any(Number) });
    expect(new TestRun(program).run(Buffer.alloc(64)).action).toBe(2);
  });
});

describe('a test run', () => {
  test('gives the verdict, what became of the frame and how long it took', async () => {
    using program = await loadClockProgram();
    const run = new TestRun(program);
    const frame = Buffer.alloc(64, 0x11);
    expect(run.run(frame)).toEqual({ action: 2, durationNs: expect.any(Number) });
    expect(run.output().length).toBe(64);
    // The tick stands in the copy; the frame itself is as it was.
    expect(run.output().subarray(8)).toEqual(Buffer.alloc(56, 0x11));
    expect(run.output().readBigUInt64LE(0)).not.toBe(frame.readBigUInt64LE(0));
    expect(frame).toEqual(Buffer.alloc(64, 0x11));
  });

  test('refuses what is no Ethernet frame', async () => {
    using program = await loadClockProgram();
    expect(errorOf(() => new TestRun(program).run(Buffer.alloc(13)))).toMatchObject({ code: 'EINVAL' });
  });

  test('says what the kernel knows of the program', async () => {
    using program = await loadClockProgram();
    const { id, instructions, verifiedInstructions } = program.info();
    expect(id).toBeGreaterThan(0);
    expect(instructions).toBeGreaterThan(2);
    expect(verifiedInstructions).toBeGreaterThan(2);
  });
});

describe('a lock on a directory', () => {
  test('is held by one at a time and given up by release', () => {
    const folder = net.pinPath();
    const lock = tryLockDirectory(folder)!;
    expect(tryLockDirectory(folder)).toBeUndefined();
    lock.release();
    const again = tryLockDirectory(folder);
    expect(again).toBeDefined();
    again!.release();
  });

  test('of one folder leaves the folders in it free', () => {
    const folder = net.pinPath();
    mkdirSync(join(folder, 'maps'));
    const lock = tryLockDirectory(folder)!;
    const inner = tryLockDirectory(join(folder, 'maps'));
    expect(inner).toBeDefined();
    inner!.release();
    lock.release();
  });

  test('goes with the process that held it, however that ended', async () => {
    const folder = net.pinPath();
    const module = join(import.meta.dirname, '../../agent/libbpf/directory-lock.ts');
    const script = `const { tryLockDirectory } = await import(${JSON.stringify(module)});
      console.log(tryLockDirectory(${JSON.stringify(folder)}) ? 'held' : 'refused'); setInterval(() => {}, 1000);`;
    const child = spawn(nodePath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    expect(said.toString().trim()).toBe('held');
    expect(tryLockDirectory(folder)).toBeUndefined();
    child.kill('SIGKILL');
    await once(child, 'exit');
    const lock = tryLockDirectory(folder);
    expect(lock).toBeDefined();
    lock!.release();
  });

  test('on what is not there is an error that names it', () => {
    const path = join(net.folder(), 'missing');
    expect(existsSync(path)).toBe(false);
    expect(errorOf(() => tryLockDirectory(path))).toMatchObject({ code: 'ENOENT', operation: `open ${path}` });
  });
});
