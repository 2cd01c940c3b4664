import koffi from 'koffi';
import { check } from './bpf-error.ts';
import { lib } from './ffi.ts';
import type { BpfProgram } from './program.ts';

/** struct bpf_test_run_opts of libbpf 1.x, by offset. */
const at = {
  size: 0,
  dataIn: 8,
  dataOut: 16,
  dataSizeIn: 24,
  dataSizeOut: 28,
  contextIn: 32,
  contextSizeIn: 48,
  returnValue: 56,
  repeat: 60,
  durationNs: 64,
  flags: 68,
  cpu: 72,
  batch: 76,
} as const;
const OPTIONS_BYTES = 80;

export interface TestRunResult {
  /** XDP_ABORTED 0, DROP 1, PASS 2, TX 3, REDIRECT 4 */
  readonly action: number;
  /** Mean of one run in ns, as the kernel measured it over all repeats. */
  readonly durationNs: number;
}

/** Runs a program on one frame (BPF_PROG_TEST_RUN). Frames below 14 bytes are refused by the kernel. */
export class TestRun {
  readonly #options = Buffer.alloc(OPTIONS_BYTES);
  readonly #out = Buffer.alloc(65_536);
  readonly #program: BpfProgram;

  constructor(program: BpfProgram) {
    this.#program = program;
    this.#options.writeBigUInt64LE(BigInt(OPTIONS_BYTES), at.size);
    this.#options.writeBigUInt64LE(koffi.address(this.#out), at.dataOut);
  }

  run(frame: Buffer, repeat = 1): TestRunResult {
    const options = this.#options;
    options.writeBigUInt64LE(koffi.address(frame), at.dataIn);
    options.writeUInt32LE(frame.length, at.dataSizeIn);
    options.writeUInt32LE(this.#out.length, at.dataSizeOut);
    options.writeInt32LE(repeat, at.repeat);
    check('test run', lib.testRun(this.#program.fd, options));
    return { action: options.readUInt32LE(at.returnValue), durationNs: options.readUInt32LE(at.durationNs) };
  }

  /** The frame as the program left it after the last run. */
  output(): Buffer {
    return this.#out.subarray(0, this.#options.readUInt32LE(at.dataSizeOut));
  }
}
