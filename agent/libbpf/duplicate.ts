import { check } from './bpf-error.ts';
import { declare, libc } from './ffi.ts';

const F_DUPFD_CLOEXEC = 1030;
const fcntl = declare<(fd: number, command: number, argument: number) => number>(
  'int fcntl(int fd, int command, int argument)',
  libc,
);

/** A second descriptor of the same kernel object. */
export const duplicateFd = (fd: number): number => check('duplicate descriptor', fcntl(fd, F_DUPFD_CLOEXEC, 3));
