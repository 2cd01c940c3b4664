import { createHash } from 'node:crypto';
import { type BigIntStats, constants, type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { combine, type FileState, fileFinding, reloaded } from './last-good.ts';
import type { PolicySnapshot, PolicySource } from './policy-source.ts';
import { Settling, type SettlingTimes, type Signature, settlingTimes } from './settling.ts';
import { type FileFinding, type LoadedObject, loadPolicyFile } from './yaml-documents.ts';

/** An object and the file, by its name in the directory, that it comes from. */
export type SourcedObject = LoadedObject & { readonly file: string };

export interface DirectorySourceOptions {
  readonly directory: string;
  /** Files beyond are not read; those already known come first. */
  readonly maxFiles?: number;
  readonly maxFileBytes?: number;
  /** Good objects of an earlier run: they stand in for what cannot be read now. */
  readonly lastGood?: readonly SourcedObject[];
  /** How often the directory is looked at although nothing was heard of it. */
  readonly pollMs?: number;
  readonly times?: SettlingTimes;
}

const MAX_FILES = 1_000;
const MAX_FILE_BYTES = 4 * 1024 * 1024;
/** Files that are links to elsewhere, and notifications that were lost, are only found by looking. */
const POLL_MS = 500;
/** Looking at 1,000 files takes 20 ms of CPU: with many, it is done half as often. */
const MANY_FILES = 200;
/** Without notifications looking is all there is, and a change still has to apply within a second. */
const POLL_UNWATCHED_MS = 200;
/** A writer of many small pieces makes an event for each. */
const COALESCE_MS = 20;
/** A file that could not be read may become readable without looking any different. */
const RETRY_MS = 2_000;
/** The first snapshot waits this long for files that are being written while the agent starts. */
const FIRST_SNAPSHOT_MS = 1_000;

/** Starts the signature of a file whose status cannot be told. */
const UNREADABLE = 'unreadable';

interface Seen {
  readonly signature: Signature;
  readonly bytes: number;
  readonly changedAtMs: number;
}

/**
 * Policies out of a directory of YAML files: `*.yaml` and `*.yml` that are not
 * hidden, in the directory itself. Links are followed, so a mounted ConfigMap
 * is read as it is meant.
 */
export class DirectorySource implements PolicySource {
  readonly #directory: string;
  readonly #maxFiles: number;
  readonly #maxFileBytes: number;
  readonly #pollMs: number;
  readonly #settling: Settling;
  readonly #files = new Map<string, FileState>();
  readonly #digests = new Map<string, string>();
  readonly #retryAtMs = new Map<string, number>();
  #directoryFindings: readonly FileFinding[] = [];
  #watcher: FSWatcher | undefined;
  #watched = '';
  #wake = () => {};
  #told = false;

  constructor(options: DirectorySourceOptions) {
    this.#directory = options.directory;
    this.#maxFiles = options.maxFiles ?? MAX_FILES;
    this.#maxFileBytes = options.maxFileBytes ?? MAX_FILE_BYTES;
    this.#pollMs = options.pollMs ?? POLL_MS;
    this.#settling = new Settling(options.times ?? settlingTimes);
    for (const { file, ...object } of options.lastGood ?? []) {
      const state = this.#files.get(file) ?? { path: this.#pathOf(file), valid: [], kept: [], findings: [] };
      this.#files.set(file, { ...state, kept: [...state.kept, object as LoadedObject] });
      this.#settling.distrust(file);
    }
  }

  /** The good objects of each file as they are now, to be given as `lastGood` after a restart. */
  goodObjects(): SourcedObject[] {
    return [...this.#files].flatMap(([file, { valid, kept }]) =>
      [...valid, ...kept].map((each) => ({ ...each, file })),
    );
  }

  async run(signal: AbortSignal, onSnapshot: (snapshot: PolicySnapshot) => void): Promise<void> {
    const onAbort = () => this.#tell();
    signal.addEventListener('abort', onAbort);
    const startedMs = performance.now();
    let isFirst = true;
    let hasChanged = true;
    try {
      while (!signal.aborted) {
        this.#told = false;
        if (await this.#look(isFirst)) hasChanged = true;
        if (await this.#readDue(signal)) hasChanged = true;
        if (signal.aborted) break;
        const isWaiting = isFirst && this.#settling.nextDueMs() !== undefined;
        if (hasChanged && (!isWaiting || performance.now() - startedMs >= FIRST_SNAPSHOT_MS)) {
          onSnapshot(this.#snapshot());
          hasChanged = false;
          isFirst = false;
        }
        await this.#rest();
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#unwatch();
    }
  }

  #snapshot(): PolicySnapshot {
    const byName = [...this.#files].sort(([a], [b]) => (a < b ? -1 : 1));
    return combine(
      byName.map(([, state]) => state),
      this.#directoryFindings,
    );
  }

  /** Observes every file once. True when what is known of the directory itself changed. */
  async #look(isFirst: boolean): Promise<boolean> {
    let names: string[];
    try {
      await this.#follow();
      names = (await readdir(this.#directory)).filter(isPolicyFile).sort();
    } catch (error) {
      this.#unwatch();
      const message = `the directory of policies ${this.#directory} cannot be read: ${(error as Error).message}`;
      return this.#setDirectoryFindings([fileFinding('DirectoryUnreadable', this.#directory, message)]);
    }
    const known = names.filter((name) => this.#files.has(name));
    const chosen = new Set([...known, ...names.filter((name) => !this.#files.has(name))].slice(0, this.#maxFiles));
    for (const name of chosen) {
      if ((this.#retryAtMs.get(name) ?? Number.POSITIVE_INFINITY) <= performance.now()) this.#settling.distrust(name);
      const { signature, bytes, changedAtMs } = await this.#see(name);
      // A file that was left alone before the start needs no waiting for; its age is all that a wall clock is asked here.
      const ageMs = isFirst ? Math.max(0, Date.now() - changedAtMs) : 0;
      this.#settling.observe(name, signature, bytes === 0, performance.now() - ageMs);
    }
    for (const name of this.#settling.files()) {
      if (!chosen.has(name)) this.#settling.observe(name, undefined, false, performance.now());
    }
    if (names.length <= chosen.size) return this.#setDirectoryFindings([]);
    const message = `${this.#directory} has ${names.length} policy files; ${names.length - chosen.size} beyond ${this.#maxFiles} are not read`;
    return this.#setDirectoryFindings([fileFinding('TooMany', this.#directory, message)]);
  }

  #setDirectoryFindings(findings: readonly FileFinding[]): boolean {
    const isSame = JSON.stringify(findings) === JSON.stringify(this.#directoryFindings);
    this.#directoryFindings = findings;
    return !isSame;
  }

  async #see(name: string): Promise<Seen> {
    try {
      const status = await stat(this.#pathOf(name), { bigint: true });
      return {
        signature: signatureOf(status),
        bytes: Number(status.size),
        changedAtMs: Number(status.ctimeMs > status.mtimeMs ? status.ctimeMs : status.mtimeMs),
      };
    } catch (error) {
      // A link that leads nowhere is a file that cannot be read, not one that was deleted.
      return { signature: `${UNREADABLE} ${(error as NodeJS.ErrnoException).code}`, bytes: -1, changedAtMs: 0 };
    }
  }

  /** Reads what has settled. True when anything that is in force, or said of it, may have changed. */
  async #readDue(signal: AbortSignal): Promise<boolean> {
    let hasChanged = false;
    for (const [name, signature] of this.#settling.due(performance.now())) {
      if (signal.aborted) break;
      if (signature === undefined) {
        this.#forget(name);
        hasChanged = true;
        continue;
      }
      const path = this.#pathOf(name);
      const read = await readSettled(path, signature, this.#maxFileBytes);
      if (read === 'changing') {
        this.#settling.postpone(name, performance.now());
        continue;
      }
      this.#settling.settle(name, signature);
      this.#retryAtMs.delete(name);
      const before = this.#files.get(name);
      if (read instanceof Uint8Array) {
        const digest = createHash('sha256').update(read).digest('base64');
        if (this.#digests.get(name) === digest) continue;
        this.#digests.set(name, digest);
        this.#files.set(name, reloaded(before, path, loadPolicyFile(path, read, { maxFileBytes: this.#maxFileBytes })));
        hasChanged = true;
      } else {
        if (read.code === 'FileUnreadable') this.#retryAtMs.set(name, performance.now() + RETRY_MS);
        this.#digests.delete(name);
        if (before?.findings.length === 1 && before.findings[0]?.message === read.message) continue;
        this.#files.set(name, reloaded(before, path, { objects: [], findings: [read] }));
        hasChanged = true;
      }
    }
    return hasChanged;
  }

  #forget(name: string): void {
    this.#settling.settle(name, undefined);
    this.#files.delete(name);
    this.#digests.delete(name);
    this.#retryAtMs.delete(name);
  }

  /** Sees to it that the directory that has the name now is the one that is watched. */
  async #follow(): Promise<void> {
    const { dev, ino } = await stat(this.#directory, { bigint: true });
    const identity = `${dev} ${ino}`;
    if (this.#watcher !== undefined && this.#watched === identity) return;
    this.#unwatch();
    try {
      const watcher = watch(this.#directory, () => this.#tell());
      watcher.on('error', () => this.#unwatch());
      this.#watcher = watcher;
      this.#watched = identity;
    } catch {
      // No inotify, or no watches left: the poll is enough.
    }
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #tell(): void {
    this.#told = true;
    this.#wake();
  }

  async #rest(): Promise<void> {
    const watchedMs = this.#files.size > MANY_FILES ? 2 * this.#pollMs : this.#pollMs;
    const pollMs = this.#watcher === undefined ? Math.min(this.#pollMs, POLL_UNWATCHED_MS) : watchedMs;
    const dueInMs = (this.#settling.nextDueMs() ?? Number.POSITIVE_INFINITY) - performance.now();
    if (!this.#told) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(1, Math.min(pollMs, dueInMs)));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    if (this.#told) await new Promise((resolve) => setTimeout(resolve, COALESCE_MS));
  }

  #pathOf(name: string): string {
    return join(this.#directory, name);
  }
}

function isPolicyFile(name: string): boolean {
  return !name.startsWith('.') && /\.ya?ml$/.test(name);
}

function signatureOf(status: BigIntStats): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = status;
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
}

/** The content of a file as long as it looks like `signature`, before and after; or what is wrong with it. */
async function readSettled(
  path: string,
  signature: string,
  maxBytes: number,
): Promise<Uint8Array | FileFinding | 'changing'> {
  try {
    // Opening a device may do something; a link may still be turned into a pipe between the two, which O_NONBLOCK opens at once.
    if (!(await stat(path)).isFile()) return fileFinding('FileUnreadable', path, `${path} is no regular file`);
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return await readOpened(file, path, signature, maxBytes);
    } finally {
      await file.close();
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // Gone since it was seen: the next look finds that out. A link that led nowhere before is another matter.
    if (code === 'ENOENT' && !signature.startsWith(UNREADABLE)) return 'changing';
    return fileFinding('FileUnreadable', path, `${path} cannot be read: ${message}`);
  }
}

async function readOpened(
  file: FileHandle,
  path: string,
  signature: string,
  maxBytes: number,
): Promise<Uint8Array | FileFinding | 'changing'> {
  const status = await file.stat({ bigint: true });
  if (signatureOf(status) !== signature) return 'changing';
  const bytes = Number(status.size);
  if (bytes > maxBytes) {
    return fileFinding('FileTooLarge', path, `${path} has ${bytes} bytes, more than ${maxBytes}`);
  }
  const content = Buffer.alloc(bytes + 1);
  let at = 0;
  while (at < content.length) {
    const { bytesRead } = await file.read(content, at, content.length - at, at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  const isSame = at === bytes && signatureOf(await file.stat({ bigint: true })) === signature;
  return isSame ? content.subarray(0, bytes) : 'changing';
}
