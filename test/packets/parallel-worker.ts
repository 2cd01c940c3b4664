/** One of several threads that send the probes of the same sources at the same moment. */
import { parentPort, workerData } from 'node:worker_threads';
import { loadInstance } from '../../agent/datapath/instance.ts';
import { Pins } from '../../agent/datapath/pins.ts';
import { NodeTables } from '../../agent/datapath/tables.ts';
import { TestRun } from '../../agent/libbpf/test-run.ts';
import { nthSource, SynSender } from './syn-sender.ts';

export interface WorkerData {
  readonly pinPath: string;
  /** struct config. */
  readonly config: Uint8Array;
  readonly destination: string;
  readonly rounds: number;
  /** Ports to probe in each round, in this order. */
  readonly ports: readonly number[];
  readonly workers: number;
  /** How many workers have come to each round. */
  readonly arrived: SharedArrayBuffer;
  /** This worker's own: 1 where a round's probe passed. */
  readonly passed: SharedArrayBuffer;
}

const data = workerData as WorkerData;
const tables = NodeTables.openExisting(new Pins(data.pinPath))!;
const program = await loadInstance(Buffer.from(data.config), tables, true);
const sender = new SynSender(new TestRun(program), data.destination);
const arrived = new Int32Array(data.arrived);
const passed = new Uint8Array(data.passed);
for (let round = 0; round < data.rounds; round++) {
  Atomics.add(arrived, round, 1);
  // Spinning, not waiting: waking up takes longer than a round.
  while (Atomics.load(arrived, round) < data.workers);
  for (const [i, port] of data.ports.entries())
    if (sender.send(nthSource(round), port)) passed[round * data.ports.length + i] = 1;
}
program.close();
tables.close();
parentPort!.postMessage('done');
