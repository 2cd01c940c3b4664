import { BpfError } from '../../agent/libbpf/bpf-error.ts';
import type { BpfProgram } from '../../agent/libbpf/program.ts';
import { TestRun } from '../../agent/libbpf/test-run.ts';
import { spreadOf } from './measure.ts';

const CALIBRATION_RUNS = 5;
/** One packet would not do: only for several does the kernel make itself a direct call of the program, which takes 0.4 ms. */
const FEWEST_PACKETS = 2;

const isInterrupted = (error: unknown): boolean => error instanceof BpfError && error.code === 'EINTR';

/** Runs a frame many times and returns what became of the last one. A signal, of an ended child say, stops a run: then again. */
export const runAgain = (run: TestRun, frame: Buffer, packets: number): number => {
  for (;;) {
    try {
      return run.run(frame, packets).action;
    } catch (error) {
      if (!isInterrupted(error)) throw error;
    }
  }
};

/**
 * Times a program by the CPU time of the thread that runs it: the kernel's own figure is cut to whole nanoseconds,
 * 5 % of a bare XDP_DROP, and counts the time in which something else had the CPU.
 */
export class TimedRun {
  readonly #run: TestRun;
  /** CPU time of a call in µs, however many packets it runs. */
  #callUs = 0;

  constructor(program: BpfProgram, frame: Buffer) {
    this.#run = new TestRun(program);
    const calls = Array.from({ length: CALIBRATION_RUNS }, () => this.#cpuUs(frame, FEWEST_PACKETS).us);
    this.#callUs = spreadOf(calls).median;
  }

  /** Returns what became of the last packet, and ns a packet. */
  run(frame: Buffer, packets: number): { readonly action: number; readonly ns: number } {
    const { action, us } = this.#cpuUs(frame, packets);
    return { action, ns: ((us - this.#callUs) * 1000) / packets };
  }

  #cpuUs(frame: Buffer, packets: number): { action: number; us: number } {
    for (;;) {
      try {
        const before = process.threadCpuUsage();
        const { action } = this.#run.run(frame, packets);
        const { user, system } = process.threadCpuUsage(before);
        return { action, us: user + system };
      } catch (error) {
        if (!isInterrupted(error)) throw error;
      }
    }
  }
}
