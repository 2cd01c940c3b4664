import { describe, expect, test } from 'vitest';
import { PortcullisError } from '../../api/errors.ts';
import { BpfError } from '../libbpf/bpf-error.ts';
import { checkCapabilities, explainRefusal, missingCapabilities } from './privileges.ts';

const bits = { NET_ADMIN: 12n, SYS_ADMIN: 21n, PERFMON: 38n, BPF: 39n };
const status = (names: readonly (keyof typeof bits)[], seccomp = 0) => {
  const set = names.reduce((sum, name) => sum | (1n << bits[name]), 0n);
  return `Name:\tnode\nCapPrm:\t0000000000000000\nCapEff:\t${set.toString(16).padStart(16, '0')}\nSeccomp:\t${seccomp}\n`;
};
const refused = new BpfError('load clock', 1);

describe('privileges of the agent', () => {
  test('are BPF, NET_ADMIN and PERFMON', () => {
    expect(missingCapabilities(status(['BPF', 'NET_ADMIN', 'PERFMON']))).toEqual([]);
    expect(missingCapabilities(status(['NET_ADMIN']))).toEqual(['BPF', 'PERFMON']);
    expect(missingCapabilities(status([]))).toEqual(['BPF', 'NET_ADMIN', 'PERFMON']);
  });

  test('of old, SYS_ADMIN stands for two of them', () => {
    expect(missingCapabilities(status(['SYS_ADMIN']))).toEqual(['NET_ADMIN']);
  });

  test('are missed by name, with what helps', () => {
    expect(() => checkCapabilities(status(['BPF', 'NET_ADMIN']))).toThrow(
      expect.objectContaining({
        code: 'NotRoot',
        message: expect.stringContaining('lacks the capability PERFMON'),
        remedy: expect.stringContaining("Add PERFMON to the container's capabilities"),
      }),
    );
    expect(() => checkCapabilities(status(['SYS_ADMIN', 'NET_ADMIN']))).not.toThrow();
  });
});

describe('a bpf() that is refused', () => {
  const all = ['BPF', 'NET_ADMIN', 'PERFMON'] as const;

  test('under a seccomp profile names the value that lifts it', () => {
    expect(explainRefusal(refused, status(all, 2))).toMatchObject({
      code: 'NotRoot',
      message: expect.stringMatching(/load clock: EPERM.*seccomp profile is on it/),
      remedy: expect.stringContaining('agent.seccompProfile=Unconfined'),
    });
  });

  test('without one names who else may refuse it', () => {
    expect(explainRefusal(refused, status(all))).toMatchObject({
      message: expect.stringContaining('a security module, lockdown of the kernel or a user namespace'),
    });
  });

  test('without the capabilities names them', () => {
    expect(explainRefusal(refused, status(['NET_ADMIN'], 2))).toMatchObject({
      message: expect.stringContaining('lacks the capabilities BPF, PERFMON'),
    });
  });

  test('for another reason stays what it is', () => {
    const busy = new BpfError('attach', 16);
    expect(explainRefusal(busy, status(all, 2))).toBe(busy);
    const other = new PortcullisError('NoBtf', 'none');
    expect(explainRefusal(other, status([]))).toBe(other);
  });
});
