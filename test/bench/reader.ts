import { setTimeout as sleep } from 'node:timers/promises';
import { loss } from '../../agent/datapath/layout.ts';
import { XdpLink } from '../../agent/libbpf/link.ts';
import { TestRun } from '../../agent/libbpf/test-run.ts';
import { run } from '../support/command.ts';
import { encodeKeys, synFrame } from './frames.ts';
import { figure, type Section, showGoal } from './measure.ts';
import { BenchNode, POLICY, shuffledAddress, standardPopulation, UNLIMITED_EVENTS } from './node.ts';
import { KEYS } from './objects.ts';
import { startReader } from './reader-process.ts';
import { runAgain } from './timed-run.ts';

const GOAL_PERCENT = 15;
const EVENTS_PER_SECOND = 1_000_000;
const BATCH = 5000;

const interfaceIndex = async (name: string): Promise<number> => {
  const { stdout } = await run(['ip', '-json', 'link', 'show', name]);
  return (JSON.parse(stdout) as { ifindex: number }[])[0]!.ifindex;
};

export const readerSection: Section = {
  name: 'reader',
  title: 'The reader of events at 1,000,000 connections a second: 1,000 lines a second are logged, the rest is counted',
  run: async ({ short, print }) => {
    await using node = await BenchNode.create(standardPopulation);
    const program = await node.program('rotated-guard', 'rotated_guard', {
      policy: { ...POLICY, logConnections: true },
      connectionEventsPerSecond: UNLIMITED_EVENTS,
      oneDomain: true,
    });
    // A program that is attached somewhere is run at once; for others each call waits for the kernel, 10 to 30 ms.
    await run(['ip', 'link', 'add', 'bench0', 'type', 'veth', 'peer', 'name', 'bench1']);
    using _link = XdpLink.attach(program, await interfaceIndex('bench0'), 'generic');
    const source = new TestRun(program);
    const frame = synFrame(0);
    node.keys.use(encodeKeys(KEYS, (i) => ({ source: shuffledAddress(i, 6000), port: 80 })));
    const lost = () => {
      const losses = node.datapath.tables.map('losses');
      const slots = losses.userValueBytes / 8;
      const values = losses.readArray(loss.LOSS_RING_FULL, 1);
      return Array.from({ length: slots }, (_, cpu) => Number(values.readBigUInt64LE(cpu * 8))).reduce((a, b) => a + b);
    };
    const send = async (seconds: number) => {
      const startedMs = performance.now();
      for (let sent = 0; sent < seconds * EVENTS_PER_SECOND; sent += BATCH) {
        runAgain(source, frame, BATCH);
        const aheadMs = (sent / EVENTS_PER_SECOND) * 1000 - (performance.now() - startedMs);
        if (aheadMs > 1) await sleep(aheadMs);
      }
      return performance.now() - startedMs;
    };
    const seconds = short ? 2 : 10;
    const lostBefore = lost();
    await using reader = await startReader(node.pinPath);
    const wallMs = await send(seconds);
    const { events, lines, cpuMs } = await reader.stop();
    const ringFull = lost() - lostBefore;
    const percent = (100 * cpuMs) / wallMs;
    const perSecond = (events * 1000) / wallMs;
    print(
      `${Math.round(perSecond).toLocaleString('en')} events/s read, ${lines} logged, ${ringFull} found the ring full`,
    );
    print(
      `${percent.toFixed(1)} % of a core, ${((cpuMs * 1e6) / events).toFixed(0)} ns an event, goal ${showGoal(percent, GOAL_PERCENT)}`,
    );
    return {
      figures: [
        figure('reader at 1,000,000 events/s', '% of a core', percent, GOAL_PERCENT),
        figure('events read', 'a second', perSecond),
        figure('events that found the ring full', 'events', ringFull),
      ],
    };
  },
};
