import { describe, expect, it } from 'vitest';
import type { KubeObject } from '../../kube/objects.ts';
import { aList, aPolicy } from '../testing/objects.ts';
import { policyStore } from './policy-object.ts';

describe('a policy as it is kept', () => {
  it('has its defaults', () => {
    expect(aPolicy('web').spec).toMatchObject({ mode: 'Enforce', priority: 0, detection: { distinctTargets: 15 } });
    expect(aPolicy('web').refusal).toBeUndefined();
  });

  it('is refused with the field and the remedy when an older schema let something in that this one does not', () => {
    const { spec, refusal, nodeSelector } = aPolicy('web', {
      spec: { detection: { distinctTargets: 1000 }, nodeSelector: { matchLabels: { zone: 'x' } } },
    });
    expect(spec).toBeUndefined();
    expect(refusal).toMatchObject({ reason: 'Invalid', field: 'spec.detection.distinctTargets' });
    expect(refusal!.message).toContain('1000');
    // Which nodes it is about is known all the same.
    expect(nodeSelector).toEqual({ matchLabels: { zone: 'x' } });
  });

  it('is written for a newer version when nothing is wrong but a field that is not known', () => {
    expect(aPolicy('web', { spec: { shiny: true } }).refusal).toMatchObject({
      reason: 'UnknownField',
      field: 'spec.shiny',
    });
    const both = aPolicy('web', { spec: { shiny: true, priority: -1 } }).refusal;
    expect(both).toMatchObject({ reason: 'Invalid', field: 'spec.priority' });
    expect(both!.message).toContain('(and 1 more)');
  });

  it('tells when its selector cannot be read, so that nobody takes it for one that selects all', () => {
    for (const nodeSelector of [
      'all',
      { matchLabels: { a: 1 } },
      { matchExpressions: [{ operator: 'Like' }] },
      { zone: 'x' },
    ]) {
      expect(aPolicy('web', { spec: { nodeSelector } }).nodeSelector).toBe('unreadable');
    }
    expect(aPolicy('web', { spec: { priority: -1 } }).nodeSelector).toBeUndefined();
  });

  it('survives a spec, a status and metadata of any form', () => {
    for (const odd of [null, [], 'text', 7]) {
      const object = { metadata: { name: 'web', generateName: 'w' }, spec: odd, status: odd } as unknown as KubeObject;
      expect(policyStore()(object)).toMatchObject({ refusal: { reason: 'Invalid' }, status: {} });
    }
  });

  it('is checked once for each generation, not with every write of its status', () => {
    const store = policyStore();
    const object = (generation: number, resourceVersion: string) =>
      ({ metadata: { name: 'web', uid: 'u', generation, resourceVersion }, spec: { mode: 'Monitor' } }) as KubeObject;
    const first = store(object(1, '1'));
    expect(store(object(1, '2')).spec).toBe(first.spec);
    expect(store(object(2, '3')).spec).not.toBe(first.spec);
  });
});

describe('a list as it is kept', () => {
  it('has its entries without what is for people alone', () => {
    const entries = [
      { cidr: '192.0.2.0/24', reason: 'scanner', expiresAt: '2027-01-01T00:00:00Z' },
      { cidr: '198.51.100.0/24', reason: 'scanner' },
    ];
    const { spec } = aList('feed', { spec: { entries, except: [{ cidr: '192.0.2.1/32' }] } });
    expect(spec!.entries).toEqual([
      { cidr: '192.0.2.0/24', expiresAt: '2027-01-01T00:00:00Z' },
      { cidr: '198.51.100.0/24' },
    ]);
    expect(spec).not.toHaveProperty('except');
  });
});
