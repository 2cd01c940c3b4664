// Sizes of images, and what their programs take in memory: of those that tests have built, or `measure.ts FOLDER`, with the
// archives that `images.ts --save` wrote. The programs run out of the images' own file systems, the agent in a network namespace,
// with files and as in a pod, the operator at a real API server.
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { UnpackedImage } from '../../scripts/images/archive.ts';
import type { ImageName } from '../../scripts/images/image.ts';
import { ControlPlane } from '../cluster/control-plane/control-plane.ts';
import { freePort } from '../cluster/control-plane/free-port.ts';
import { installPortcullis } from '../cluster/control-plane/install.ts';
import { World } from '../cluster/world.ts';
import { AgentProcess } from '../life/guarded-host.ts';
import { RunningCommand, TestNet, waitFor } from '../support/namespaces.ts';
import { builtImages } from './built-images.ts';

const root = join(import.meta.dirname, '..', '..');
const folder = process.argv[2];
const archives =
  folder === undefined
    ? await builtImages()
    : { agent: join(folder, 'agent.tar'), operator: join(folder, 'operator.tar') };

/** What a program has once it has started is not what it keeps: garbage of the start goes first. */
const settlingMs = 15_000;

const rows = [
  await measure('agent', { 'with files': residentAgent, 'in a cluster': residentAgentInCluster }),
  await measure('operator', { leading: residentOperator }),
];
process.stdout.write('| image | compressed, MB | unpacked, MB | entries | resident, MB |\n|---|---|---|---|---|\n');
for (const row of rows) process.stdout.write(`| ${row.join(' | ')} |\n`);

type Resident = (image: UnpackedImage) => Promise<number>;

async function measure(name: ImageName, programs: Readonly<Record<string, Resident>>): Promise<readonly string[]> {
  using image = UnpackedImage.open(archives[name]);
  const sizes = [await image.compressedBytes(), image.unpackedBytes()].map((bytes) => (bytes / 1e6).toFixed(1));
  const entries = `${image.paths().length}`;
  const resident: string[] = [];
  for (const [how, run] of Object.entries(programs)) resident.push(`${((await run(image)) / 1e6).toFixed(1)} ${how}`);
  return [name, ...sizes, entries, resident.join(', ')];
}

/** An agent with one policy on one interface and tables of the default size. */
async function residentAgent(image: UnpackedImage): Promise<number> {
  await using net = await TestNet.create();
  const host = await net.namespace('host');
  const peer = await net.namespace('peer');
  await net.veth(
    { namespace: host, name: 'eth0', addresses: ['198.51.100.1/24'] },
    { namespace: peer, name: 'eth0', addresses: ['198.51.100.2/24'] },
  );
  await host.ip('route add default via 198.51.100.2');
  const policies = join(image.rootfs, 'etc', 'policies');
  mkdirSync(policies);
  copyFileSync(join(root, 'examples', 'web-node.yaml'), join(policies, 'web-node.yaml'));
  const flags = ['--policies', '/etc/policies', '--state', '/run/state', '--pin-path', net.pinPath()];
  const agent = new AgentProcess(host.spawn(inside(image, ['run', ...flags])));
  await agent.enforcing();
  await sleep(settlingMs);
  const bytes = residentBytes(agent.command.pid!);
  await agent.stop();
  return bytes;
}

/** As in a pod: with the account that is mounted there, one policy, and an operator beside it. */
async function residentAgentInCluster(image: UnpackedImage): Promise<number> {
  await using world = await World.create({ nodes: 1, operators: 1 });
  await world.plane.apply({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'PortScanPolicy',
    metadata: { name: 'web-node' },
    spec: { mode: 'Enforce' },
  });
  const node = world.nodes[0]!;
  await node.stop();
  const account = join(image.rootfs, 'var', 'run', 'secrets', 'kubernetes.io', 'serviceaccount');
  mkdirSync(account, { recursive: true });
  copyFileSync(node.tokenFile, join(account, 'token'));
  copyFileSync(world.plane.caFile, join(account, 'ca.crt'));
  const flags = ['--kubernetes', '--node-name', node.name, '--state', '/run/in-cluster', '--pin-path', node.pinPath];
  const { hostname, port } = new URL(node.relay.server);
  const env = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
  const agent = new AgentProcess(node.host.spawn(inside(image, ['run', ...flags]), { env }));
  await agent.enforcing();
  await waitFor(async () => (await node.report())?.policiesProgrammed === 1, 60_000, { what: 'its report' });
  await sleep(settlingMs);
  const bytes = residentBytes(agent.command.pid!);
  await agent.stop();
  return bytes;
}

/** An operator that leads, of a cluster without nodes. */
async function residentOperator(image: UnpackedImage): Promise<number> {
  await using plane = await ControlPlane.start();
  await installPortcullis(plane, root);
  const account = { namespace: 'portcullis-system', serviceAccount: 'portcullis-operator' };
  const { kubeconfig } = plane.kubeconfigForToken(join(plane.folder, 'operator'), await plane.tokenFor(account));
  // Named by their paths in there.
  const given = join(image.rootfs, plane.folder);
  for (const file of [kubeconfig, join(plane.folder, 'operator', 'token'), plane.caFile]) {
    mkdirSync(join(given, 'operator'), { recursive: true });
    copyFileSync(file, join(image.rootfs, file));
  }
  const port = await freePort();
  const flags = ['--kubeconfig', kubeconfig, '--metrics-address', `127.0.0.1:${port}`];
  const operator = new RunningCommand(inside(image, ['run', ...flags]));
  try {
    await waitFor(async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).ok, 30_000, { what: 'the operator' });
    await sleep(settlingMs);
    return residentBytes(operator.pid!);
  } finally {
    await operator.stop();
  }
}

/** The entry point of an image in its own file system, with the machine's /proc and /sys. */
function inside({ rootfs, config }: UnpackedImage, args: readonly string[]): readonly string[] {
  const mounts = 'mount --rbind /sys "$0/sys" && mount --bind /proc "$0/proc"';
  // Each exec keeps the process, so that the one that was started is the program.
  const script = `${mounts} && exec chroot "$0" "$@"`;
  return ['unshare', '--mount', 'sh', '-c', script, rootfs, ...(config.config.Entrypoint ?? []), ...args];
}

function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  if (!/^Name:\s+(node|MainThread)/m.test(status)) throw new Error(`not the program: ${status.slice(0, 80)}`);
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]) * 1024;
}
