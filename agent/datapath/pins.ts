import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, statfsSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PortcullisError } from '../../api/errors.ts';
import { tryLockDirectory } from '../libbpf/directory-lock.ts';

/** f_type of a bpffs: BPF_FS_MAGIC of include/uapi/linux/magic.h. */
const BPF_FS_MAGIC = 0xcafe4a11;
const FOLDERS = ['maps', 'links', 'sets'] as const;

export type PinFolder = (typeof FOLDERS)[number];

/** The folder on a bpffs that outlives the agent: maps by name, links by interface, inner tables by slot. */
export class Pins {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** @throws PortcullisError PinPathNotBpffs */
  create(): void {
    let parent = this.path;
    while (!existsSync(parent)) parent = dirname(parent);
    if (statfsSync(parent).type !== BPF_FS_MAGIC) {
      throw new PortcullisError('PinPathNotBpffs', `${this.path} is not on a bpffs: ${parent} is another file system`, {
        field: '--pin-path',
        value: this.path,
        remedy: `Mount one: mount -t bpf bpf /sys/fs/bpf, or choose a folder below one.`,
      });
    }
    for (const folder of FOLDERS) mkdirSync(join(this.path, folder), { recursive: true, mode: 0o700 });
  }

  exists(): boolean {
    return existsSync(join(this.path, 'maps'));
  }

  /** One agent a pin path. @throws PortcullisError PinPathLocked */
  lock(): { release(): void } {
    const lock = tryLockDirectory(this.path);
    if (lock) return lock;
    throw new PortcullisError('PinPathLocked', `another agent works on ${this.path}`, {
      field: '--pin-path',
      value: this.path,
    });
  }

  /** For one short change of a table that several processes write; waits for its turn. */
  async withTables<T>(work: () => T | Promise<T>): Promise<T> {
    const folder = join(this.path, 'maps');
    for (let waitedMs = 0; ; waitedMs += 10) {
      const lock = tryLockDirectory(folder);
      if (lock) {
        try {
          return await work();
        } finally {
          lock.release();
        }
      }
      if (waitedMs >= 10_000) throw new PortcullisError('PinPathLocked', `the tables of ${this.path} stay locked`, {});
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  at(folder: PinFolder, name: string): string {
    return join(this.path, folder, name);
  }

  names(folder: PinFolder): string[] {
    return existsSync(join(this.path, folder)) ? readdirSync(join(this.path, folder)) : [];
  }

  has(folder: PinFolder, name: string): boolean {
    return existsSync(this.at(folder, name));
  }

  remove(folder: PinFolder, name: string): void {
    if (this.has(folder, name)) unlinkSync(this.at(folder, name));
  }

  /** Atomically, over what stands there. */
  rename(folder: PinFolder, from: string, to: string): void {
    renameSync(this.at(folder, from), this.at(folder, to));
  }

  /** Takes every pin away, then the folders: what nothing else holds is freed by that. */
  removeAll(): void {
    for (const folder of ['links', 'sets', 'maps'] as const) {
      for (const name of this.names(folder)) this.remove(folder, name);
      if (existsSync(join(this.path, folder))) rmdirSync(join(this.path, folder));
    }
    if (existsSync(this.path)) rmdirSync(this.path);
  }
}
