import { describe, expect, test } from 'vitest';
import { BpfError, check, checkPointer, errnoName } from './bpf-error.ts';

const caught = (work: () => unknown): BpfError => {
  try {
    work();
  } catch (error) {
    if (error instanceof BpfError) return error;
  }
  throw new Error('nothing was thrown');
};

describe('a failed call', () => {
  test('names what was tried and the errno', () => {
    const error = caught(() => check('open map', -13));
    expect(error).toMatchObject({ operation: 'open map', errno: 13, code: 'EACCES', message: 'open map: EACCES' });
  });

  test('that returns -1 takes the errno of the call', () => {
    expect(caught(() => check('open map', -1, 16))).toMatchObject({ errno: 16, code: 'EBUSY' });
  });

  test('that returns -1 without an errno is at least not a success', () => {
    expect(caught(() => check('open map', -1, 0))).toMatchObject({ errno: 1, code: 'EPERM' });
  });

  test('that returns no pointer is an error', () => {
    expect(caught(() => checkPointer('find program', null)).operation).toBe('find program');
    expect(checkPointer('find program', 7n)).toBe(7n);
  });

  test('shows the end of the log of the verifier and keeps all of it', () => {
    const log = `${Array.from({ length: 50 }, (_, i) => `line ${i}`).join('\n')}\n`;
    const error = new BpfError('load guard', 22, log);
    expect(error.message.split('\n')).toEqual([
      'load guard: EINVAL',
      ...Array.from({ length: 20 }, (_, i) => `line ${i + 30}`),
    ]);
    expect(error.verifierLog).toBe(log);
  });
});

test('a result that is not negative comes back', () => {
  expect([0, 1, 42].map((result) => check('anything', result))).toEqual([0, 1, 42]);
});

test('numbers of the kernel that libc does not know have names, and unknown ones their number', () => {
  expect(errnoName(524)).toBe('ENOTSUPP');
  expect(errnoName(7)).toBe('E2BIG');
  expect(errnoName(9_999)).toBe('errno 9999');
});
