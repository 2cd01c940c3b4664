import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';

/**
 * Holds a lock on `file` until it is disposed of: `using lock = await lockFile(...)`. The kernel keeps it (flock), so that of a
 * process that died is free at once. `onWait` is called when another process holds it now.
 */
export async function lockFile(file: string, onWait: () => void): Promise<Disposable> {
  const descriptor = openSync(file, 'a');
  try {
    // Node.js has no flock(2). The lock belongs to the open file, which flock(1) gets from here, and stays with it when flock(1) ends.
    if ((await flock(descriptor, '--nonblock')) !== 0) {
      onWait();
      const code = await flock(descriptor);
      if (code !== 0) throw new Error(`flock ${file} ended with ${code}`);
    }
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  return { [Symbol.dispose]: () => closeSync(descriptor) };
}

async function flock(descriptor: number, ...flags: readonly string[]): Promise<number | null> {
  const child = spawn('flock', [...flags, '--exclusive', '3'], { stdio: ['ignore', 'ignore', 'inherit', descriptor] });
  const [code] = await once(child, 'close');
  return code as number | null;
}
