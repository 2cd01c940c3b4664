import { BpfError } from '../libbpf/bpf-error.ts';
import { XdpLink } from '../libbpf/link.ts';
import { attachXdpByNetlink, XdpFlag } from '../libbpf/netlink.ts';
import type { BpfProgram } from '../libbpf/program.ts';
import type { Pins } from './pins.ts';

export type XdpMode = 'native' | 'generic';

/** Our program on one interface. */
export interface Attachment {
  readonly ifindex: number;
  readonly mode: XdpMode;
  readonly link: XdpLink;
}

/** Why an interface got no program, in words for a finding. */
export class AttachRefused extends Error {
  readonly kind: 'foreign' | 'failed';
  readonly foreignProgramId: number | undefined;

  constructor(kind: 'foreign' | 'failed', message: string, cause?: unknown, foreignProgramId?: number) {
    super(message, { cause });
    this.kind = kind;
    this.foreignProgramId = foreignProgramId;
  }
}

const pinName = (ifindex: number, mode: XdpMode): string => `${ifindex}-${mode}`;
const PIN_NAME = /^(\d+)-(native|generic)$/;

/** Links by interface, pinned: a restart finds them, and SIGTERM leaves them where they are. */
export class Attachments {
  readonly #pins: Pins;
  readonly #attached = new Map<number, Attachment>();

  constructor(pins: Pins) {
    this.#pins = pins;
  }

  get all(): readonly Attachment[] {
    return [...this.#attached.values()];
  }

  get(ifindex: number): Attachment | undefined {
    return this.#attached.get(ifindex);
  }

  /** Takes over what an earlier agent pinned; links whose interface is gone are let go. */
  adopt(): void {
    for (const name of this.#pins.names('links')) {
      const [, index, mode] = PIN_NAME.exec(name) ?? [];
      const link = XdpLink.openPinned(this.#pins.at('links', name));
      if (mode === undefined || link.info().ifindex !== Number(index)) {
        this.#pins.remove('links', name);
        link.close();
        continue;
      }
      this.#attached.set(Number(index), { ifindex: Number(index), mode: mode as XdpMode, link });
    }
  }

  /** Lets go of links whose interface has been deleted since. */
  dropGone(): number[] {
    const gone = this.all.filter(({ link, ifindex }) => link.info().ifindex !== ifindex);
    for (const { ifindex } of gone) this.detach(ifindex);
    return gone.map(({ ifindex }) => ifindex);
  }

  /**
   * Attaches to an interface that has none of ours yet. In mode auto, native is tried first; `fallbackReason` then says
   * in the driver's own words why it became generic.
   * @throws AttachRefused
   */
  async attach(
    program: BpfProgram,
    ifindex: number,
    wanted: 'auto' | XdpMode,
  ): Promise<{ attachment: Attachment; fallbackReason?: string }> {
    if (wanted === 'generic') return { attachment: this.#attachAs(program, ifindex, 'generic') };
    try {
      return { attachment: this.#attachAs(program, ifindex, 'native') };
    } catch (error) {
      if (error instanceof AttachRefused) throw error;
      const reason = await driversWords(program, ifindex, error);
      if (wanted === 'native') throw new AttachRefused('failed', reason, error);
      try {
        return { attachment: this.#attachAs(program, ifindex, 'generic'), fallbackReason: reason };
      } catch (second) {
        if (second instanceof AttachRefused) throw second;
        throw new AttachRefused('failed', `native: ${reason}; generic: ${message(second)}`, second);
      }
    }
  }

  #attachAs(program: BpfProgram, ifindex: number, mode: XdpMode): Attachment {
    let link: XdpLink;
    try {
      link = XdpLink.attach(program, ifindex, mode);
    } catch (error) {
      // EBUSY: a program or a link is there; EEXIST: one in the other mode.
      if (error instanceof BpfError && (error.code === 'EBUSY' || error.code === 'EEXIST'))
        throw new AttachRefused('foreign', 'another XDP program is attached', error);
      throw error;
    }
    const name = pinName(ifindex, mode);
    try {
      this.#pins.remove('links', name);
      link.pin(this.#pins.at('links', name));
    } catch (error) {
      link.close();
      throw new AttachRefused('failed', message(error), error);
    }
    const attachment = { ifindex, mode, link };
    this.#attached.set(ifindex, attachment);
    return attachment;
  }

  /** Takes our program off an interface. */
  detach(ifindex: number): void {
    const attachment = this.#attached.get(ifindex);
    if (!attachment) return;
    this.#pins.remove('links', pinName(ifindex, attachment.mode));
    try {
      attachment.link.detach();
    } catch (error) {
      // The interface may be gone already, and the link with it.
      if (!(error instanceof BpfError)) throw error;
    }
    attachment.link.close();
    this.#attached.delete(ifindex);
  }

  /** Closes descriptors; what is pinned stays attached. */
  close(): void {
    for (const { link } of this.all) link.close();
    this.#attached.clear();
  }
}

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * A link tells only an errno. The older netlink call tells why, and since the link was refused it is refused as well;
 * should it not be, it is taken back at once.
 */
const driversWords = async (program: BpfProgram, ifindex: number, error: unknown): Promise<string> => {
  const own = message(error);
  try {
    const answer = await attachXdpByNetlink(ifindex, program.fd, XdpFlag.native | XdpFlag.updateIfNoExist);
    // Only if it is ours that stands there: somebody may have attached another in between.
    if (answer.errno === 0) await attachXdpByNetlink(ifindex, -1, XdpFlag.native | XdpFlag.replace, program.fd);
    return answer.message ? `${own} (${answer.message})` : own;
  } catch {
    return own;
  }
};
