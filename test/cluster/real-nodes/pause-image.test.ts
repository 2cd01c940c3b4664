import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UnpackedImage } from '../../../scripts/images/archive.ts';
import { waitFor } from '../../support/wait-for.ts';
import { writePauseImage } from './pause-image.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pc-pause-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('the pause image holds a program that waits until it is ended', async () => {
  const archive = join(folder, 'pause.tar');
  writePauseImage(archive);
  using image = UnpackedImage.open(archive);
  expect(image.config.config.Entrypoint).toEqual(['/pause']);
  expect(image.paths()).toEqual(['pause']);
  const child = spawn(join(image.rootfs, 'pause'), { stdio: 'ignore' });
  const exit = once(child, 'exit');
  // Asleep, which a program that ran in circles or had crashed is not.
  await waitFor(() => /^State:\s+S/m.test(readFileSync(`/proc/${child.pid}/status`, 'utf8')), 5_000);
  child.kill('SIGTERM');
  expect((await exit)[1]).toBe('SIGTERM');
});

test('there is one for each architecture that nodes have', () => {
  for (const arch of ['x64', 'arm64']) {
    const archive = join(folder, `${arch}.tar`);
    writePauseImage(archive, arch);
    using image = UnpackedImage.open(archive);
    expect(image.config.architecture).toBe(arch === 'x64' ? 'amd64' : 'arm64');
  }
});
