import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../../support/wait-for.ts';
import { pauseImage } from './pause-image.ts';
import { RealCluster } from './real-cluster.ts';

let cluster: RealCluster;

beforeAll(async () => {
  cluster = await RealCluster.start();
  await cluster.addNode();
  await cluster.addNode();
}, 180_000);
afterAll(async () => await cluster?.stop(), 60_000);

const daemonSet = {
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  metadata: { name: 'waiting', namespace: 'default' },
  spec: {
    selector: { matchLabels: { app: 'waiting' } },
    template: {
      metadata: { labels: { app: 'waiting' } },
      spec: {
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: 0,
        containers: [{ name: 'waiting', image: pauseImage, imagePullPolicy: 'Never' }],
      },
    },
  },
};

describe('a cluster of two real nodes', () => {
  test('has them Ready', async () => {
    const nodes = await cluster.plane.list('nodes');
    expect(nodes.map((node) => node.metadata.name)).toEqual(['node-a', 'node-b']);
    expect(await Promise.all(cluster.nodes.map((node) => node.isReady()))).toEqual([true, true]);
  });

  test('runs a pod on each', async () => {
    await cluster.plane.apply(daemonSet);
    await cluster.plane.run(['rollout', 'status', 'daemonset/waiting', '--timeout=60s'], { timeoutMs: 70_000 });
    const pods = await cluster.plane.list('pods', ['-l', 'app=waiting']);
    expect(pods.map((pod) => pod.spec.nodeName).toSorted()).toEqual(['node-a', 'node-b']);
  });

  test('has the API server at its service address on each', async () => {
    for (const node of cluster.nodes) {
      const probe = ['curl', '-sk', '-m5', '-o', '/dev/null', '-w', '%{http_code}', 'https://10.96.0.1/version'];
      await waitFor(async () => /^(200|40[13])$/.test((await node.exec(probe)).stdout), 20_000, { what: node.name });
    }
  });

  test('keeps its BPF pins when all programs of a node are killed, and loses them by a power cut', async () => {
    const [node] = cluster.nodes;
    const marker = '/sys/fs/bpf/marker';
    await node!.exec(['mkdir', marker]);
    await node!.killPrograms();
    await node!.startPrograms();
    expect((await node!.exec(['test', '-d', marker], { allowFailure: true })).code).toBe(0);
    await node!.kill();
    await cluster.restartNode(node!);
    expect((await node!.exec(['test', '-d', marker], { allowFailure: true })).code).toBe(1);
    await waitFor(
      async () => {
        const pods = await cluster.plane.list('pods', ['-l', 'app=waiting']);
        return pods.length === 2 && pods.every((pod) => pod.status.phase === 'Running');
      },
      60_000,
      { what: 'its pod to run again', intervalMs: 200 },
    );
  });
});
