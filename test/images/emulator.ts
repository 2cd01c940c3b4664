import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { lockFile } from '../cluster/control-plane/file-lock.ts';
import { cacheFolder } from '../cluster/control-plane/go-programs.ts';
import { run } from '../support/command.ts';

const program = 'usr/bin/qemu-aarch64-static';

/**
 * A program that runs those of arm64 and needs nothing beside it. Out of Debian's package, unpacked and not installed: installed,
 * it would run such programs for the whole machine.
 */
export async function arm64Emulator(env: NodeJS.ProcessEnv = process.env): Promise<string> {
  if (existsSync(join('/', program))) return join('/', program);
  const cache = cacheFolder(env);
  mkdirSync(cache, { recursive: true });
  const folder = join(cache, 'qemu-user-static');
  using _lock = await lockFile(join(cache, 'qemu-user-static.lock'), () => {});
  if (existsSync(folder)) return join(folder, program);
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  const script =
    'apt-get -qq download qemu-user-static && dpkg-deb --extract qemu-user-static_*.deb . && rm qemu-user-static_*.deb';
  await run(['sh', '-c', `(${script}) || (apt-get -qq update && ${script})`], { cwd: partial, timeoutMs: 180_000 });
  renameSync(partial, folder);
  return join(folder, program);
}
