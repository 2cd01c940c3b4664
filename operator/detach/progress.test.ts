import { describe, expect, it } from 'vitest';
import { describeProgress, detachProgress, type NodeSeen, type ReportSeen } from './progress.ts';

const node = (name: string, isReady = true): NodeSeen => ({ name, isReady });
const report = (name: string, state: string, parts: Partial<ReportSeen> = {}): ReportSeen => ({
  node: name,
  state,
  isUninstalled: false,
  isFresh: true,
  isAnswer: true,
  ...parts,
});
const uninstalled = (name: string, parts: Partial<ReportSeen> = {}) =>
  report(name, 'Detached', { isUninstalled: true, ...parts });
const progress = (nodes: readonly NodeSeen[], reports: readonly ReportSeen[], isPatient = false) =>
  detachProgress(nodes, reports, { isPatient });
const names = (told: readonly { readonly node: string }[]) => told.map(({ node: name }) => name);

describe('a wish that all agents detach', () => {
  it('waits for whoever answers and has not done it', () => {
    const seen = progress([node('b'), node('a')], [uninstalled('a'), report('b', 'Enforcing')]);
    expect(seen).toEqual({
      detached: ['a'],
      waiting: [{ node: 'b', why: 'its agent answers and says Enforcing' }],
      unanswered: [],
    });
  });

  it('waits for nobody who does not answer, and names him', () => {
    const nodes = [node('down', false), node('new'), node('old')];
    const reports = [report('down', 'Enforcing'), report('old', 'Enforcing', { isFresh: false })];
    const { waiting, unanswered } = progress(nodes, reports, true);
    expect(waiting).toEqual([]);
    expect(names(unanswered)).toEqual(['down', 'new', 'old']);
  });

  it('believes a report of a node that went down after it detached', () => {
    expect(progress([node('a', false)], [uninstalled('a', { isFresh: false })]).detached).toEqual(['a']);
  });

  it('does not believe an old report that says Detached of before the wish', () => {
    const old = { isFresh: false, isAnswer: false };
    const nodes = [node('a'), node('b')];
    expect(names(progress(nodes, [uninstalled('a', old), report('b', 'Detached', old)]).unanswered)).toEqual([
      'a',
      'b',
    ]);
  });

  it('does not believe a report of an earlier uninstallation; its agent has a moment to say more, if there is one', () => {
    const earlier = uninstalled('a', { isAnswer: false });
    expect(names(progress([node('a')], [earlier], true).waiting)).toEqual(['a']);
    expect(names(progress([node('a')], [earlier]).unanswered)).toEqual(['a']);
  });

  it('takes break-glass for detached, when the agent had a moment to hear of the wish', () => {
    const broken = report('a', 'Detached', { isAnswer: false });
    expect(names(progress([node('a')], [broken], true).waiting)).toEqual(['a']);
    expect(progress([node('a')], [broken]).detached).toEqual(['a']);
  });

  it('does not count reports of Nodes that are gone', () => {
    expect(progress([], [report('gone', 'Enforcing')])).toEqual({ detached: [], waiting: [], unanswered: [] });
  });

  it('says what is left where, and what to do there', () => {
    const lines = describeProgress(
      progress([node('a'), node('b'), node('c', false)], [uninstalled('a'), report('b', 'Failed')]),
    );
    expect(lines).toEqual([
      'b: not detached; its agent answers and says Failed',
      'c: not detached; no agent has ever reported. On the node: rm -r /sys/fs/bpf/portcullis',
      '1 detached, 1 not, 1 without an answer',
    ]);
  });
});
