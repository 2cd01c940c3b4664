import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { StatusFile, writeAtomically } from './file.ts';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'portcullis-status-'));
  path = join(directory, 'status.json');
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + 5000;
  while (!(await condition())) {
    if (Date.now() > deadlineMs) throw new Error('waited in vain');
    await sleep(2);
  }
}

test('writes a file that its group may read and others may not, whatever the umask', async () => {
  const umask = process.umask(0o077);
  try {
    await writeAtomically(path, 'x');
  } finally {
    process.umask(umask);
  }
  expect((await stat(path)).mode & 0o777).toBe(0o640);
  expect(await readdir(directory)).toEqual(['status.json']);
});

test('a reader never sees half a document', async () => {
  const documents = ['a', 'b'].map((letter) => letter.repeat(1_000_000));
  await writeAtomically(path, documents[0]!);
  let writing = true;
  const writer = (async () => {
    for (let i = 0; i < 30; i++) await writeAtomically(path, documents[i % 2]!);
    writing = false;
  })();
  const seen = new Set<string>();
  while (writing) seen.add(await readFile(path, 'utf8'));
  await writer;
  expect([...seen].every((text) => documents.includes(text))).toBe(true);
});

test('does not write through a symbolic link that stands where its temporary file would', async () => {
  const victim = join(directory, 'victim');
  await writeFile(victim, 'untouched');
  await symlink(victim, join(directory, `.status.json.${process.pid}.tmp`));
  await writeAtomically(path, 'x');
  expect(await readFile(victim, 'utf8')).toBe('untouched');
});

test('leaves no temporary file behind when it fails', async () => {
  await mkdir(path);
  await expect(writeAtomically(path, 'x')).rejects.toThrow();
  expect(await readdir(directory)).toEqual(['status.json']);
});

test('writes the first offer at once, then the newest of those made within the interval', async () => {
  const stop = new AbortController();
  const file = new StatusFile(path, (error) => expect.unreachable(String(error)), 300);
  const running = file.run(stop.signal);
  const built: number[] = [];
  const offer = (n: number) =>
    file.offer(() => {
      built.push(n);
      return { n };
    });
  offer(1);
  await until(() => built.length === 1);
  const firstMs = Date.now();
  for (let n = 2; n <= 50; n++) offer(n);
  await until(() => built.length === 2);
  expect(Date.now() - firstMs).toBeGreaterThanOrEqual(250);
  expect(built).toEqual([1, 50]);
  await until(async () => JSON.parse(await readFile(path, 'utf8')).n === 50);
  stop.abort();
  await running;
});

test('writes what is left when it is stopped, and ends', async () => {
  const stop = new AbortController();
  const file = new StatusFile(path, (error) => expect.unreachable(String(error)), 60_000);
  const running = file.run(stop.signal);
  file.offer(() => ({ n: 1 }));
  await until(() => existsSync(path));
  file.offer(() => ({ n: 2 }));
  stop.abort();
  await running;
  expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({ n: 2 });
});

test('ends when it is stopped before anything was offered', async () => {
  const stop = new AbortController();
  const running = new StatusFile(path, () => {}).run(stop.signal);
  stop.abort();
  await running;
  expect(existsSync(path)).toBe(false);
});

test('tells of a write that failed, and the next one works', async () => {
  const stop = new AbortController();
  const errors: unknown[] = [];
  const missing = join(directory, 'later', 'status.json');
  const file = new StatusFile(missing, (error) => errors.push(error), 1);
  const running = file.run(stop.signal);
  file.offer(() => ({ n: 1 }));
  await until(() => errors.length === 1);
  expect(errors[0]).toMatchObject({ code: 'ENOENT' });
  await mkdir(join(directory, 'later'));
  file.offer(() => ({ n: 2 }));
  await until(() => existsSync(missing));
  stop.abort();
  await running;
});
