// A port scan with and without Portcullis, on this machine alone: all traffic stays in namespaces that are gone afterwards.
import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Namespace, nodePath, type RunningCommand, TestNet, waitFor } from '../test/support/namespaces.ts';
import { startHonestClient } from './demo/honest-client.ts';
import { movedSeries } from './demo/metrics.ts';
import { type ScanResult, scan, scanCommand } from './demo/scan.ts';
import { Terminal } from './demo/terminal.ts';
import { addresses, buildWorld, fetchPage, openPorts, type World } from './demo/world.ts';

const root = join(import.meta.dirname, '..');
const agentScript = join(root, 'bin', 'portcullis-agent.mjs');
const metricsAddress = '127.0.0.1:9469';
const url = `http://${addresses.victim}/`;

const terminal = new Terminal(process.stdout);

// What removes the namespaces runs when the process exits, so every way out must be an exit.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));

if (process.getuid?.() !== 0) {
  process.stderr.write('demo: network namespaces and XDP need root: sudo make demo\n');
  process.exit(1);
}
if (!existsSync(join(root, 'dist', 'agent.mjs'))) {
  process.stderr.write('demo: dist/agent.mjs is missing: run `make build`\n');
  process.exit(1);
}

{
  const startedAt = performance.now();
  await using net = await TestNet.create();
  await tell(net);
  const verdict = terminal.failures === 0 ? 'All of it held' : `${terminal.failures} of it did not hold`;
  terminal.result(`${verdict}, in ${seconds(startedAt)} s.`);
}
process.exit(terminal.failures === 0 ? 0 : 1);

async function tell(net: TestNet): Promise<void> {
  terminal.step('An attacker, an honest client and a victim, each in a network namespace, with a router between them');
  const world = await buildWorld(net);
  terminal.text(
    `attacker ${addresses.attacker}   honest client ${addresses.honest}   victim ${addresses.victim}, ${openPorts.length} services`,
  );

  terminal.step('Without Portcullis, a scan finds everything');
  const before = await runScan(world);
  terminal.check(
    before.open.length === openPorts.length,
    `${before.open.length} of ${openPorts.length} services found, in ${before.seconds.toFixed(1)} s`,
  );

  terminal.step('The agent starts on the victim, with the policies in examples/');
  const agent = await startAgent(net, world.victim);

  terminal.step('The same scan again, while the honest client goes on fetching the page');
  const metricsBefore = await scrape(world.victim);
  const stopHonestClient = startHonestClient(world.honest, url);
  const after = await runScan(world);
  const honest = await stopHonestClient();
  const metricsAfter = await scrape(world.victim);
  const [block] = await agent.blocks();
  terminal.check(
    block !== undefined && after.answered === block.probes - 1,
    `${after.answered} of ${after.probed} probes got an answer; without Portcullis ${before.answered} did`,
  );
  terminal.check(
    after.open.length < before.open.length,
    `services found: ${before.open.length} before, ${after.open.length} now`,
  );
  terminal.check(
    honest.requests > 0 && honest.failed === 0,
    `honest client: ${honest.requests} requests, ${honest.failed} failed, the slowest took ${honest.slowestMs} ms`,
  );
  const attackerGets = await fetchPage(world.attacker);
  terminal.check(!attackerGets.startsWith('HTTP'), `the attacker now asks for the page: ${attackerGets}`);

  terminal.step('Who is blocked, and why');
  terminal.text(await agent.command(['blocked']));
  const records = agent.scanRecords();
  for (const record of records) terminal.text(`in its log: ${record}`);
  terminal.check(records.length === 1, `${records.length} record of the whole scan`);
  const blocked = (await agent.blocks()).map(({ source }) => source);
  terminal.check(
    blocked.join() === addresses.attacker,
    `the attacker is blocked, and nobody else: ${blocked.join(', ')}`,
  );

  terminal.step('How the agent is');
  terminal.text(await agent.command(['status']));

  terminal.step('The metrics that moved');
  terminal.command('victim', ['curl', `http://${metricsAddress}/metrics`]);
  const moved = movedSeries(metricsBefore, metricsAfter, isTelling);
  for (const { series, before: was, after: is } of moved) terminal.text(`${series}  ${was} -> ${is}`);
  terminal.check(
    moved.some(({ series }) => series.includes('scan-blocked')),
    'among them the packets dropped',
  );

  terminal.step('The agent stops; the kernel goes on');
  await agent.stop();
  const withoutAgent = await fetchPage(world.attacker);
  terminal.check(!withoutAgent.startsWith('HTTP'), `the attacker asks for the page: ${withoutAgent}`);
  terminal.check((await fetchPage(world.honest)) === 'HTTP 200', 'the honest client gets it: HTTP 200');

  terminal.step('Detached, all is as it was');
  terminal.text(await agent.command(['detach']));
  const detached = await fetchPage(world.attacker);
  terminal.check(detached === 'HTTP 200', `the attacker asks for the page: ${detached}`);
}

async function runScan({ attacker }: World): Promise<ScanResult> {
  terminal.command('attacker', [...scanCommand, addresses.victim]);
  const result = await scan(attacker, addresses.victim);
  terminal.text(`open ports: ${result.open.join(', ') || 'none'}`);
  return result;
}

interface Block {
  readonly source: string;
  readonly probes: number;
}

interface DemoAgent {
  /** Runs a command of the agent against its pins, shows it, and returns what it wrote. */
  command(args: readonly string[]): Promise<string>;
  blocks(): Promise<readonly Block[]>;
  /** The lines of its log that tell of scans. */
  scanRecords(): readonly string[];
  stop(): Promise<void>;
}

async function startAgent(net: TestNet, victim: Namespace): Promise<DemoAgent> {
  const folder = net.folder();
  const pins = ['--pin-path', net.pinPath()];
  cpSync(join(root, 'examples'), join(folder, 'policies'), { recursive: true });
  const args = [
    ...['run', '--policies', join(folder, 'policies'), ...pins, '--state', join(folder, 'state')],
    ...['--status-file', join(folder, 'status.json'), '--metrics-address', metricsAddress],
  ];
  terminal.command('victim', ['portcullis-agent', 'run', '--policies', 'examples/', '...']);
  const startedAt = performance.now();
  const running = victim.spawnNode([agentScript, ...args]);
  await waitFor(() => isHealthy(victim, running), 20_000, { what: 'the agent to enforce', intervalMs: 50 }).catch(
    (error: Error) => {
      throw new Error(`${error.message}; it wrote:\n${running.stderr}${running.stdout}`);
    },
  );
  terminal.check(true, `it enforces, ${seconds(startedAt)} s after its start`);
  const ask = async (command: readonly string[]) =>
    (await victim.exec([nodePath, agentScript, ...command, ...pins])).stdout;
  return {
    command: (command) => {
      terminal.command('victim', ['portcullis-agent', ...command]);
      return ask(command);
    },
    blocks: async () => JSON.parse(await ask(['blocked', '-o', 'json'])) as readonly Block[],
    scanRecords: () => running.stdout.split('\n').filter((line) => line.includes('"event":"scan"')),
    stop: async () => {
      terminal.command('victim', ['kill', '-TERM', `${running.pid}`]);
      const { code, signal } = await running.stop();
      terminal.check(code === 0, `it ended with ${signal ?? code}`);
    },
  };
}

async function isHealthy(victim: Namespace, agent: RunningCommand): Promise<boolean> {
  if (!agent.isRunning) throw new Error(`the agent ended with ${agent.child.exitCode ?? agent.child.signalCode}`);
  const { code } = await victim.exec(['curl', '-sf', '-o', '/dev/null', `http://${metricsAddress}/healthz`], {
    allowFailure: true,
  });
  return code === 0;
}

async function scrape(victim: Namespace): Promise<string> {
  return (await victim.exec(['curl', '-sSf', `http://${metricsAddress}/metrics`])).stdout;
}

/** What a scan moves, without what only says that the agent is alive. */
function isTelling(series: string): boolean {
  return /^portcullis_(new_connections|packets|blocks|blocked|tracked)/.test(series);
}

function seconds(startedAt: number): string {
  return ((performance.now() - startedAt) / 1_000).toFixed(1);
}
