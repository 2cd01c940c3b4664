import { afterEach, beforeEach, expect, test } from 'vitest';
import { FakeClock } from '../../kube/testing/fake-clock.ts';
import { DetachWish } from './detach-wish.ts';

let stop: AbortController;
beforeEach(() => {
  stop = new AbortController();
});
afterEach(() => stop.abort());

function open(ownUid: () => Promise<string | undefined>) {
  const clock = new FakeClock();
  const seen: boolean[] = [];
  const wish: DetachWish = new DetachWish({ ownUid, clock, onChange: () => seen.push(wish.isHeeded) });
  void wish.run(stop.signal);
  return { wish, clock, seen };
}

test('heeds a wish that names the account of its token, as soon as that is read, and until it is taken back', async () => {
  const { wish, clock, seen } = open(async () => 'mine');
  expect([wish.isKnown, wish.isHeeded]).toEqual([true, false]);
  wish.set('mine');
  expect([wish.isKnown, wish.isHeeded]).toEqual([false, false]);
  await clock.settle();
  expect([wish.isKnown, wish.isHeeded, seen]).toEqual([true, true, [true]]);
  wish.set(undefined);
  expect([wish.isKnown, wish.isHeeded]).toEqual([true, false]);
});

test.each([
  ['that is for another account', async () => 'mine'],
  ['without an account of its own', async () => undefined],
  [
    'without a token that can be read',
    async () => {
      throw new Error('ENOENT');
    },
  ],
])('heeds no wish %s', async (_, ownUid) => {
  const { wish, clock } = open(ownUid);
  wish.set('other');
  await clock.settle();
  expect([wish.isKnown, wish.isHeeded]).toEqual([true, false]);
});

test('reads the token anew for a wish that names another account, and believes what it said before no more', async () => {
  let own = 'mine';
  const { wish, clock } = open(async () => own);
  wish.set('mine');
  await clock.settle();
  own = 'new';
  wish.set('other');
  wish.set('mine');
  expect(wish.isHeeded).toBe(false);
  await clock.settle();
  expect([wish.isKnown, wish.isHeeded]).toEqual([true, false]);
  wish.set('new');
  await clock.settle();
  expect(wish.isHeeded).toBe(true);
});

test('goes by the account of a token that is renewed, and by the last one while none can be read', async () => {
  let own: string | undefined = 'mine';
  const { wish, clock, seen } = open(async () => {
    if (own === undefined) throw new Error('ENOENT');
    return own;
  });
  wish.set('mine');
  await clock.settle();
  own = undefined;
  await clock.advance(10_000);
  expect(wish.isHeeded).toBe(true);
  own = 'made anew';
  await clock.advance(10_000);
  expect([wish.isHeeded, seen]).toEqual([false, [true, false]]);
});
