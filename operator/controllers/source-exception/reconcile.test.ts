import { describe, expect, it } from 'vitest';
import { exceptionExpiry, isOfPlugin, listExpiry, planExpired } from './reconcile.ts';

const metadata = { name: 'x' };
const at = (text: string) => Date.parse(text);

describe('what the plugin made', () => {
  it('is known by its label', () => {
    const labelled = (value: string) => ({
      metadata: { name: 'x', labels: { 'app.kubernetes.io/managed-by': value } },
    });
    expect(isOfPlugin(labelled('kubectl-portcullis'))).toBe(true);
    expect(isOfPlugin(labelled('Helm'))).toBe(false);
    expect(isOfPlugin({ metadata })).toBe(false);
  });
});

describe('an exception', () => {
  it('ends at its time', () => {
    expect(exceptionExpiry({ metadata, spec: { expiresAt: '2026-01-02T03:04:05Z' } }).expiresAtMs).toBe(
      at('2026-01-02T03:04:05Z'),
    );
  });

  it.each([undefined, 7, 'yesterday', '2026-02-30T00:00:00Z'])('never ends when its time is %s', (expiresAt) => {
    expect(exceptionExpiry({ metadata, spec: { expiresAt } }).expiresAtMs).toBeUndefined();
  });
});

describe('a list', () => {
  const ending = { expiresAt: '2026-01-01T00:00:00Z' };
  const later = { expiresAt: '2026-01-03T00:00:00Z' };
  const expiry = (entries: { expiresAt?: string }[], configMapRefs: unknown[] = []) =>
    listExpiry({ metadata, spec: { entries, configMapRefs } }).expiresAtMs;

  it('ends with its last entry', () => {
    expect(expiry([ending, later, ending])).toBe(at(later.expiresAt));
  });

  it('never ends with an entry for ever, with ConfigMaps, without entries, or when it is refused', () => {
    expect(expiry([ending, {}])).toBeUndefined();
    expect(expiry([ending], [{ name: 'a', key: 'b' }])).toBeUndefined();
    expect(expiry([])).toBeUndefined();
    expect(listExpiry({ metadata }).expiresAtMs).toBeUndefined();
  });
});

describe('what is deleted', () => {
  it('has been over for the whole time', () => {
    const objects = [1000, 2000, 3000, undefined].map((expiresAtMs) => ({ metadata, expiresAtMs }));
    expect(planExpired(objects, 3000, 1000).map(({ expiresAtMs }) => expiresAtMs)).toEqual([1000, 2000]);
  });
});
