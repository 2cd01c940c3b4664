import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning } from '../../support/is-running.ts';

const mountPoint = '/sys/fs/cgroup';
const cgroup2Magic = 0x63677270;
const rootName = /^pc-(\d+)-/;

/**
 * A cgroup, in each hierarchy, below which one kubelet puts its pods: two of them would undo each other's work in one. All
 * synchronous, since removal also runs when the process exits.
 */
export class CgroupRoot {
  /** As kubelet's `cgroupRoot` takes it. */
  readonly path: string;

  private constructor(name: string) {
    this.path = `/${name}`;
  }

  static create(name: string): CgroupRoot {
    const root = new CgroupRoot(name);
    if (isUnified()) enableControllers();
    for (const hierarchy of hierarchies()) {
      const folder = join(hierarchy, name);
      mkdirSync(folder, { recursive: true });
      // In version 1 a cpuset starts empty, and takes no process while it is.
      for (const file of ['cpuset.cpus', 'cpuset.mems']) {
        if (!isUnified() && existsSync(join(folder, file)))
          writeFileSync(join(folder, file), readFileSync(join(hierarchy, file)));
      }
    }
    return root;
  }

  /** What is below it goes; false where a process has not quite ended. */
  clear(): boolean {
    const below = () => hierarchies().flatMap((hierarchy) => children(join(hierarchy, this.path)));
    for (const child of below()) removeTree(child);
    return below().length === 0;
  }

  remove(): void {
    for (const hierarchy of hierarchies()) removeTree(join(hierarchy, this.path));
  }
}

/** Removes those of runs that were killed. */
export function removeLeftCgroups(): void {
  for (const hierarchy of hierarchies()) {
    for (const name of readdirSync(hierarchy)) {
      const pid = rootName.exec(name)?.[1];
      if (pid !== undefined && !isRunning(pid)) removeTree(join(hierarchy, name));
    }
  }
}

/** Folders of a run's process, whether or not it still runs. */
export function leftCgroups(ofPid: number): readonly string[] {
  return hierarchies().flatMap((hierarchy) =>
    readdirSync(hierarchy)
      .filter((name) => rootName.exec(name)?.[1] === `${ofPid}`)
      .map((name) => join(hierarchy, name)),
  );
}

function isUnified(): boolean {
  return statfsSync(mountPoint).type === cgroup2Magic;
}

function hierarchies(): readonly string[] {
  if (isUnified()) return [mountPoint];
  return (
    readdirSync(mountPoint, { withFileTypes: true })
      // Where both versions are mounted, runc puts its processes into `unified` too.
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(mountPoint, entry.name))
  );
}

function enableControllers(): void {
  const available = readFileSync(join(mountPoint, 'cgroup.controllers'), 'utf8').trim().split(' ');
  writeFileSync(join(mountPoint, 'cgroup.subtree_control'), available.map((name) => `+${name}`).join(' '));
}

function removeTree(folder: string): void {
  for (const child of children(folder)) removeTree(child);
  try {
    rmdirSync(folder);
  } catch {
    // Not there, or a process of it has not quite ended: the next run removes it.
  }
}

function children(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(folder, entry.name));
}
