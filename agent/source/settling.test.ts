import { describe, expect, it } from 'vitest';
import { Settling } from './settling.ts';

const times = { settleMs: 250, slowSettleMs: 600, holdMs: 200 };
const dueFiles = (settling: Settling, nowMs: number) => [...settling.due(nowMs).keys()];

describe('Settling', () => {
  it('gives a new file once it has looked the same for a while', () => {
    const settling = new Settling(times);
    settling.observe('a', 's1', false, 0);
    settling.observe('a', 's1', false, 200);
    expect(dueFiles(settling, 249)).toEqual([]);
    expect(settling.nextDueMs()).toBe(250);
    expect(settling.due(250)).toEqual(new Map([['a', 's1']]));
  });

  it('waits longer for a file that changed while it was waited for', () => {
    const settling = new Settling(times);
    settling.observe('a', 's1', false, 0);
    settling.observe('a', 's2', false, 240);
    expect(dueFiles(settling, 839)).toEqual([]);
    expect(settling.due(840)).toEqual(new Map([['a', 's2']]));
  });

  it('waits longer for an empty file: whoever made it is about to write', () => {
    const settling = new Settling(times);
    settling.observe('a', 's1', true, 0);
    expect(settling.nextDueMs()).toBe(600);
  });

  it('gives nothing for a file that was read in this state, and again when it changes', () => {
    const settling = new Settling(times);
    settling.observe('a', 's1', false, 0);
    settling.settle('a', 's1');
    settling.observe('a', 's1', false, 1_000);
    expect(settling.nextDueMs()).toBeUndefined();
    settling.observe('a', 's2', false, 2_000);
    expect(settling.nextDueMs()).toBe(2_250);
    settling.observe('a', 's1', false, 2_100);
    expect(settling.nextDueMs()).toBeUndefined();
  });

  it('takes a file for deleted only when it stays away: editors write by rename', () => {
    const settling = new Settling(times);
    settling.settle('a', 's1');
    settling.observe('a', undefined, false, 0);
    settling.observe('a', 's2', false, 10);
    expect(dueFiles(settling, 300)).toEqual([]);
    expect(settling.due(610)).toEqual(new Map([['a', 's2']]));
    settling.settle('a', 's2');
    settling.observe('a', undefined, false, 1_000);
    expect(settling.due(1_250)).toEqual(new Map([['a', undefined]]));
    settling.settle('a', undefined);
    settling.observe('a', undefined, false, 2_000);
    expect(settling.nextDueMs()).toBeUndefined();
    expect(settling.files().size).toBe(0);
  });

  it('forgets a file that came and went before it was read', () => {
    const settling = new Settling(times);
    settling.observe('a', 's1', false, 0);
    settling.observe('a', undefined, false, 100);
    expect(settling.files().size).toBe(0);
  });

  it('gives files that changed together in one batch, but waits for a slow one only so long', () => {
    const settling = new Settling(times);
    settling.observe('a', undefined, false, 0);
    settling.settle('b', 's1');
    settling.observe('a', 's1', false, 0);
    settling.observe('b', 's2', false, 150);
    expect(dueFiles(settling, 399)).toEqual([]);
    expect(dueFiles(settling, 400)).toEqual(['a', 'b']);
    settling.observe('b', 's3', false, 399);
    expect(dueFiles(settling, 449)).toEqual([]);
    expect(dueFiles(settling, 450)).toEqual(['a']);
  });

  it('gives a postponed file again after it has rested', () => {
    const settling = new Settling(times);
    settling.observe('a', 's1', false, 0);
    settling.postpone('a', 260);
    expect(settling.nextDueMs()).toBe(860);
  });

  it('reads anew what it did not read itself, and notes when it is not there', () => {
    const settling = new Settling(times);
    settling.distrust('a');
    settling.observe('a', undefined, false, 0);
    expect(settling.due(250)).toEqual(new Map([['a', undefined]]));
  });
});
