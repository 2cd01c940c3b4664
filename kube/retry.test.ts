import { expect, test } from 'vitest';
import { KubeError } from './errors.ts';
import { withRetry } from './retry.ts';
import { FakeClock } from './testing/fake-clock.ts';

const failing = (...errors: unknown[]) => {
  let calls = 0;
  const fn = async () => {
    const error = errors[calls++];
    if (error !== undefined) throw error;
    return calls;
  };
  return { fn, calls: () => calls };
};

const refused = new KubeError({ message: 'refused', code: 'ECONNREFUSED' });
const busy = (retryAfterMs?: number) => new KubeError({ message: 'busy', status: 429, retryAfterMs });

async function run(fn: () => Promise<number>, forMs = 60_000) {
  const clock = new FakeClock();
  const result = withRetry(fn, { clock, random: () => 0.5 }).then(
    (value) => ({ value, atMs: clock.nowMs() }),
    (error: unknown) => ({ error, atMs: clock.nowMs() }),
  );
  await clock.advance(forMs);
  return result;
}

test('tries again after a failed connection, 429 and 5xx, with growing waits', async () => {
  const { fn } = failing(refused, busy(), new KubeError({ message: 'x', status: 503 }));
  expect(await run(fn)).toEqual({ value: 4, atMs: 200 + 400 + 800 });
});

test('waits as long as the server asks for', async () => {
  expect(await run(failing(busy(3000)).fn)).toEqual({ value: 2, atMs: 3000 });
});

test('gives up after four attempts with the last error, and at once when asked to wait for too long', async () => {
  const last = new KubeError({ message: 'last', status: 500 });
  expect(await run(failing(refused, refused, refused, last, undefined).fn)).toMatchObject({ error: last });
  expect(await run(failing(busy(6000)).fn)).toMatchObject({ atMs: 0 });
});

test.each([400, 401, 403, 404, 409, 410, 422])('%i is thrown at once', async (status) => {
  const error = new KubeError({ message: 'no', status });
  const { fn, calls } = failing(error);
  expect(await run(fn)).toEqual({ error, atMs: 0 });
  expect(calls()).toBe(1);
});

test('an abort ends the waiting with its reason', async () => {
  const stop = new AbortController();
  const { fn, calls } = failing(refused, refused);
  const result = withRetry(fn, { signal: stop.signal, baseMs: 10_000, maxMs: 10_000 });
  setImmediate(() => stop.abort(new Error('enough')));
  await expect(result).rejects.toThrow('enough');
  expect(calls()).toBe(1);
});
