import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BpfMap } from '../../agent/libbpf/map.ts';
import { TestNet } from '../support/namespaces.ts';
import { listDocument, policyDocument, startAgent } from './agent-process.ts';
import { v4 } from './frames.ts';
import { type Figure, figure, type Section, showGoal, spreadOf, table } from './measure.ts';
import { standardPopulation } from './node.ts';

const GOAL_RSS_MB = 90;
const GOAL_ENFORCING_MS = 1000;
const SETTLE_MS = 5000;
const MB = 1_000_000;

interface Resident {
  readonly bytes: number;
  /** Heap and stacks; the rest is pages of files, node's own binary above all, and mapped tables. */
  readonly anonymousBytes: number;
}

const resident = (pid: number): Resident => {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const bytes = (field: string) => Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1]) * 1024;
  return { bytes: bytes('VmRSS'), anonymousBytes: bytes('RssAnon') };
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

interface Started {
  readonly enforcingMs: number;
  readonly resident: Resident;
  readonly tables: ReadonlyMap<string, number>;
}

/** Starts an agent in a namespace of its own and looks at it after `restMs`. */
const start = async (documents: Readonly<Record<string, string>>, restMs: number): Promise<Started> => {
  await using net = await TestNet.create();
  const victim = await net.namespace('victim');
  const other = await net.namespace('other');
  await net.veth({ namespace: victim, name: 'eth0' }, { namespace: other, name: 'eth0' });
  const { command, enforcingMs, pinPath } = await startAgent(net, victim, documents);
  await sleep(restMs);
  const started = { enforcingMs, resident: resident(command.pid!), tables: mapMemory(pinPath) };
  await command.stop();
  return started;
};

export const agentSection: Section = {
  name: 'agent',
  title: 'The bundled agent: memory after 5 s, and the time from its start to enforcing',
  run: async ({ short, print }) => {
    const cidrs = standardPopulation.listed.map(({ first, length }) => `${v4(first)}/${length}`);
    const policy = { 'policy.yaml': policyDocument('eth0') };
    const kinds = [
      { label: 'one policy', documents: policy },
      { label: 'one policy, a list of 10,000', documents: { ...policy, 'list.yaml': listDocument('eth0', cidrs) } },
    ];
    const figures: Figure[] = [];
    const rows: string[][] = [];
    let tables: ReadonlyMap<string, number> = new Map();
    for (const { label, documents } of kinds) {
      const first = await start(documents, SETTLE_MS);
      tables = first.tables;
      const starts = [first.enforcingMs];
      for (let round = 1; round < (short ? 1 : 5); round++) starts.push((await start(documents, 0)).enforcingMs);
      const ms = spreadOf(starts);
      const mb = first.resident.bytes / MB;
      rows.push([
        label,
        mb.toFixed(0),
        (first.resident.anonymousBytes / MB).toFixed(0),
        showGoal(mb, GOAL_RSS_MB),
        `${ms.median.toFixed(0)} (${ms.min.toFixed(0)}-${ms.max.toFixed(0)})`,
        showGoal(ms.median, GOAL_ENFORCING_MS),
      ]);
      figures.push(
        figure(`resident set, ${label}`, 'MB', mb, GOAL_RSS_MB),
        figure(`start to enforcing, ${label}`, 'ms', ms, GOAL_ENFORCING_MS),
      );
    }
    print(table([['agent with', 'resident MB', 'of it anonymous', 'goal', 'ms to enforcing', 'goal'], ...rows]));
    const kernelBytes = [...tables.values()].reduce((sum, bytes) => sum + bytes, 0);
    const sorted = [...tables].sort(([, a], [, b]) => b - a);
    print(
      table([
        ['kernel memory of', 'MB'],
        ...sorted.filter(([, bytes]) => bytes >= MB / 20).map(([name, bytes]) => [name, (bytes / MB).toFixed(2)]),
        ['all tables', (kernelBytes / MB).toFixed(2)],
      ]),
    );
    return {
      figures: [
        ...figures,
        figure('kernel memory of all tables', 'MB', kernelBytes / MB),
        ...sorted.map(([name, bytes]) => figure(`kernel memory of ${name}`, 'MB', bytes / MB)),
      ],
    };
  },
};
