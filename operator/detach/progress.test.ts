import { describe, expect, it } from 'vitest';
import { describeProgress, detachProgress, type NodeSeen, type ReportSeen } from './progress.ts';

const node = (name: string, isReady = true): NodeSeen => ({ name, isReady });
const report = (name: string, state: string, isFresh = true): ReportSeen => ({ node: name, state, isFresh });

describe('a wish that all agents detach', () => {
  it('waits for whoever answers and has not done it', () => {
    const progress = detachProgress([node('b'), node('a')], [report('a', 'Detached'), report('b', 'Enforcing')]);
    expect(progress).toEqual({ detached: ['a'], waiting: [{ node: 'b', state: 'Enforcing' }], unanswered: [] });
  });

  it('waits for nobody who does not answer, and names him', () => {
    const nodes = [node('down', false), node('new'), node('old')];
    const { waiting, unanswered } = detachProgress(nodes, [
      report('down', 'Enforcing'),
      report('old', 'Enforcing', false),
    ]);
    expect(waiting).toEqual([]);
    expect(unanswered.map(({ node }) => node)).toEqual(['down', 'new', 'old']);
  });

  it('believes a report of a node that went down after it detached', () => {
    expect(detachProgress([node('a', false)], [report('a', 'Detached', false)]).detached).toEqual(['a']);
  });

  it('does not count reports of Nodes that are gone', () => {
    expect(detachProgress([], [report('gone', 'Enforcing')])).toEqual({ detached: [], waiting: [], unanswered: [] });
  });

  it('says what is left where, and what to do there', () => {
    const lines = describeProgress(
      detachProgress([node('a'), node('b'), node('c', false)], [report('a', 'Detached'), report('b', 'Failed')]),
    );
    expect(lines).toEqual([
      'b: not detached; its agent answers and says Failed',
      'c: not detached; no agent has ever reported. On the node: rm -r /sys/fs/bpf/portcullis',
      '1 detached, 1 not, 1 without an answer',
    ]);
  });
});
