import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { parsePrefixOrAddress } from '../../api/cidr.ts';
import { validateObject } from '../../api/validate.ts';
import type { KubeObject } from '../../kube/objects.ts';
import { FakeClock } from '../../kube/testing/fake-clock.ts';
import { type BlockOptions, blockDryRun, listFor } from './block.ts';
import { exceptionFor, type UnblockOptions, unblockDryRun, viewOf } from './unblock.ts';

const nowMs = Date.UTC(2030, 0, 1, 12) + 1;
const source = parsePrefixOrAddress('192.0.2.7')!;
const unblockOptions: UnblockOptions = {
  source,
  durationMs: 3_600_000,
  policies: [],
  reason: undefined,
  waitMs: 0,
  dryRun: true,
};
const blockOptions: BlockOptions = {
  source,
  durationMs: 90_000,
  reason: 'stuffing',
  nodeLabels: {},
  waitMs: 0,
  dryRun: true,
};

test('unblock writes an exception that ends, and that the operator may delete then', () => {
  expect(exceptionFor(unblockOptions, nowMs)).toEqual({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'SourceException',
    metadata: { name: 'unblock-192.0.2.7', labels: { 'app.kubernetes.io/managed-by': 'kubectl-portcullis' } },
    spec: { source: '192.0.2.7/32', expiresAt: '2030-01-01T13:00:01Z' },
  });
  const named = exceptionFor({ ...unblockOptions, policies: ['web'], reason: 'our own' }, nowMs);
  expect(named.spec).toMatchObject({ policies: ['web'], reason: 'our own' });
});

test('block writes a list of one entry that ends', () => {
  expect(listFor(blockOptions, nowMs).spec).toEqual({
    mode: 'Enforce',
    entries: [{ cidr: '192.0.2.7/32', reason: 'stuffing', expiresAt: '2030-01-01T12:01:31Z' }],
  });
  expect(listFor({ ...blockOptions, nodeLabels: { role: 'edge' } }, nowMs).spec).toMatchObject({
    nodeSelector: { matchLabels: { role: 'edge' } },
  });
});

test('--dry-run prints YAML that check accepts', () => {
  const clock = new FakeClock();
  let text = '';
  const io = {
    stdout: (part: string) => {
      text += part;
    },
    stderr: () => {},
    stdin: async () => new Uint8Array(),
  };
  expect(unblockDryRun({ io, clock }, { ...unblockOptions, reason: 'yes: no #1' })).toBe(0);
  expect(validateObject(parse(text))).toMatchObject({ problems: [], object: { spec: { reason: 'yes: no #1' } } });
  text = '';
  expect(blockDryRun({ io, clock }, blockOptions)).toBe(0);
  expect(validateObject(parse(text))).toMatchObject({ problems: [], object: { kind: 'IpBlocklist' } });
});

describe('what a report says of a source that was let in', () => {
  const reportOf = (blocks: readonly object[], exceptions: readonly string[] = []) =>
    ({
      metadata: { name: 'n1', managedFields: [{ time: '2030-01-01T12:00:00Z' }] },
      status: {
        observedAt: '2030-01-01T12:00:00Z',
        exceptions,
        blocks: {
          blocked: blocks.length,
          newest: blocks.map((block) => ({
            source: '192.0.2.7',
            policy: 'web',
            state: 'Blocked',
            since: '2030-01-01T11:59:00Z',
            until: '2030-01-01T12:09:00Z',
            secondsLeft: 540,
            ...block,
          })),
        },
      },
    }) as unknown as KubeObject;
  const view = (blocks: readonly object[], exceptions: readonly string[] = [], options = unblockOptions) =>
    viewOf(reportOf(blocks, exceptions), options, 'unblock-192.0.2.7', nowMs);

  test('it is blocked, until the block is gone', () => {
    expect(view([{}])).toMatchObject({ isBlocked: true, isExcepted: false });
    expect(view([], ['unblock-192.0.2.7'])).toMatchObject({ isBlocked: false, isExcepted: true });
  });

  test('what drops nothing, and what other policies or hands block, is not waited for', () => {
    expect(view([{ state: 'WouldBlock' }, { policy: '(manual)' }]).isBlocked).toBe(false);
    expect(view([{}], [], { ...unblockOptions, policies: ['db'] }).isBlocked).toBe(false);
  });

  test('a block of a wider prefix stays for the others in it', () => {
    const options = { ...unblockOptions, source: parsePrefixOrAddress('2001:db8::7')! };
    expect(view([{ source: '2001:db8::/64' }], [], options)).toMatchObject({
      isBlocked: false,
      wider: ['2001:db8::/64'],
    });
  });
});
