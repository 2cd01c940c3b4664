import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { UnpackedImage } from '../../scripts/images/archive.ts';
import { type CommandResult, RunningCommand, run } from '../support/command.ts';

/** Those that the chart gives to agents. */
export const agentCapabilities = ['CAP_BPF', 'CAP_NET_ADMIN', 'CAP_PERFMON'] as const;

export interface ContainerOptions {
  readonly args: readonly string[];
  /** None when absent. */
  readonly capabilities?: readonly string[];
  /** System calls that end with EPERM, as a profile does it that does not list them. */
  readonly refusedCalls?: readonly string[];
  /** Files put below /etc/given. */
  readonly files?: Readonly<Record<string, string>>;
  /** Killed once its standard output has this. */
  readonly stopWhenSaid?: string;
  /** Killed after this long. */
  readonly timeoutMs?: number;
}

/**
 * Runs an image's own entry point as a container, by runc: as the image's user, with a read-only root, a network namespace and a
 * BPF file system of its own, and no privilege but those that are given. Resolves when it has ended.
 */
export async function runContainer(
  { rootfs, config }: UnpackedImage,
  options: ContainerOptions,
): Promise<CommandResult> {
  const { args, capabilities = [], refusedCalls = [], files = {}, stopWhenSaid, timeoutMs = 60_000 } = options;
  const folder = mkdtempSync(join(tmpdir(), 'pc-container-'));
  const id = `portcullis-${randomUUID()}`;
  const given = join(folder, 'given');
  mkdirSync(given);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(given, name), text);
  const [uid = 0, gid = 0] = (config.config.User ?? '0:0').split(':').map(Number);
  const bundle = {
    ociVersion: '1.0.2',
    process: {
      user: { uid, gid },
      args: [...(config.config.Entrypoint ?? []), ...args],
      env: ['PATH=/usr/bin'],
      cwd: '/',
      noNewPrivileges: true,
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
    },
    root: { path: rootfs, readonly: true },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
      { destination: '/sys/fs/bpf', type: 'bpf', source: 'bpf' },
      { destination: '/run', type: 'tmpfs', source: 'tmpfs', options: ['mode=755'] },
      { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['mode=1777'] },
      { destination: '/etc/given', type: 'none', source: given, options: ['rbind', 'ro'] },
    ],
    linux: {
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
      ...(refusedCalls.length === 0
        ? {}
        : {
            seccomp: {
              defaultAction: 'SCMP_ACT_ALLOW',
              syscalls: [{ names: refusedCalls, action: 'SCMP_ACT_ERRNO', errnoRet: 1 }],
            },
          }),
    },
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(bundle));
  const runc = ['runc', '--root', join(folder, 'runc')];
  const command = new RunningCommand([...runc, 'run', '--bundle', folder, id]);
  // A container outlives a runc that was killed.
  const kill = () => void run([...runc, 'kill', id, 'KILL'], { allowFailure: true });
  const timer = setTimeout(kill, timeoutMs);
  if (stopWhenSaid !== undefined)
    command.child.stdout!.on('data', () => {
      if (command.stdout.includes(stopWhenSaid)) kill();
    });
  try {
    return await command.ended;
  } finally {
    clearTimeout(timer);
    await run([...runc, 'delete', '--force', id], { allowFailure: true });
    rmSync(folder, { recursive: true, force: true });
  }
}
