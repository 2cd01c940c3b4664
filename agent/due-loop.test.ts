import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { waitFor } from '../test/support/wait-for.ts';
import { DueLoop } from './due-loop.ts';

const stop = { now: new AbortController(), running: Promise.resolve() };
afterEach(async () => {
  stop.now.abort();
  await stop.running;
});

function start(work: (run: number) => Promise<number | undefined>): { loop: DueLoop; runs: () => number } {
  const loop = new DueLoop();
  let runs = 0;
  stop.now = new AbortController();
  stop.running = loop.run(stop.now.signal, () => work(++runs));
  return { loop, runs: () => runs };
}

test('does nothing before it is asked', async () => {
  const { runs } = start(async () => undefined);
  await sleep(30);
  expect(runs()).toBe(0);
});

test('does once what was asked for many times, and once more what was asked for meanwhile', async () => {
  let finish = () => {};
  const { loop, runs } = start(
    () =>
      new Promise((resolve) => {
        finish = () => resolve(undefined);
      }),
  );
  for (let i = 0; i < 3; i++) loop.request();
  await waitFor(() => runs() === 1, 15_000);
  for (let i = 0; i < 3; i++) loop.request();
  await sleep(30);
  expect(runs()).toBe(1);
  finish();
  await waitFor(() => runs() === 2, 15_000);
  finish();
  await sleep(30);
  expect(runs()).toBe(2);
});

test('does again what is due, and not what is due in a thousand years', async () => {
  const { loop, runs } = start(async (run) => (run === 1 ? Date.now() + 20 : Date.now() + 1e14));
  loop.request();
  await waitFor(() => runs() === 2, 15_000);
  await sleep(30);
  expect(runs()).toBe(2);
});

test('ends while it rests', async () => {
  start(async () => undefined);
  stop.now.abort();
  await stop.running;
});
