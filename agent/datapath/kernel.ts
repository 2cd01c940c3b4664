import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { PortcullisError } from '../../api/errors.ts';
import { BpfError } from '../libbpf/bpf-error.ts';
import { BpfObject } from '../libbpf/object.ts';
import type { BpfProgram } from '../libbpf/program.ts';
import { objectImage } from './objects.ts';
import { checkCapabilities, explainRefusal } from './privileges.ts';

/** xdp.frags: programs that take frames of several buffers, as MTU 9000 needs. */
export const FRAGS_SINCE = [5, 18] as const;
/** The oldest kernel with everything else the program uses. */
const OLDEST = [5, 15] as const;

export const kernelAtLeast = ([major, minor]: readonly [number, number]): boolean => {
  const [a = 0, b = 0] = release().split('.').map(Number);
  return a > major || (a === major && b >= minor);
};

/** Loads the program that tells the tick. It is the first that is loaded, and the smallest. @throws PortcullisError NotRoot */
export const loadClockProgram = async (): Promise<BpfProgram> => {
  try {
    using object = BpfObject.open(objectImage('clock'));
    await object.load('clock');
    return object.takeProgram('clock');
  } catch (error) {
    throw explainRefusal(error);
  }
};

/** Whether programs may ask connection tracking for flows that no socket knows. */
export type ConntrackSupport =
  | { readonly available: true }
  | {
      readonly available: false;
      /** What the kernel or libbpf said, in one line. */
      readonly reason: string;
      /** There may be flows that only connection tracking knows. */
      readonly isMissed: boolean;
    };

const CONNTRACK_MODULE = '/sys/kernel/btf/nf_conntrack';
let conntrack: { readonly support: ConntrackSupport; readonly hadModule: boolean } | undefined;

/**
 * Tries it by loading the smallest program that asks: kernels before 5.18, without the JIT or without conntrack refuse
 * it, and where conntrack is a module, so does whoever may not look through the BTF of modules (CAP_SYS_ADMIN). Tried
 * again when the module has come since.
 */
export const conntrackSupport = async (): Promise<ConntrackSupport> => {
  const hasModule = existsSync(CONNTRACK_MODULE);
  if (conntrack && (conntrack.support.available || conntrack.hadModule === hasModule)) return conntrack.support;
  conntrack = { support: await tryConntrack(hasModule), hadModule: hasModule };
  return conntrack.support;
};

const tryConntrack = async (hasModule: boolean): Promise<ConntrackSupport> => {
  try {
    using object = BpfObject.open(objectImage('conntrack'));
    await object.load('conntrack');
    return { available: true };
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    const why = hasModule
      ? 'nf_conntrack is a module here, whose types may be read with CAP_SYS_ADMIN alone'
      : 'it has nf_conntrack neither built in nor loaded, or is older than 5.18';
    const reason = `kernel ${release()} does not let programs ask it (${error.code}): ${why}`;
    return { available: false, reason, isMissed: hasModule };
  }
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
  checkCapabilities();
};
