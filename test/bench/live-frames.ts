import koffi from 'koffi';
import { BpfError, check } from '../../agent/libbpf/bpf-error.ts';
import { lib } from '../../agent/libbpf/ffi.ts';
import type { BpfProgram } from '../../agent/libbpf/program.ts';

/** BPF_F_TEST_XDP_LIVE_FRAMES of include/uapi/linux/bpf.h (5.18): what the program says is done with each frame. */
const LIVE_FRAMES = 2;
/** struct bpf_test_run_opts of libbpf 1.x, by offset. */
const OPTIONS_BYTES = 80;
const at = { size: 0, dataIn: 8, dataSizeIn: 24, contextIn: 32, contextSizeIn: 48, repeat: 60, flags: 68, batch: 76 };
/** struct xdp_md: data, data_end and four more. */
const CONTEXT_BYTES = 24;
/** A veth's ring holds 256 frames: with fewer at once none is lost. */
const BATCH = 128;

/** Runs a program on up to `count` frames that really go where it sends them; a signal may end that early. */
export const runLive = (program: BpfProgram, frame: Buffer, count: number): void => {
  const context = Buffer.alloc(CONTEXT_BYTES);
  context.writeUInt32LE(frame.length, 4);
  const options = Buffer.alloc(OPTIONS_BYTES);
  options.writeBigUInt64LE(BigInt(OPTIONS_BYTES), at.size);
  options.writeBigUInt64LE(koffi.address(frame), at.dataIn);
  options.writeUInt32LE(frame.length, at.dataSizeIn);
  options.writeBigUInt64LE(koffi.address(context), at.contextIn);
  options.writeUInt32LE(context.length, at.contextSizeIn);
  options.writeInt32LE(count, at.repeat);
  options.writeUInt32LE(LIVE_FRAMES, at.flags);
  options.writeUInt32LE(BATCH, at.batch);
  try {
    check('send live frames', lib.testRun(program.fd, options));
  } catch (error) {
    if (!(error instanceof BpfError && error.code === 'EINTR')) throw error;
  }
};
