import { readFileSync } from 'node:fs';
import { PortcullisError } from '../../api/errors.ts';
import { BpfError } from '../libbpf/bpf-error.ts';

/** What attaching needs, with its bit in a set of capabilities; and what the kernel takes in its place. */
const needed = [
  { name: 'BPF', bit: 39n, or: 21n },
  { name: 'NET_ADMIN', bit: 12n, or: 12n },
  { name: 'PERFMON', bit: 38n, or: 21n },
] as const;

/** Empty where there is no /proc: then the kernel has the word. */
const ownStatus = (): string => {
  try {
    return readFileSync('/proc/self/status', 'utf8');
  } catch {
    return '';
  }
};

/** Names without `CAP_`, out of the text of /proc/PID/status. None when that tells nothing. */
export const missingCapabilities = (status: string): readonly string[] => {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (effective === undefined) return [];
  const set = BigInt(`0x${effective}`);
  const has = (bit: bigint) => ((set >> bit) & 1n) === 1n;
  return needed.filter(({ bit, or }) => !has(bit) && !has(or)).map(({ name }) => name);
};

/** @throws PortcullisError NotRoot */
export const checkCapabilities = (status = ownStatus()): void => {
  const missing = missingCapabilities(status);
  if (missing.length > 0) throw lacking(missing);
};

/**
 * What a refused bpf() means, as a PortcullisError NotRoot that names the remedy: the kernel says EPERM of a capability that is
 * missing and of a profile of the container alike. Any other error as it is.
 */
export const explainRefusal = (error: unknown, status = ownStatus()): unknown => {
  // Profiles end system calls that they do not list with the one or the other.
  if (!(error instanceof BpfError) || !['EPERM', 'ENOSYS'].includes(error.code)) return error;
  const missing = missingCapabilities(status);
  if (missing.length > 0) return lacking(missing, error);
  const isFiltered = /^Seccomp:\s*2$/m.test(status);
  const [reason, remedy] = isFiltered
    ? [
        'a seccomp profile is on it',
        "Allow bpf() in the container's seccomp profile: with the chart agent.seccompProfile=Unconfined, or else agent.privileged=true.",
      ]
    : [
        'no seccomp profile is on it: a security module, lockdown of the kernel or a user namespace may refuse it',
        "Look for the refusal in the kernel's log, and allow bpf() there; with the chart agent.privileged=true may help.",
      ];
  const message = `bpf() is refused (${error.message}) although the process has the capabilities, and ${reason}`;
  return new PortcullisError('NotRoot', message, { cause: error, remedy });
};

const lacking = (missing: readonly string[], cause?: Error): PortcullisError => {
  const names = missing.join(', ');
  return new PortcullisError(
    'NotRoot',
    `the process lacks the ${missing.length > 1 ? 'capabilities' : 'capability'} ${names}`,
    {
      ...(cause && { cause }),
      remedy: `Add ${names} to the container's capabilities, or run it privileged (with the chart agent.privileged=true); outside of containers run it as root.`,
    },
  );
};
