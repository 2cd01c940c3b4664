// Sends frames from 10,000 sources out of an interface of this network namespace. Arguments: its ifindex (0: the frames are
// made and dropped), frames in all, the core it is bound to. Prints the CPU time of all runs in ns: its own, and that
// of the kernel's thread that takes over when much is to be received.
import { readdirSync, readFileSync } from 'node:fs';
import { u32 } from '../../agent/libbpf/map.ts';
import { runLive } from './live-frames.ts';
import { loadBenchProgram, RotatedKeys } from './objects.ts';
import { encodeHeaderKeys, vethFrame } from './veth-sources.ts';

const [egress = 0, frames = 0, core = 0] = process.argv.slice(2).map(Number);

const findThread = (name: string): string => {
  for (const pid of readdirSync('/proc')) {
    try {
      if (/^\d+$/.test(pid) && readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === name) return pid;
    } catch {
      // Ended meanwhile.
    }
  }
  throw new Error(`no thread ${name}`);
};
const softIrqThread = findThread(`ksoftirqd/${core}`);
const softIrqNs = (): number => Number(readFileSync(`/proc/${softIrqThread}/schedstat`, 'utf8').split(' ')[0]);

const keys = new RotatedKeys();
keys.use(encodeHeaderKeys());
const program = await loadBenchProgram('generate', 'generate', keys.maps, u32(egress));
const frame = vethFrame(0);
const own = process.threadCpuUsage();
const kernel = softIrqNs();
for (let left = frames; left > 0; left = frames - keys.walked) runLive(program, frame, left);
const { user, system } = process.threadCpuUsage(own);
const report = { sent: keys.walked, ownNs: (user + system) * 1000, softIrqNs: softIrqNs() - kernel };
process.stdout.write(`${JSON.stringify(report)}\n`);
program.close();
keys.close();
