import { setTimeout as sleep } from 'node:timers/promises';
import type { BpfProgram } from '../libbpf/program.ts';
import { TestRun } from '../libbpf/test-run.ts';

/** Frequencies a Linux kernel is built with; measured ones are rounded to these. */
const KNOWN_TICKS_PER_SECOND = [100, 250, 300, 1000];
const CALIBRATION_MS = 60;
/** A tick lasts 10 ms at the most; a wait for the next one that takes longer means a stopped clock. */
const EDGE_TIMEOUT_MS = 1000;

export interface TickClock {
  readonly ticksPerSecond: number;
  /** The present tick. */
  now(): bigint;
  /** Wall clock in ms of a tick, by what both clocks say now. */
  toWallMs(tick: bigint): number;
  /** The first tick not before a wall clock time; 0n for times before boot. */
  toTick(wallMs: number): bigint;
}

/** Ticks of the kernel (jiffies), read by running a small program: nothing in /proc tells them. */
export class KernelClock implements TickClock {
  readonly ticksPerSecond: number;
  readonly #read: () => bigint;

  constructor(program: BpfProgram, ticksPerSecond: number) {
    this.#read = tickReader(program);
    this.ticksPerSecond = ticksPerSecond;
  }

  now(): bigint {
    return this.#read();
  }

  toWallMs(tick: bigint): number {
    return Date.now() + (Number(tick - this.now()) * 1000) / this.ticksPerSecond;
  }

  toTick(wallMs: number): bigint {
    const tick = this.now() + BigInt(Math.ceil(((wallMs - Date.now()) * this.ticksPerSecond) / 1000));
    return tick > 0n ? tick : 0n;
  }
}

const tickReader = (program: BpfProgram): (() => bigint) => {
  const run = new TestRun(program);
  const frame = Buffer.alloc(64);
  return () => {
    run.run(frame);
    return run.output().readBigUInt64LE(0);
  };
};

/** Measures how many ticks a second has, from edge to edge: the kernel tells its HZ to nobody who lacks its configuration. */
export const measureTicksPerSecond = async (program: BpfProgram): Promise<number> => {
  const read = tickReader(program);
  const nextEdge = (): { tick: bigint; atMs: number } => {
    const start = read();
    const deadline = performance.now() + EDGE_TIMEOUT_MS;
    for (;;) {
      const tick = read();
      const atMs = performance.now();
      if (tick !== start) return { tick, atMs };
      if (atMs > deadline) throw new Error('the kernel clock stands still');
    }
  };
  const from = nextEdge();
  await sleep(CALIBRATION_MS);
  const to = nextEdge();
  const measured = (Number(to.tick - from.tick) * 1000) / (to.atMs - from.atMs);
  return KNOWN_TICKS_PER_SECOND.reduce((best, known) =>
    Math.abs(known - measured) < Math.abs(best - measured) ? known : best,
  );
};
