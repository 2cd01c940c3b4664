import { describe, expect, it } from 'vitest';
import type { KubeObject } from '../../kube/objects.ts';
import { aReport, rawReport, writtenAt } from '../testing/objects.ts';
import { reportStore } from './report.ts';

const store = reportStore();

describe('a report as it is kept', () => {
  it('knows its Node, and when the API server took it', () => {
    expect(aReport('a')).toMatchObject({ ownerNodeUid: 'uid-a', writtenAtMs: Date.parse(writtenAt) });
  });

  it('shares what thousands of nodes say in the same words', () => {
    const one = store(rawReport('a', { policies: [{ name: 'web' }] }));
    const other = store(rawReport('b', { policies: [{ name: 'web' }] }));
    const counting = store(rawReport('c', { policies: [{ name: 'web', blocked: 1 }] }));
    expect(other.policies[0]).toBe(one.policies[0]);
    expect(counting.policies[0]).toMatchObject({ blocked: 1 });
  });

  it('leaves out blocks whose source is no address, and takes control characters out of what is shown', () => {
    const { blocks, policies } = aReport('a', {
      policies: [{ name: 'web', state: 'Failed', message: 'no\u001b[2Jroom\n' }],
      blocks: [
        { source: '192.0.2.1' },
        { source: '\u001b[2J' },
        { source: '2001:db8::/64' },
        { source: '192.0.2.1; rm' },
      ],
    });
    expect(blocks.map(({ source }) => source)).toEqual(['192.0.2.1', '2001:db8::/64']);
    expect(policies[0]!.message).toBe('no [2Jroom ');
  });

  it('shows nothing that reorders or hides text, and never half a character', () => {
    const { policies } = aReport('a', {
      policies: [
        { name: 'web', state: 'Failed', message: 'a\u202eb\u2066c\u200bd\u2028e' },
        { name: 'db', state: 'Failed', message: `x${'\u{1f600}'.repeat(256)}` },
      ],
    });
    expect(policies[0]!.message).toBe('a b c d e');
    // The API server would store U+FFFD for a half, and the operator write its status again and again.
    expect(policies[1]!.message).toMatch(/^x\u{1f600}{127}…$/u);
    expect(policies[1]!.message!.isWellFormed()).toBe(true);
  });

  it('believes no block that begins after the report was written, and no uid that no Node can have', () => {
    const until = '2026-01-02T00:00:00Z';
    const { blocks } = aReport('a', { blocks: [{ source: '192.0.2.1', since: until, until, secondsLeft: 3600 }] });
    expect(blocks[0]!.lengthMs).toBe(3_600_000);
    const raw = rawReport('a');
    const owner = { apiVersion: 'v1', kind: 'Node', name: 'a', uid: 'u'.repeat(1_000_000) };
    const stored = store({ ...raw, metadata: { ...raw.metadata, ownerReferences: [owner] } });
    expect(stored.ownerNodeUid).toHaveLength(64);
  });

  it('bounds every number and every list, whatever a stolen token writes', () => {
    const huge = Number.MAX_VALUE;
    const { policies, blocks, troubles } = aReport('a', {
      policies: Array.from({ length: 1000 }, (_, i) => ({ name: `p${i}`, blocked: huge, packetsDropped: huge })),
      blocks: Array.from({ length: 100 }, () => ({
        source: '192.0.2.1',
        since: '0001-01-01T00:00:00Z',
        until: '9999-12-31T00:00:00Z',
        secondsLeft: huge,
        ports: [70_000, -1, 22, 1.5],
      })),
      findings: Array.from({ length: 100 }, () => ({ code: 'TableFull', message: 'm'.repeat(5000) })),
    });
    expect(policies).toHaveLength(200);
    expect(policies[0]!.blocked).toBe(2 ** 31 - 1);
    expect(blocks).toHaveLength(20);
    expect(blocks[0]!.ports).toEqual([22]);
    expect(() => new Date(blocks[0]!.leftMs - blocks[0]!.lengthMs).toISOString()).not.toThrow();
    expect(troubles).toHaveLength(20);
    expect(troubles[0]!.message).toHaveLength(256);
  });

  it('survives any form', () => {
    for (const odd of [undefined, null, [], 'x', 7, { policies: 7, lists: [null, 'x'], blocks: [], findings: {} }]) {
      const object = { metadata: { name: 'a', managedFields: 'x' }, status: odd } as unknown as KubeObject;
      expect(store(object)).toMatchObject({ policies: [], lists: [], blocks: [], troubles: [], isDetached: false });
    }
  });
});
