import { describe, expect, it } from 'vitest';
import { type OrphanInput, planOrphans } from './reconcile.ts';

const graceMs = 60_000;
const report = (name: string, ownerNodeUid: string | undefined) => ({ name, uid: `report-${name}`, ownerNodeUid });

function plan(more: Partial<OrphanInput>) {
  const { due, ...rest } = planOrphans({
    reports: [],
    nodes: new Map([['a', 'uid-a']]),
    orphanSinceMs: new Map(),
    nowMs: 0,
    graceMs,
    ...more,
  });
  return { ...rest, due: due.map(({ name }) => name) };
}

describe('orphaned reports', () => {
  it('are those without a Node, or of one that was there before under the same name', () => {
    const reports = [report('a', 'uid-a'), report('gone', 'uid-x')];
    const first = plan({ reports });
    expect(first).toMatchObject({ due: [], orphans: 1, againAfterMs: graceMs });
    const later = plan({ reports, orphanSinceMs: first.orphanSinceMs, nowMs: graceMs });
    expect(later).toMatchObject({ due: ['gone'], orphans: 1 });
    expect(later.againAfterMs).toBeUndefined();
    const anew = plan({
      reports: [report('a', 'uid-before')],
      orphanSinceMs: new Map([['report-a', 0]]),
      nowMs: graceMs,
    });
    expect(anew.due).toEqual(['a']);
  });

  it('are none while the Node comes back in time, and have the whole grace the next time', () => {
    const reports = [report('b', 'uid-b')];
    const gone = plan({ reports });
    const back = plan({ reports, nodes: new Map([['b', 'uid-b']]), orphanSinceMs: gone.orphanSinceMs, nowMs: 1000 });
    expect(back).toMatchObject({ orphans: 0, due: [] });
    const again = plan({ reports, orphanSinceMs: back.orphanSinceMs, nowMs: graceMs });
    expect(again).toMatchObject({ due: [], againAfterMs: graceMs });
  });

  it('do not include a report without owner whose Node is there', () => {
    expect(plan({ reports: [report('a', undefined)], graceMs: 0 }).due).toEqual([]);
    expect(plan({ reports: [report('b', undefined)], graceMs: 0 }).due).toEqual(['b']);
  });

  it('are none when no Node at all is known: then the list of nodes is at fault', () => {
    const since = new Map([['report-a', 0]]);
    expect(plan({ reports: [report('a', 'uid-a')], nodes: new Map(), orphanSinceMs: since, nowMs: graceMs })).toEqual({
      due: [],
      orphans: 0,
      orphanSinceMs: new Map(),
    });
  });

  it('give the time of the next that is due', () => {
    const reports = [report('x', '1'), report('y', '2')];
    const orphanSinceMs = new Map([['report-x', 10_000]]);
    expect(plan({ reports, orphanSinceMs, nowMs: 30_000 }).againAfterMs).toBe(40_000);
  });
});
