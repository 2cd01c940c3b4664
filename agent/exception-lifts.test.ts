import { expect, test } from 'vitest';
import { ExceptionLifts } from './exception-lifts.ts';
import type { DesiredException } from './resolve/desired-state.ts';

const one: DesiredException = { name: 'x', cidr: '192.0.2.7/32' };
const two: DesiredException = { name: 'y', cidr: '192.0.2.8/32', policies: ['web'] };

function lifting() {
  const lifted: (readonly DesiredException[])[] = [];
  const lifts = new ExceptionLifts(async (exceptions) => {
    lifted.push(exceptions);
    return { blocks: [], forgotten: 0 };
  });
  return { lifts, lifted };
}

test('without exceptions nothing is lifted', async () => {
  const { lifts, lifted } = lifting();
  expect(await lifts.after([])).toEqual({});
  expect(lifted).toEqual([]);
});

test('what is new is lifted at once and twice more, for packets that were under way', async () => {
  const { lifts, lifted } = lifting();
  const again = [];
  for (let i = 0; i < 5; i++) again.push((await lifts.after([one])).againInMs !== undefined);
  expect(again).toEqual([true, true, false, false, false]);
  expect(lifted).toEqual([[one], [one], [one]]);
});

test('another one is lifted as the first was, and the end of one lifts nothing that is not there', async () => {
  const { lifts, lifted } = lifting();
  for (let i = 0; i < 3; i++) await lifts.after([one]);
  await lifts.after([one, two]);
  expect(lifted.at(-1)).toEqual([one, two]);
  const before = lifted.length;
  expect(await lifts.after([])).toEqual({});
  expect(lifted).toHaveLength(before);
});

test('what failed is done again', async () => {
  let calls = 0;
  const lifts = new ExceptionLifts(async () => {
    if (++calls === 1) throw new Error('EBUSY');
    return { blocks: [], forgotten: 0 };
  });
  await expect(lifts.after([one])).rejects.toThrow('EBUSY');
  for (let i = 0; i < 5; i++) await lifts.after([one]);
  expect(calls).toBe(4);
});
