// A cluster to play with, on this machine alone: `cluster.ts start` leaves it running in the background, `cluster.ts stop` ends it.
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { ControlPlaneUnavailable } from '../test/cluster/control-plane/build.ts';
import { helmBinary, nodeBinaries, RealNodesUnavailable } from '../test/cluster/real-nodes/build.ts';
import { builtImages } from '../test/images/built-images.ts';
import { isRunning } from '../test/support/is-running.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { removeLeftOf } from './cluster/leftovers.ts';
import { holder, home, lastHolder, place } from './cluster/place.ts';
import { instructions } from './cluster/quick-start.ts';
import { World } from './cluster/world.ts';
import { NoImageBuilder } from './images/builder.ts';

const startTimeoutMs = 300_000;
const stopTimeoutMs = 60_000;

const commands: Readonly<Record<string, () => Promise<void>>> = { start, stop, hold };
const command = commands[process.argv[2] ?? ''];
if (command === undefined) fail('start or stop?');
if (process.getuid?.() !== 0) fail('network namespaces and XDP need root: use sudo');
await command().catch((error: Error) => fail(isForPeople(error) ? error.message : `${error.stack}`));
// Without waiting for what Node.js thinks is open: after a reset of a connection on which bytes were waiting it spins for ever.
process.exit();

async function start(): Promise<void> {
  if (holder() !== undefined && existsSync(place.ready)) {
    process.stdout.write(`It runs already.\n\n${instructions()}`);
    return;
  }
  if (holder() !== undefined)
    fail(`another start is under way: ${place.log} tells how far it is; make cluster-stop ends it`);
  // Here, where somebody sees what takes minutes.
  await nodeBinaries();
  await helmBinary();
  const { agent, operator } = await builtImages();
  await removeLast();
  mkdirSync(home, { recursive: true, mode: 0o700 });
  process.stdout.write('cluster: starting an API server and two nodes\n');
  const log = openSync(place.log, 'a');
  // A session of its own: it outlives make and the terminal.
  const child = spawn(process.execPath, [import.meta.filename, 'hold', agent, operator], {
    cwd: '/',
    stdio: ['ignore', log, log],
    detached: true,
  });
  closeSync(log);
  writeFileSync(place.pid, `${child.pid}`);
  const ended = () => child.exitCode !== null || child.signalCode !== null;
  await waitFor(() => ended() || existsSync(place.ready), startTimeoutMs, { what: 'the cluster' }).catch(
    (error: Error) => {
      child.kill();
      fail(`${error.message}: see ${place.log} and ${place.logs}/`);
    },
  );
  if (ended()) fail(`it did not start:\n${readFileSync(place.log, 'utf8')}`);
  child.unref();
  process.stdout.write(`\n${instructions()}`);
}

async function stop(): Promise<void> {
  const pid = holder();
  if (pid === undefined) {
    const left = lastHolder();
    await removeLast();
    process.stdout.write(
      left === undefined ? 'no cluster runs\n' : 'no cluster runs; what the last one left is removed\n',
    );
    return;
  }
  process.kill(pid, 'SIGTERM');
  await waitFor(() => !isRunning(pid), stopTimeoutMs, { what: 'the end of the cluster' }).catch(() =>
    process.kill(pid, 'SIGKILL'),
  );
  await waitFor(() => !isRunning(pid), stopTimeoutMs, { what: 'the end of the cluster after SIGKILL' });
  await removeLast();
  process.stdout.write('the cluster is gone\n');
}

/** What one that runs no more left, because it was killed. */
async function removeLast(): Promise<void> {
  const pid = lastHolder();
  if (pid !== undefined && !isRunning(pid)) await removeLeftOf(pid);
  rmSync(home, { recursive: true, force: true });
}

/** Holds all of it until SIGTERM. What it started ends with it, also when it is killed. */
async function hold(): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
  const [binaries, helm, images] = [await nodeBinaries(), await helmBinary(), process.argv.slice(3)];
  // Whoever stops it before it runs has it stopped all the same, a moment later.
  await using _world = await World.start({ binaries, helm, images });
  writeFileSync(place.ready, '');
  await stopped;
}

function isForPeople(error: Error): boolean {
  return [ControlPlaneUnavailable, RealNodesUnavailable, NoImageBuilder].some((kind) => error instanceof kind);
}

function fail(message: string): never {
  process.stderr.write(`cluster: ${message}\n`);
  process.exit(1);
}
