// A cluster to play with, on this machine alone: `cluster.ts start` leaves it running in the background, `cluster.ts stop` ends it.
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ControlPlaneUnavailable, controlPlaneBinaries } from '../test/cluster/control-plane/build.ts';
import { ControlPlane } from '../test/cluster/control-plane/control-plane.ts';
import { freePort } from '../test/cluster/control-plane/free-port.ts';
import { installPortcullis } from '../test/cluster/control-plane/install.ts';
import { TestNet, waitFor } from '../test/support/namespaces.ts';
import { holder, home, isRunning, place } from './cluster/place.ts';
import { buildWorld, nodes } from './cluster/world.ts';
import { scanCommand } from './demo/scan.ts';

const root = join(import.meta.dirname, '..');
const startTimeoutMs = 120_000;
const reportsTimeoutMs = 60_000;

const commands: Readonly<Record<string, () => Promise<void>>> = { start, stop, hold };
const command = commands[process.argv[2] ?? ''];
if (command === undefined) fail('start or stop?');
if (process.getuid?.() !== 0) fail('network namespaces and XDP need root: use sudo');
await command().catch((error: Error) => fail(error.message));

async function start(): Promise<void> {
  if (holder() !== undefined && existsSync(place.ready)) {
    process.stdout.write(`It runs already.\n\n${instructions()}`);
    return;
  }
  if (holder() !== undefined) fail(`another start is under way; ${place.logs}/holder.log tells how far it is`);
  try {
    // Here, where somebody sees what takes minutes.
    await controlPlaneBinaries();
  } catch (error) {
    if (error instanceof ControlPlaneUnavailable) fail(error.message);
    throw error;
  }
  // What one that was killed left here.
  rmSync(home, { recursive: true, force: true });
  mkdirSync(place.logs, { recursive: true, mode: 0o700 });
  const log = openSync(join(place.logs, 'holder.log'), 'a');
  // A session of its own: it outlives make and the terminal.
  const child = spawn(process.execPath, [import.meta.filename, 'hold'], {
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
      fail(`${error.message}: see ${place.logs}`);
    },
  );
  if (ended()) fail(`it did not start:\n${readFileSync(join(place.logs, 'holder.log'), 'utf8')}`);
  child.unref();
  process.stdout.write(instructions());
}

async function stop(): Promise<void> {
  const pid = holder();
  if (pid === undefined) {
    process.stdout.write('no cluster runs\n');
    rmSync(home, { recursive: true, force: true });
    return;
  }
  process.kill(pid, 'SIGTERM');
  await waitFor(() => !isRunning(pid), 30_000, { what: 'the end of the cluster' });
  process.stdout.write('the cluster is gone\n');
}

/** Holds all of it until SIGTERM. What it started ends with it, also when it is killed. */
async function hold(): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
  try {
    const binaries = await controlPlaneBinaries();
    const controllerManager = binaries.kubeControllerManager !== undefined;
    await using plane = await ControlPlane.start({ binaries, controllerManager });
    await installPortcullis(plane, root);
    await using net = await TestNet.create();
    const world = await buildWorld(plane, net, await freePort());
    try {
      await waitFor(async () => (await plane.list('nodereports')).length === nodes.length, reportsTimeoutMs, {
        what: `the reports of the agents (see the logs in ${place.logs})`,
        intervalMs: 200,
      });
      mkdirSync(place.bin);
      symlinkSync(plane.kubectlPath, join(place.bin, 'kubectl'));
      symlinkSync(join(root, 'bin', 'kubectl-portcullis.mjs'), join(place.bin, 'kubectl-portcullis'));
      symlinkSync(join(root, 'bin', 'kubectl_complete-portcullis'), join(place.bin, 'kubectl_complete-portcullis'));
      symlinkSync(plane.kubeconfig, place.kubeconfig);
      writeFileSync(place.ready, '');
      await stopped;
    } finally {
      await world.stop();
    }
  } finally {
    if (existsSync(place.ready)) rmSync(home, { recursive: true, force: true });
  }
}

function instructions(): string {
  const [first] = nodes;
  const scan = `nsenter --net=${place.attacker} ${scanCommand.join(' ')} ${first.address}`;
  return `A cluster runs: an API server, an operator, and the nodes ${nodes.map(({ name }) => name).join(' and ')} with an agent each.

  export KUBECONFIG=${place.kubeconfig} PATH=${place.bin}:$PATH

  kubectl get nodes
  kubectl apply --server-side -f examples/
  kubectl wait --for=condition=Programmed portscanpolicy/web-node
  kubectl get portcullis
  ${scan}
  kubectl describe portscanpolicy web-node   # who is blocked, where, why, until when
  kubectl portcullis blocked

Logs: ${place.logs}.  Its end: make cluster-stop
`;
}

function fail(message: string): never {
  process.stderr.write(`cluster: ${message}\n`);
  process.exit(1);
}
