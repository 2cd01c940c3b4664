import { expect, test } from 'vitest';
import { type Change, ChangeFeed } from './change-feed.ts';
import type { KubeObject } from './objects.ts';

interface Item extends KubeObject {
  readonly n: number;
}

const item = (n: number): Item => ({ metadata: { name: 'a' }, n });
const added = (n: number): Change<Item> => ({ type: 'added', object: item(n), via: 'watch' });
const updated = (n: number, from: number): Change<Item> => ({
  type: 'updated',
  object: item(n),
  previous: item(from),
  via: 'watch',
});
const deleted = (n: number): Change<Item> => ({ type: 'deleted', object: item(n), via: 'watch' });

const say = ({ type, object, previous }: Change<Item>) =>
  `${type} ${object.n}${previous === undefined ? '' : ` from ${previous.n}`}`;

/** A feed whose handler refuses so many calls, with what was taken and how often it refused. */
function feedThatRefuses(times: number) {
  const taken: string[] = [];
  const errors: string[] = [];
  let left = times;
  const feed = new ChangeFeed<Item>(
    (change) => {
      if (left-- > 0) throw new Error('no');
      taken.push(say(change));
    },
    (_error, change) => errors.push(say(change)),
  );
  return { feed, taken, errors };
}

test.each([
  ['an object that came and changed is still new', [added(1), updated(2, 1)], ['added 2']],
  ['changes become one, from what was last taken', [updated(2, 1), updated(3, 2)], ['updated 3 from 1']],
  ['a deletion stands for all before it', [updated(2, 1), deleted(2)], ['deleted 2']],
  ['a new object of the same name comes after the deletion', [deleted(1), added(2)], ['deleted 1', 'added 2']],
  ['and is still new when it changed', [deleted(1), added(2), updated(3, 2)], ['deleted 1', 'added 3']],
  ['never more than two changes wait', [deleted(1), added(2), deleted(2), added(3)], ['deleted 2', 'added 3']],
])('%s', (_what, changes, expected) => {
  const { feed, taken, errors } = feedThatRefuses(changes.length);
  for (const change of changes) feed.offer('a', change);
  expect(taken).toEqual([]);
  expect(errors).toHaveLength(changes.length);
  expect(feed.failedKeys).toBe(1);
  feed.retry();
  expect(taken).toEqual(expected);
  expect(feed.failedKeys).toBe(0);
});

test('what was not taken comes before the next change of the same object', () => {
  const { feed, taken } = feedThatRefuses(1);
  feed.offer('a', deleted(1));
  feed.offer('a', added(2));
  expect(taken).toEqual(['deleted 1', 'added 2']);
});

test('what follows a change that is refused again waits with it, so that the order holds', () => {
  const { feed, taken } = feedThatRefuses(3);
  feed.offer('a', deleted(1));
  feed.offer('a', added(2));
  feed.retry();
  expect(taken).toEqual([]);
  feed.retry();
  expect(taken).toEqual(['deleted 1', 'added 2']);
});

test('another object is not held up', () => {
  const { feed, taken } = feedThatRefuses(1);
  feed.offer('a', added(1));
  feed.offer('b', added(2));
  expect(taken).toEqual(['added 2']);
});

test('a change by way of a list keeps that mark when it is told with later ones', () => {
  const seen: Change<Item>[] = [];
  let refuse = true;
  const feed = new ChangeFeed<Item>(
    (change) => {
      if (refuse) throw new Error('no');
      seen.push(change);
    },
    () => {},
  );
  feed.offer('a', { ...updated(2, 1), via: 'list' });
  refuse = false;
  feed.offer('a', updated(3, 2));
  expect(seen).toEqual([{ ...updated(3, 1), via: 'list' }]);
});

test('a rejection counts as a throw, unless something newer was told meanwhile', async () => {
  const taken: string[] = [];
  const errors: string[] = [];
  const outcomes: PromiseWithResolvers<void>[] = [];
  const feed = new ChangeFeed<Item>(
    (change) => {
      taken.push(say(change));
      outcomes.push(Promise.withResolvers<void>());
      return outcomes.at(-1)?.promise;
    },
    (_error, change) => errors.push(say(change)),
  );
  feed.offer('a', deleted(1));
  feed.offer('a', added(2));
  outcomes[0]?.reject(new Error('no'));
  outcomes[1]?.reject(new Error('no'));
  await new Promise(setImmediate);
  expect(errors).toEqual(['deleted 1', 'added 2']);
  feed.retry();
  expect(taken).toEqual(['deleted 1', 'added 2', 'added 2']);
});
