import { check } from './bpf-error.ts';
import { OwnedFd } from './fd.ts';
import { type LinkFd, later, lib } from './ffi.ts';
import type { BpfProgram } from './program.ts';

const BPF_XDP = 37;
const XDP_FLAGS = { generic: 2, native: 4 } as const;

/** An XDP program's attachment to one interface. Pinned, it outlives the process; unpinned and closed, it is gone. */
export class XdpLink extends OwnedFd<LinkFd> {
  /** @throws BpfError EBUSY or EEXIST when another program is attached, EOPNOTSUPP when the driver has no native mode */
  static attach(program: BpfProgram, ifindex: number, mode: 'native' | 'generic'): XdpLink {
    const options = Buffer.alloc(16);
    options.writeBigUInt64LE(16n, 0);
    options.writeUInt32LE(XDP_FLAGS[mode], 8);
    const fd = check(
      `attach ${mode} XDP to interface ${ifindex}`,
      lib.linkCreate(program.fd, ifindex, BPF_XDP, options),
    );
    return new XdpLink(fd, `XDP link of interface ${ifindex}`);
  }

  static openPinned(path: string): XdpLink {
    return new XdpLink(check(`open pinned link ${path}`, lib.objGet(path)) as LinkFd, `link ${path}`);
  }

  pin(path: string): void {
    check(`pin ${this.what} at ${path}`, lib.objPin(this.fd, path));
  }

  /** Swaps the program atomically: each packet sees the old or the new one. Takes 10 ms and more (RCU). */
  async update(program: BpfProgram): Promise<void> {
    const { result, errno } = await later<unknown[], number>(lib.linkUpdate, this.fd, program.fd, null);
    check(`swap program of ${this.what}`, result, errno);
  }

  /** Takes the program off at once, whoever else holds the link. */
  detach(): void {
    check(`detach ${this.what}`, lib.linkDetach(this.fd));
  }

  /** struct bpf_link_info: type, id, prog_id, then for XDP the ifindex at 16; 0 when the interface is gone. */
  info(): { programId: number; ifindex: number } {
    const info = Buffer.alloc(64);
    check(`describe ${this.what}`, lib.infoByFd(this.fd, info, [info.length]));
    return { programId: info.readUInt32LE(8), ifindex: info.readUInt32LE(16) };
  }
}
