import { describe, expect, it } from 'vitest';
import type { KubeObject } from '../../../kube/objects.ts';
import { newChunk, planChunks } from './reconcile.ts';

const list = { name: 'bad', uid: '11111111-aaaa' };

function chunk(name: string, owner?: { name?: string; uid?: string; kind?: string; apiVersion?: string }): KubeObject {
  const ownerReferences = owner && [
    { apiVersion: 'portcullis.dev/v1alpha1', kind: 'IpBlocklist', name: list.name, uid: list.uid, ...owner },
  ];
  return { metadata: { name, uid: `uid of ${name}`, ...(ownerReferences ? { ownerReferences } : {}) } };
}

const wanted = (...chunks: string[]) => ({ digest: 'd', prefixes: 1, chunks });
const namesOf = (chunks: readonly { name: string }[]) => chunks.map(({ name }) => name);

function plan(...args: Parameters<typeof planChunks>) {
  const { missing, present, surplus } = planChunks(...args);
  return { missing, present: namesOf(present), surplus: namesOf(surplus) };
}

describe('the chunks of a list', () => {
  it('are made where they are missing, and deleted where the set does not name them', () => {
    const stored = [chunk('kept', {}), chunk('old', {})];
    expect(plan('bad', list, wanted('kept', 'new'), stored)).toEqual({
      missing: ['new'],
      present: ['kept'],
      surplus: ['old'],
    });
  });

  it('are never those of others: without owner, of another list, of another kind', () => {
    const stored = [
      chunk('by-hand'),
      chunk('of-another-list', { name: 'worse', uid: '2' }),
      chunk('of-another-kind', { kind: 'PortScanPolicy' }),
      chunk('of-another-group', { apiVersion: 'example.com/v1' }),
    ];
    expect(plan('bad', list, wanted(), stored)).toEqual({ missing: [], present: [], surplus: [] });
  });

  it('are made where somebody else has something of that name', () => {
    expect(plan('bad', list, wanted('taken'), [chunk('taken')]).missing).toEqual(['taken']);
  });

  it('are deleted when the list is gone, or was made anew', () => {
    const stored = [chunk('old', { uid: 'before' }), chunk('kept', {})];
    expect(plan('bad', list, wanted('kept'), stored).surplus).toEqual(['old']);
    expect(plan('bad', undefined, undefined, stored).surplus).toEqual(['old', 'kept']);
  });

  it('say whose they are', () => {
    expect(newChunk('11111111-x', list, '192.0.2.0/24\n198.51.100.0/24', 2)).toEqual({
      metadata: {
        name: '11111111-x',
        labels: { 'portcullis.dev/list': 'bad' },
        ownerReferences: [{ apiVersion: 'portcullis.dev/v1alpha1', kind: 'IpBlocklist', name: 'bad', uid: list.uid }],
      },
      spec: { list: 'bad', count: 2, prefixes: '192.0.2.0/24\n198.51.100.0/24' },
    });
    const long = { ...list, name: 'x'.repeat(64) };
    expect(newChunk('c', long, '::1/128', 1).metadata.labels).toEqual({ 'portcullis.dev/list': '11111111' });
  });
});
