import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BpfMap } from '../../agent/libbpf/map.ts';
import { TestNet } from '../support/namespaces.ts';
import { listDocument, policyDocument, startAgent } from './agent-process.ts';
import { v4 } from './frames.ts';
import { figure, type Section, showGoal, spreadOf, table } from './measure.ts';
import { standardPopulation } from './node.ts';

const GOAL_RSS_MB = 90;
const GOAL_ENFORCING_MS = 1000;
const SETTLE_MS = 5000;
const MB = 1_000_000;

/** VmRSS of /proc/PID/status in bytes. */
const residentBytes = (pid: number): number => {
  const kib = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib) * 1024;
};

/** What the kernel says that each pinned map takes, by name, in bytes. */
const mapMemory = (pinPath: string): Map<string, number> => {
  const bytes = new Map<string, number>();
  for (const folder of ['maps', 'sets'])
    for (const name of readdirSync(join(pinPath, folder))) {
      using map = BpfMap.openPinned(join(pinPath, folder, name), name);
      const info = readFileSync(`/proc/self/fdinfo/${map.fd}`, 'utf8');
      bytes.set(name, Number(/memlock:\s+(\d+)/.exec(info)?.[1]));
    }
  return bytes;
};

export const agentSection: Section = {
  name: 'agent',
  title: 'The bundled agent: memory, and the time from its start to enforcing, with a policy and a list of 10,000',
  run: async ({ short, print }) => {
    const enforcingMs: number[] = [];
    let rss = 0;
    let memory = new Map<string, number>();
    for (let round = 0; round < (short ? 1 : 5); round++) {
      await using net = await TestNet.create();
      const victim = await net.namespace('victim');
      const other = await net.namespace('other');
      await net.veth({ namespace: victim, name: 'eth0' }, { namespace: other, name: 'eth0' });
      const cidrs = standardPopulation.listed.map(({ first, length }) => `${v4(first)}/${length}`);
      const documents = { 'policy.yaml': policyDocument('eth0'), 'list.yaml': listDocument('eth0', cidrs) };
      const agent = await startAgent(net, victim, documents);
      enforcingMs.push(agent.enforcingMs);
      if (round === 0) {
        await sleep(SETTLE_MS);
        rss = residentBytes(agent.command.pid!);
        memory = mapMemory(agent.pinPath);
      }
      await agent.command.stop();
    }
    const ms = spreadOf(enforcingMs);
    const kernelBytes = [...memory.values()].reduce((sum, bytes) => sum + bytes, 0);
    print(`resident after 5 s: ${(rss / MB).toFixed(0)} MB, goal ${showGoal(rss / MB, GOAL_RSS_MB)}`);
    print(
      `start to enforcing: ${ms.median.toFixed(0)} ms (${ms.min.toFixed(0)}-${ms.max.toFixed(0)}), goal ${showGoal(ms.median, GOAL_ENFORCING_MS)}`,
    );
    print(`kernel memory of the tables: ${(kernelBytes / MB).toFixed(0)} MB`);
    print(
      table([
        ['table', 'MB'],
        ...[...memory]
          .sort(([, a], [, b]) => b - a)
          .map(([name, bytes]) => [name, (bytes / MB).toFixed(bytes < MB ? 3 : 1)]),
      ]),
    );
    return {
      figures: [
        figure('resident set of the agent', 'MB', rss / MB, GOAL_RSS_MB),
        figure('start to enforcing', 'ms', ms, GOAL_ENFORCING_MS),
        figure('kernel memory of the tables', 'MB', kernelBytes / MB),
        ...[...memory].map(([name, bytes]) => figure(`table ${name}`, 'MB', bytes / MB)),
      ],
    };
  },
};
