import { describe, expect, it } from 'vitest';
import type { IpBlocklistStatus } from '../../../api/types/ip-blocklist.ts';
import { ReportIndex } from '../../reports/index.ts';
import type { StoredList } from '../../stored/policy-object.ts';
import { aList, aNode, aReport } from '../../testing/objects.ts';
import type { PrefixSetResult } from './prefix-set.ts';
import { inlineEntries, listStatus, newsOfList, wantedPrefixSet } from './status.ts';

const now = Date.UTC(2026, 0, 1, 12);
const set = { digest: 'd1', prefixes: 3, chunks: ['feed-1'] };
const configMapRefs = [{ name: 'feeds', key: 'bad' }];

const result = (more: Partial<PrefixSetResult> = {}): PrefixSetResult => ({
  given: 4,
  refused: 1,
  refusedLines: [{ name: 'feeds', key: 'bad', line: 2, reason: 'HostBits' }],
  effective: 3,
  prefixSet: set,
  contains: (cidr) => cidr === '192.0.2.1/32',
  ...more,
});

function statusOf(list: StoredList, prefixSet?: PrefixSetResult, before: IpBlocklistStatus = {}): IpBlocklistStatus {
  const index = new ReportIndex({ staleAfterMs: 720_000, onChange: () => {} });
  const { name, uid, generation } = list.metadata;
  const digest = wantedPrefixSet(list, prefixSet)?.digest;
  const target = { kind: 'IpBlocklist' as const, name, uid, generation, nodeSelector: list.nodeSelector };
  index.setTarget({ ...target, ...(digest === undefined ? {} : { prefixSet: digest }) }, 0);
  index.setNode(aNode('a'));
  const lists = [{ name, packetsDropped: 5, ...(digest === undefined ? {} : { prefixSet: digest }) }];
  index.setReport({ report: aReport('a', { lists }), atMs: 0, atWallMs: now, ageMs: 0 }, 0);
  const view = index.view(`IpBlocklist/${name}`, 0)!;
  const inline = inlineEntries(list, prefixSet, now);
  return listStatus({ list, view, before, inline, prefixSet, concerns: [], wallMs: now });
}

describe('entries of the spec', () => {
  const entries = [
    { cidr: '192.0.2.1/32' },
    { cidr: '192.0.2.1/32', expiresAt: '2025-01-01T00:00:00Z' },
    { cidr: '192.0.2.2/32', expiresAt: '2025-01-01T00:00:00Z' },
    { cidr: '192.0.2.3/32', expiresAt: '2026-01-01T12:00:01Z' },
    { cidr: '192.0.2.4/32', expiresAt: '2027-01-01T00:00:00Z' },
  ];
  const list = aList('feed', { spec: { entries } });

  it('are counted once each, without those whose time is over', () => {
    expect(inlineEntries(list, undefined, now)).toEqual({
      given: 5,
      expired: 2,
      effective: 3,
      nextEndMs: Date.UTC(2026, 0, 1, 12, 0, 1),
    });
  });

  it('are not counted again when the ConfigMaps have them too', () => {
    expect(inlineEntries(list, result(), now).effective).toBe(2);
  });
});

describe('the status of a list', () => {
  it('tells what became of entries and lines, and what is in force where', () => {
    const status = statusOf(aList('feed', { spec: { entries: [{ cidr: '192.0.2.9/32' }], configMapRefs } }), result());
    expect(status).toMatchObject({
      observedGeneration: 1,
      summary: '1/1',
      entries: {
        given: 5,
        effective: 4,
        expired: 0,
        refused: 1,
        refusedLines: [{ name: 'feeds', key: 'bad', line: 2, reason: 'HostBits' }],
      },
      prefixSet: set,
      packetsDropped: 5,
    });
  });

  it('keeps the set and the counts that it has until the ConfigMaps were read', () => {
    const list = aList('feed', { spec: { configMapRefs }, status: { prefixSet: set } });
    const entries = { given: 9, effective: 8, expired: 0, refused: 1 };
    const status = statusOf(list, undefined, { prefixSet: set, entries });
    expect(status).toMatchObject({ prefixSet: set, entries });
  });

  it('keeps them when the list is refused, since nodes go on with what they have', () => {
    const list = aList('feed', { spec: { configMapRefs, mode: 'Maybe' }, status: { prefixSet: set } });
    const entries = { given: 9, effective: 8, expired: 0, refused: 1 };
    expect(statusOf(list, undefined, { prefixSet: set, entries })).toMatchObject({ prefixSet: set, entries });
  });

  it('has no set any more when the list refers to no ConfigMap any more', () => {
    const list = aList('feed', { spec: { entries: [{ cidr: '192.0.2.9/32' }] }, status: { prefixSet: set } });
    expect(statusOf(list, undefined, { prefixSet: set })).not.toHaveProperty('prefixSet');
  });

  it('is degraded while a ConfigMap is missing', () => {
    const problem = { reason: 'ConfigMapMissing', message: 'There is no ConfigMap feeds.' };
    const status = statusOf(aList('feed', { spec: { configMapRefs } }), result({ problem }));
    expect(status.conditions![1]).toMatchObject({ type: 'Degraded', status: 'True', ...problem });
  });

  it('has no news in packets', () => {
    const list = aList('feed', { spec: { entries: [{ cidr: '192.0.2.9/32' }] } });
    const status = statusOf(list);
    expect(newsOfList({ ...status, packetsDropped: 99 })).toEqual(newsOfList(status));
    expect(newsOfList({ ...status, prefixSet: set })).not.toEqual(newsOfList(status));
  });
});
