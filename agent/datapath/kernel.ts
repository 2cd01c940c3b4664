import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { PortcullisError } from '../../api/errors.ts';
import { BpfObject } from '../libbpf/object.ts';
import type { BpfProgram } from '../libbpf/program.ts';
import { objectImage } from './objects.ts';

/** xdp.frags: programs that take frames of several buffers, as MTU 9000 needs. */
export const FRAGS_SINCE = [5, 18] as const;
/** The oldest kernel with everything else the program uses. */
const OLDEST = [5, 15] as const;

export const kernelAtLeast = ([major, minor]: readonly [number, number]): boolean => {
  const [a = 0, b = 0] = release().split('.').map(Number);
  return a > major || (a === major && b >= minor);
};

/** Loads the program that tells the tick. */
export const loadClockProgram = async (): Promise<BpfProgram> => {
  using object = BpfObject.open(objectImage('clock'));
  await object.load('clock');
  return object.takeProgram('clock');
};

/** What the kernel must have. @throws PortcullisError NotRoot, KernelTooOld, NoBtf */
export const checkKernel = (): void => {
  if (process.geteuid?.() !== 0) throw new PortcullisError('NotRoot', 'attaching programs needs root', {});
  if (!kernelAtLeast(OLDEST))
    throw new PortcullisError('KernelTooOld', `kernel ${release()} is older than ${OLDEST.join('.')}`, {
      value: release(),
    });
  if (!existsSync('/sys/kernel/btf/vmlinux'))
    throw new PortcullisError('NoBtf', 'the kernel has no /sys/kernel/btf/vmlinux', {});
};
