import { describe, expect, it } from 'vitest';
import type { KubeMeta, KubeObject } from '../../kube/objects.ts';
import { managerWroteMs, reportSeen, type Times, watchedReport } from './seen.ts';

const at = (second: number) => new Date(Date.UTC(2030, 0, 1) + second * 1000).toISOString();
const ms = (second: number) => Date.parse(at(second));
const times: Times = { nowMs: ms(1000), wishMs: ms(900), staleAfterMs: 720_000 };

const report = (second: number, status: unknown = { state: 'Detached', breakGlass: 'Uninstall' }) =>
  watchedReport({
    metadata: {
      name: 'a',
      ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'a', uid: 'node' }],
      managedFields: [{ manager: 'portcullis-agent', time: at(second) }],
    },
    status,
  } as unknown as KubeObject);
const seen = (second: number, changes: Partial<Times> = {}) =>
  reportSeen(report(second), 'node', { ...times, ...changes });

describe('a report', () => {
  it('is an answer when it was written after the wish, or within its second', () => {
    expect(seen(901)).toMatchObject({ state: 'Detached', isUninstalled: true, isFresh: true, isAnswer: true });
    expect(seen(900)).toMatchObject({ isAnswer: true });
    expect(seen(899)).toMatchObject({ isFresh: true, isAnswer: false });
  });

  it('is stale by the times of the API server', () => {
    expect(seen(281)).toMatchObject({ isFresh: true });
    expect(seen(280)).toMatchObject({ isFresh: false });
  });

  it('answers by being fresh where nobody could be told', () => {
    expect(seen(900, { wishMs: undefined })).toMatchObject({ isAnswer: true });
    expect(seen(100, { wishMs: undefined })).toMatchObject({ isAnswer: false });
  });

  it('of an earlier Node of the same name is none', () => {
    expect(reportSeen(report(950), 'another', times)).toBeUndefined();
  });

  it('that is no report as the schema has it says nothing', () => {
    for (const status of ['', null, [], { state: 7 }, { state: 'a\u001b[2J' }])
      expect(report(950, status)).toMatchObject({ state: 'nothing', isUninstalled: false });
  });
});

it('tells when one manager of fields wrote, whatever others did since', () => {
  const managedFields = [
    { manager: 'portcullis-detach', time: at(5) },
    { manager: 'kubectl', time: at(9) },
  ];
  const metadata = { name: 'detach', managedFields } as KubeMeta;
  expect(managerWroteMs(metadata, 'portcullis-detach')).toBe(ms(5));
  expect(managerWroteMs(metadata, 'nobody')).toBeUndefined();
});
