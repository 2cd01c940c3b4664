import { beforeEach, expect, test, vi } from 'vitest';
import { serveOrRetry } from './serving.ts';

let stop: AbortController;
let errors: string[];
let trouble: string | undefined;
let attempts: number;
let isServing: boolean;
beforeEach(() => {
  stop = new AbortController();
  [errors, trouble, attempts, isServing] = [[], undefined, 0, false];
});

async function serve() {
  attempts++;
  if (trouble !== undefined) throw new Error(trouble);
  isServing = true;
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  stop.signal.addEventListener('abort', () => resolve());
  return { closed };
}

const start = () =>
  serveOrRetry(serve, { signal: stop.signal, everyMs: 2, onError: (error) => errors.push((error as Error).message) });

test('serves at once, until it is told to stop', async () => {
  const { closed } = await start();
  expect(isServing).toBe(true);
  stop.abort();
  await closed;
});

test('goes on when it cannot, and serves as soon as it can; each reason is told once', async () => {
  trouble = 'the port is taken';
  const { closed } = await start();
  await vi.waitFor(() => expect(attempts).toBeGreaterThan(3), 10_000);
  trouble = 'no key pair';
  await vi.waitFor(() => expect(errors).toHaveLength(2), 10_000);
  trouble = undefined;
  await vi.waitFor(() => expect(isServing).toBe(true), 10_000);
  expect(errors).toEqual(['the port is taken', 'no key pair']);
  stop.abort();
  await closed;
});

test('ends when it is told to, without ever having served', async () => {
  trouble = 'the port is taken';
  const { closed } = await start();
  stop.abort();
  await closed;
  expect(isServing).toBe(false);
});
