import { expect, test } from 'vitest';
import { healthOf } from './health.ts';

const nothing = { applied: false, waitsFor: undefined, applyError: undefined };
const notYet = 'the policies were not applied yet';

test('who has not applied anything is neither live nor ready', () => {
  expect(healthOf(nothing)).toEqual({ live: notYet, ready: notYet });
});

test('who waits for somebody else is live, since a new start would not help, and not ready', () => {
  expect(healthOf({ ...nothing, waitsFor: 'the API server' })).toEqual({
    live: '',
    ready: `${notYet}, waiting for the API server`,
  });
});

test('who has applied the policies once is live, and ready while the newest are in force', () => {
  expect(healthOf({ ...nothing, applied: true })).toEqual({ live: '', ready: '' });
  expect(healthOf({ ...nothing, applied: true, applyError: 'no such map' })).toEqual({
    live: '',
    ready: 'no such map',
  });
});
