import { describe, expect, it } from 'vitest';
import type { TargetView } from '../reports/view.ts';
import { accepted, conditionsOf, degraded, programmed } from './conditions.ts';

const counts = (programmedNodes: number, failed = 0, stale = 0, noReport = 0) => ({
  selected: programmedNodes + failed + stale + noReport,
  programmed: programmedNodes,
  failed,
  stale,
  noReport,
});

function view(changes: Partial<TargetView> = {}): TargetView {
  return {
    target: { kind: 'PortScanPolicy', name: 'web', uid: 'u', generation: 1, nodeSelector: undefined },
    counts: counts(3),
    sums: { blocked: 0, wouldBlock: 0, spared: 0, packetsDropped: 0 },
    lagging: [],
    failedStates: new Map(),
    partlyConflicted: 0,
    silent: { stale: 0, noReport: 0 },
    blocks: [],
    ...changes,
  };
}

describe('Accepted', () => {
  it('names the field, what is wrong and what goes on', () => {
    const refusal = {
      reason: 'Invalid' as const,
      field: 'spec.priority',
      message: 'spec.priority: -1 is below 0. Give 0.',
    };
    expect(accepted(refusal, 'policy')).toEqual({
      status: 'False',
      reason: 'Invalid',
      message:
        'spec.priority: -1 is below 0. Give 0. Nodes that have an earlier version of the policy keep it in force.',
    });
  });
});

describe('Programmed', () => {
  const of = (changes: Partial<TargetView>) => {
    const { status, reason } = programmed(view(changes), undefined);
    return `${status} ${reason}`;
  };

  it('is True when every selected node that reports has it in force', () => {
    expect(of({})).toBe('True Programmed');
    expect(of({ counts: counts(2, 0, 1, 1) })).toBe('True Programmed');
    expect(programmed(view({ counts: counts(2, 0, 1) }), undefined).message).toBe(
      'In force on 2 of 3 selected nodes; of the other 1 there is no fresh report.',
    );
  });

  it('is False when one of them has not', () => {
    expect(of({ counts: counts(2, 1), failedStates: new Map([['Pending', 1]]) })).toBe('False PartiallyProgrammed');
    expect(of({ counts: counts(0, 2), failedStates: new Map([['Pending', 2]]) })).toBe('False PartiallyProgrammed');
    expect(of({ counts: counts(2, 1), failedStates: new Map([['Failed', 1]]) })).toBe('False PartiallyProgrammed');
    expect(of({ counts: counts(0, 2), failedStates: new Map([['Failed', 2]]) })).toBe('False Failed');
  });

  it('is False/Conflicted where another policy governs everywhere', () => {
    expect(of({ counts: counts(0, 2), failedStates: new Map([['Conflicted', 2]]) })).toBe('False Conflicted');
    expect(of({ counts: counts(1, 2), failedStates: new Map([['Conflicted', 2]]) })).toBe('False PartiallyProgrammed');
  });

  it('is False/NoNodesSelected where no node has the labels', () => {
    expect(of({ counts: counts(0) })).toBe('False NoNodesSelected');
  });

  it('is Unknown while nobody reports', () => {
    expect(of({ counts: counts(0, 0, 2, 1) })).toBe('Unknown NoFreshReport');
  });

  it('says why, with an example', () => {
    const lagging = [{ node: 'n1', reason: 'Failed', message: 'no memory' }];
    const { message } = programmed(
      view({ counts: counts(1, 1), failedStates: new Map([['Failed', 1]]), lagging }),
      undefined,
    );
    expect(message).toBe('In force on 1 of 2 selected nodes: Failed on 1. n1: no memory.');
  });
});

describe('Degraded', () => {
  it('is False when nothing is known to be wrong', () => {
    expect(degraded(view(), [])).toMatchObject({ status: 'False', reason: 'AsExpected' });
  });

  it('has the reason of the worst and tells of all', () => {
    const tableFull = { nodes: 2, example: 'n1', message: 'the table blocks holds 64 of 64 entries' };
    const facts = { reason: 'FactsUnknown', message: 'The ranges of pods are not known.' };
    expect(degraded(view({ tableFull, silent: { stale: 1, noReport: 2 } }), [facts])).toEqual({
      status: 'True',
      reason: 'TableFull',
      message:
        'On 2 nodes not all is in force: n1: the table blocks holds 64 of 64 entries. ' +
        '1 ready node has not reported for too long and 2 ready nodes have no agent that reports. ' +
        'The ranges of pods are not known.',
    });
  });

  it('tells of detached nodes before all else', () => {
    const trouble = { nodes: 1, example: 'n1', message: 'm' };
    const all = { tableFull: trouble, foreignProgram: trouble, detached: trouble };
    expect(degraded(view(all), []).reason).toBe('Detached');
    expect(degraded(view({ foreignProgram: trouble, tableFull: trouble }), []).reason).toBe('ForeignXdpProgram');
    expect(degraded(view({ silent: { stale: 1, noReport: 0 } }), []).reason).toBe('StaleReports');
    expect(degraded(view({ silent: { stale: 0, noReport: 1 } }), []).reason).toBe('MissingReports');
  });
});

describe('the three together', () => {
  const statements = {
    Accepted: accepted(undefined, 'policy'),
    Programmed: programmed(view(), undefined),
    Degraded: degraded(view(), []),
  };

  it('keep their times over a restart of the operator, and get the generation', () => {
    const first = conditionsOf(undefined, statements, 1, Date.UTC(2026, 0, 1));
    const later = conditionsOf(structuredClone(first), statements, 2, Date.UTC(2026, 0, 2));
    expect(
      later.map(({ type, observedGeneration, lastTransitionTime }) => [type, observedGeneration, lastTransitionTime]),
    ).toEqual([
      ['Accepted', 2, '2026-01-01T00:00:00Z'],
      ['Degraded', 2, '2026-01-01T00:00:00Z'],
      ['Programmed', 2, '2026-01-01T00:00:00Z'],
    ]);
  });

  it('take over nothing that others wrote, and survive any form of it', () => {
    const odd = [
      null,
      7,
      { type: 'Ready', status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z' },
      { type: 'Accepted' },
    ];
    for (const before of [odd, 'x', null]) {
      const types = conditionsOf(before, statements, 1, 0).map(({ type }) => type);
      expect(types).toEqual(['Accepted', 'Degraded', 'Programmed']);
    }
  });
});
