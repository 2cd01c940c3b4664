import { declare, libc } from './ffi.ts';

/** glibc's; other C libraries have none, and nothing depends on it. */
const mallocTrim = (() => {
  try {
    return declare<(pad: number) => number>('int malloc_trim(size_t pad)', libc);
  } catch {
    return undefined;
  }
})();

/** Gives freed memory back to the kernel: loading a program reads the kernel's BTF, 5 MB and more, which malloc would keep. */
export const releaseFreedMemory = (): void => {
  mallocTrim?.(0);
};
