import { expect, test } from 'vitest';
import { FakeClock } from './testing/fake-clock.ts';
import { Throttle } from './throttle.ts';

test('lets a burst pass at once and the others at the rate, in order', async () => {
  const clock = new FakeClock();
  const throttle = new Throttle(10, 3, clock);
  const passed: string[] = [];
  const all = Promise.all(
    Array.from({ length: 6 }, (_, i) =>
      throttle.pass().then(() => passed.push(`${i} at ${Math.round(clock.nowMs())}`)),
    ),
  );
  await clock.advance(1000);
  await all;
  expect(passed).toEqual(['0 at 0', '1 at 0', '2 at 0', '3 at 100', '4 at 200', '5 at 300']);
});

test('who gives up takes no turn and holds nobody up', async () => {
  const clock = new FakeClock();
  const throttle = new Throttle(10, 1, clock);
  await throttle.pass();
  const stop = new AbortController();
  const given = throttle.pass(stop.signal);
  const next = throttle.pass().then(() => clock.nowMs());
  stop.abort(new Error('enough'));
  await expect(given).rejects.toThrow('enough');
  await clock.advance(1000);
  expect(Math.round(await next)).toBe(100);
  await expect(throttle.pass(AbortSignal.abort(new Error('before')))).rejects.toThrow('before');
});
