import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning } from './is-running.ts';

// All synchronous: this runs when a process exits, where nothing can be awaited any more.

const bpffs = '/sys/fs/bpf';
const bpffsMagic = 0xcafe4a11;
const namespaceFolder = '/run/netns';
const namespaceName = /^pc-(\d+)-/;
const pinFolderName = /^pc-test-(\d+)-/;

let nextPinFolder = 0;

/** A new folder below the machine's bpffs, which is mounted where it is not. */
export function createPinFolder(): string {
  if (statfsSync(bpffs).type !== bpffsMagic) tool('mount', '-t', 'bpf', 'bpf', bpffs);
  for (;;) {
    const folder = join(bpffs, `pc-test-${process.pid}-${nextPinFolder++}`);
    try {
      mkdirSync(folder);
      return folder;
    } catch (error) {
      // Another worker of this process was faster.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

/** Ends what runs in a namespace, then removes its interfaces and itself. */
export function removeNamespace(name: string): void {
  if (!existsSync(join(namespaceFolder, name))) return;
  for (const pid of tool('ip', 'netns', 'pids', name).split(/\s+/).filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // Ended in between.
    }
  }
  // The kernel clears a namespace some time after its last user is gone; a link that is deleted is gone at once.
  for (const [, link] of tool('ip', '-n', name, '-o', 'link', 'show').matchAll(/^\d+: ([^:@]+)/gm)) {
    if (link !== 'lo') tool('ip', '-n', name, 'link', 'del', link!);
  }
  tool('ip', 'netns', 'del', name);
}

/** Removes what runs of these tests left behind whose process is gone: after SIGKILL nothing else can. */
export function removeLeftovers(): void {
  for (const name of entries(namespaceFolder)) {
    if (isOfDeadProcess(name, namespaceName)) removeNamespace(name);
  }
  for (const name of entries(bpffs)) {
    if (isOfDeadProcess(name, pinFolderName)) removeFolder(join(bpffs, name));
  }
}

function isOfDeadProcess(name: string, pattern: RegExp): boolean {
  const pid = pattern.exec(name)?.[1];
  return pid !== undefined && !isRunning(pid);
}

function entries(folder: string): readonly string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** What a tool wrote; its failures are of no interest to who cleans up. */
function tool(...argv: readonly string[]): string {
  const path = `${process.env.PATH}:/usr/sbin:/sbin`;
  return spawnSync(argv[0]!, argv.slice(1), { encoding: 'utf8', env: { ...process.env, PATH: path } }).stdout ?? '';
}
