import { spawnSync } from 'node:child_process';
import { copyFileSync, lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { version } from '../../agent/version.ts';
import { UnpackedImage } from '../../scripts/images/archive.ts';
import { elfMachine, isElf } from '../../scripts/images/elf.ts';
import { builtImage } from './built-images.ts';
import { arm64Emulator } from './emulator.ts';

let image: UnpackedImage;

beforeAll(async () => {
  image = UnpackedImage.open(await builtImage('agent', { platform: 'linux/arm64' }));
  copyFileSync(await arm64Emulator(), join(image.rootfs, 'emulator'));
}, 1_200_000);
afterAll(() => image?.[Symbol.dispose]());

/** In the image's own file system, with the machine's /proc: nothing else of this machine can be reached by it. */
function emulated(...argv: readonly string[]) {
  const script = 'mount --bind /proc "$0/proc" && exec chroot "$0" /emulator "$@"';
  const { status, stdout, stderr } = spawnSync('unshare', ['--mount', 'sh', '-c', script, image.rootfs, ...argv], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH },
    timeout: 110_000,
  });
  return { status, stdout, stderr };
}

describe("the agent's image for arm64, built on this machine", () => {
  test('holds programs and libraries of arm64, and BPF objects, which are the same for all', () => {
    expect(image.config.architecture).toBe('arm64');
    const elf = image
      .paths()
      .filter((path) => path !== 'emulator' && lstatSync(join(image.rootfs, path)).isFile())
      .filter((path) => isElf(join(image.rootfs, path)));
    const machines = elf.map((path) => [path, elfMachine(readFileSync(join(image.rootfs, path)))] as const);
    for (const [path, machine] of machines)
      expect([path, machine]).toEqual([path, path.endsWith('.bpf.o') ? 'BPF' : 'arm64']);
    expect(machines.filter(([, machine]) => machine === 'BPF').length).toBeGreaterThanOrEqual(5);
    expect(elf).toEqual(expect.arrayContaining(['usr/bin/node', 'usr/lib/aarch64-linux-gnu/libbpf.so.1']));
  });

  test('lists packages of arm64', () => {
    expect(readFileSync(join(image.rootfs, 'var/lib/dpkg/status.d/libbpf1'), 'utf8')).toMatch(/^Architecture: arm64$/m);
  });

  test('runs: Node.js, and the agent in it', () => {
    expect(emulated('/usr/bin/node', '--version')).toEqual({ status: 0, stdout: `${process.version}\n`, stderr: '' });
    expect(emulated('/usr/bin/node', '/usr/bin/portcullis-agent', '--version')).toEqual({
      status: 0,
      stdout: `${version}\n`,
      stderr: '',
    });
  });

  test('finds libbpf through koffi: a command gets as far as to see that nothing is pinned', () => {
    const { stderr } = emulated('/usr/bin/node', '/usr/bin/portcullis-agent', 'status', '--pin-path', '/nowhere');
    expect(stderr).toContain('NothingPinned');
  });
});
