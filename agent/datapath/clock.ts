import { setTimeout as sleep } from 'node:timers/promises';
import type { BpfProgram } from '../libbpf/program.ts';
import { TestRun } from '../libbpf/test-run.ts';

/** Frequencies a Linux kernel is built with; measured ones are rounded to these. */
const KNOWN_TICKS_PER_SECOND = [100, 250, 300, 1000];
/** A tick more or less is 3 % at 250, and 250 lies 20 % from 300. */
const CALIBRATION_MS = 120;
/** A reading takes microseconds; one that took longer was interrupted. */
const SAMPLE_UNCERTAINTY_MS = 0.5;
const MAX_SAMPLES = 1000;

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

/** Measures how many ticks a second has: the kernel tells its HZ to nobody who lacks its configuration. */
export const measureTicksPerSecond = async (program: BpfProgram): Promise<number> => {
  const read = tickReader(program);
  // Waiting for a tick's edge would be finer and is worse: on a busy node a process is put to rest at just that moment.
  const sample = (): { tick: bigint; atMs: number } => {
    for (let attempt = 0; ; attempt++) {
      const beforeMs = performance.now();
      const tick = read();
      const atMs = performance.now();
      if (atMs - beforeMs < SAMPLE_UNCERTAINTY_MS || attempt === MAX_SAMPLES) return { tick, atMs };
    }
  };
  const from = sample();
  await sleep(CALIBRATION_MS);
  const to = sample();
  if (to.tick === from.tick) throw new Error('the kernel clock stands still');
  const measured = (Number(to.tick - from.tick) * 1000) / (to.atMs - from.atMs);
  return KNOWN_TICKS_PER_SECOND.reduce((best, known) =>
    Math.abs(known - measured) < Math.abs(best - measured) ? known : best,
  );
};
