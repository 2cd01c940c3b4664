// Some agents in one process: each has a client, a connection and a token of its own. Ends with its parent.
import { setTimeout as sleep } from 'node:timers/promises';
import { createLog } from '../../../agent/telemetry/log.ts';
import type { FromAgents, ToAgents } from './agents-protocol.ts';
import { SimulatedAgent } from './simulated-agent.ts';

const tell = (message: FromAgents): void => {
  process.send?.(message);
};
const log = createLog({ level: 'warn', fd: 2 });
const stop = new AbortController();
const agents: SimulatedAgent[] = [];
const running: Promise<void>[] = [];
let scans: NodeJS.Timeout[] = [];

const dieWithParent = () => process.exit();
process.on('disconnect', dieWithParent);
process.on('unhandledRejection', (error) => fail(error));
process.on('message', (message: ToAgents) => {
  handle(message).catch(fail);
});

async function handle(message: ToAgents): Promise<void> {
  switch (message.type) {
    case 'start':
      for (const each of message.agents) running.push(start(each, message).catch(fail));
      return;
    case 'scan':
      scan(message.nodes, message.everyMs);
      return;
    case 'count':
      tell({ type: 'counts', ...(await counts()) });
      return;
    case 'stop':
      stop.abort();
      for (const timer of scans) clearInterval(timer);
      await Promise.all(running);
      // By itself, as the agent does: nothing may be left that keeps it alive.
      process.off('disconnect', dieWithParent);
      process.disconnect();
  }
}

async function start(
  { nodeName, index, kubeconfig }: (ToAgents & { type: 'start' })['agents'][number],
  { interfaces, spreadMs }: ToAgents & { type: 'start' },
): Promise<void> {
  await sleep(Math.random() * spreadMs);
  const known = new Map<string, number>();
  const agent = await SimulatedAgent.open({
    nodeName,
    index,
    kubeconfig,
    interfaces,
    log,
    onSnapshot: (atMs, generations) => {
      const news = [...generations].filter(([name, generation]) => known.get(name) !== generation);
      for (const [name, generation] of news) known.set(name, generation);
      if (news.length > 0) tell({ type: 'snapshot', node: nodeName, atMs, news: Object.fromEntries(news) });
    },
  });
  agents.push(agent);
  await agent.run(stop.signal);
}

function scan(nodes: readonly string[], everyMs: number): void {
  for (const timer of scans) clearInterval(timer);
  if (everyMs === 0) scans = [];
  else {
    scans = agents
      .filter(({ nodeName }) => nodes.includes(nodeName))
      .map((agent) => setInterval(() => agent.scan(), everyMs));
  }
}

async function counts() {
  const writes: Record<string, number> = {};
  for (const agent of agents) {
    for (const [result, count] of Object.entries(await agent.reportWrites())) {
      writes[result] = (writes[result] ?? 0) + count;
    }
  }
  return { writes, findings: agents.flatMap((agent) => agent.findings()) };
}

function fail(error: unknown): void {
  tell({ type: 'failed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
}
