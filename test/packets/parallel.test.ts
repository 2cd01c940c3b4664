/** Several CPUs see one source at the same time: it is still counted exactly. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readLosses } from '../../agent/datapath/counters.ts';
import { encodeConfig } from '../../agent/datapath/instance.ts';
import { defaultSizes } from '../../agent/datapath/options.ts';
import { TestNet } from '../support/namespaces.ts';
import { NODE4, own } from './cases/case.ts';
import { KernelNode } from './kernel-node.ts';
import type { WorkerData } from './parallel-worker.ts';

const ROUNDS = 4_000;
const N = 15;
const WORKERS = Math.max(2, Math.min(4, availableParallelism()));

let net: TestNet;
beforeAll(async () => {
  net = await TestNet.create();
});
afterAll(async () => {
  await net?.[Symbol.asyncDispose]();
});

/** Sends `portsOf(worker)` from each source of all rounds. Returns each round's ports that passed, one entry a pass. */
async function race(policy: number, portsOf: (worker: number) => number[]) {
  const pinPath = net.pinPath();
  await using node = await KernelNode.create(pinPath, { ...defaultSizes, ringBufferBytes: 1 << 20 }, 15);
  await node.apply(own(NODE4));
  const config = encodeConfig(
    {
      policy: {
        ...{ name: 'test', enforce: true, distinctTargets: N, windowMs: 3_600_000, allDestinations: false },
        ...{ ipv6PrefixLength: 64, blockDurationMs: 600_000, unprovenDurationMs: 600_000 },
        ...{ blockAllTraffic: false, logConnections: false },
      },
      ...{ owner: policy, setSlot: 0, testClock: false },
    },
    { options: node.options, tables: node.tables, frags: true },
  );
  const arrived = new SharedArrayBuffer(4 * ROUNDS);
  const workers = await Promise.all(
    Array.from({ length: WORKERS }, async (_, i) => {
      const ports = portsOf(i);
      const passed = new SharedArrayBuffer(ROUNDS * ports.length);
      const workerData: WorkerData = {
        ...{ pinPath, config: new Uint8Array(config), destination: NODE4, rounds: ROUNDS },
        ...{ ports, workers: WORKERS, arrived, passed },
      };
      const worker = new Worker(new URL('./parallel-worker.ts', import.meta.url), { workerData });
      await new Promise<void>((resolve, reject) => {
        worker.once('message', () => resolve());
        worker.once('error', reject);
        worker.once('exit', (code) => reject(new Error(`a worker ended with ${code}`)));
      });
      return { ports, passed: new Uint8Array(passed) };
    }),
  );
  const rounds = Array.from({ length: ROUNDS }, (_, round) =>
    workers.flatMap(({ ports, passed }) => ports.filter((_, i) => passed[round * ports.length + i] === 1)),
  );
  const detected = node.counters([policy]).get(`${policy} DROP_SCAN_DETECTED`);
  return { rounds, detected, blocks: node.blocks(), losses: readLosses(node.tables) };
}

const range = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);

test(`${WORKERS} CPUs with other ports each: N - 1 probes pass in all, and one is the Nth`, async () => {
  const { rounds, detected, blocks, losses } = await race(1, (worker) => range(1_000 * (worker + 1), 20));
  expect(rounds.map((ports) => ports.length)).toEqual(rounds.map(() => N - 1));
  expect(detected).toBe(ROUNDS);
  expect(blocks.length).toBe(ROUNDS);
  expect(losses['source-evicted']).toBe(0);
  // The race was one: in most rounds more than one CPU got a probe through.
  const mixed = rounds.filter((ports) => new Set(ports.map((port) => Math.floor(port / 1_000))).size > 1).length;
  console.log(`figure: ${WORKERS} CPUs, ${ROUNDS} sources at once: N exact in all, probes of several CPUs in ${mixed}`);
  expect(mixed).toBeGreaterThan(ROUNDS / 20);
});

test(`${WORKERS} CPUs with the same ports: N - 1 different ones pass`, async () => {
  const { rounds, detected, blocks } = await race(2, () => range(1, 20));
  expect(rounds.map((ports) => new Set(ports).size)).toEqual(rounds.map(() => N - 1));
  expect(detected).toBe(ROUNDS);
  expect(blocks.every(({ block }) => block.probes === N)).toBe(true);
});
