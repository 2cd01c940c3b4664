import { check } from './bpf-error.ts';
import { duplicateFd } from './duplicate.ts';
import { OwnedFd } from './fd.ts';
import { lib, type ProgramFd } from './ffi.ts';

export interface ProgramInfo {
  readonly id: number;
  readonly verifiedInstructions: number;
  readonly jitedBytes: number;
  readonly instructions: number;
}

/** A loaded program. */
export class BpfProgram extends OwnedFd<ProgramFd> {
  readonly name: string;

  private constructor(fd: ProgramFd, name: string) {
    super(fd, `program ${name}`);
    this.name = name;
  }

  static duplicate(fd: ProgramFd, name: string): BpfProgram {
    return new BpfProgram(duplicateFd(fd) as ProgramFd, name);
  }

  /** struct bpf_prog_info: id at 4, jited and translated bytes at 16 and 20, verified_insns at 216 (5.16). */
  info(): ProgramInfo {
    const info = Buffer.alloc(232);
    const size: [number] = [info.length];
    check(`describe program ${this.name}`, lib.infoByFd(this.fd, info, size));
    return {
      id: info.readUInt32LE(4),
      jitedBytes: info.readUInt32LE(16),
      instructions: info.readUInt32LE(20) / 8,
      verifiedInstructions: size[0] >= 220 ? info.readUInt32LE(216) : 0,
    };
  }
}
