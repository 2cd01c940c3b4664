import koffi from 'koffi';
import { BpfError, check } from './bpf-error.ts';
import { lib } from './ffi.ts';

const O_RDONLY = 0;
const O_DIRECTORY = 0o200000;
const O_CLOEXEC = 0o2000000;
const LOCK_EX = 2;
const LOCK_NB = 4;
const EWOULDBLOCK = 11;

/**
 * An exclusive flock on a directory: a bpffs holds no plain files, and a lock of the kernel's goes with the process,
 * however it ends. Undefined when somebody else holds it.
 */
export const tryLockDirectory = (path: string): { release(): void } | undefined => {
  const fd = lib.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  check(`open ${path}`, fd);
  if (lib.flock(fd, LOCK_EX | LOCK_NB) < 0) {
    const errno = koffi.errno();
    lib.close(fd);
    if (errno === EWOULDBLOCK) return undefined;
    throw new BpfError(`lock ${path}`, errno);
  }
  return { release: () => void lib.close(fd) };
};
