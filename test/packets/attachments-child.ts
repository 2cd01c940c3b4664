/**
 * Runs inside a namespace, since a program is attached to interfaces of one's own namespace: does the steps named in its
 * arguments, one after the other, and prints what each gave as a line of JSON. An agent's life is a process's.
 */
import { Attachments, AttachRefused } from '../../agent/datapath/attachments.ts';
import { loadClockProgram } from '../../agent/datapath/kernel.ts';
import { Pins } from '../../agent/datapath/pins.ts';
import { BpfError } from '../../agent/libbpf/bpf-error.ts';
import { XdpLink } from '../../agent/libbpf/link.ts';

const [pinPath, ifindexText, ...steps] = process.argv.slice(2) as [string, string, ...string[]];
const ifindex = Number(ifindexText);
const pins = new Pins(pinPath);
pins.create();
const attachments = new Attachments(pins);
const [program, other] = [await loadClockProgram(), await loadClockProgram()];

const state = () =>
  attachments.all.map(({ ifindex: at, mode, link }) => ({
    ...{ ifindex: at, mode },
    program:
      link.info().programId === program.info().id ? 'first' : link.info().programId === other.info().id ? 'other' : '?',
  }));

const actions: Record<string, () => Promise<unknown>> = {
  native: async () =>
    await attachments.attach(program, ifindex, 'native').then(({ fallbackReason }) => ({ fallbackReason })),
  generic: async () => void (await attachments.attach(program, ifindex, 'generic')),
  auto: async () =>
    await attachments.attach(program, ifindex, 'auto').then(({ fallbackReason }) => ({ fallbackReason })),
  swap: async () => await attachments.get(ifindex)!.link.update(other),
  detach: async () => attachments.detach(ifindex),
  adopt: async () => attachments.adopt(),
  close: async () => attachments.close(),
  gone: async () => attachments.dropGone(),
  // Not pinned: gone with this process.
  foreign: async () => void XdpLink.attach(other, ifindex, 'generic'),
};

for (const step of steps) {
  let answer: unknown;
  try {
    answer = await actions[step]!();
  } catch (error) {
    if (error instanceof AttachRefused) answer = { refused: error.kind, message: error.message };
    else if (error instanceof BpfError) answer = { failed: error.code, message: error.message };
    else throw error;
  }
  console.log(JSON.stringify({ step, answer, state: state(), pins: pins.names('links') }));
}
