/** Metrics over TLS and for tokens, as the chart has them on a real node: the kubelet probes, mounts the Secret and changes it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { makeCertificate, type TestCertificate } from '../../kube/testing/tls.ts';
import type { AnyObject } from '../cluster/control-plane/cluster.ts';
import { runHelm } from '../cluster/real-nodes/helm.ts';
import { RealCluster } from '../cluster/real-nodes/real-cluster.ts';
import { builtImages } from '../images/built-images.ts';
import { waitFor } from '../support/wait-for.ts';

const namespace = 'portcullis-system';
const secretName = 'portcullis-metrics';
const ports: Readonly<Record<string, number>> = { 'portcullis-agent': 9469, 'portcullis-operator': 9470 };
const values = {
  operator: { replicas: 1 },
  metrics: { agent: { listen: 'NodeAddress' }, tls: { secretName }, tokenReview: true },
};

let cluster: RealCluster | undefined;
let first: TestCertificate;
let second: TestCertificate;
let token: string;

const secret = ({ cert, key }: TestCertificate): AnyObject => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: secretName, namespace },
  type: 'kubernetes.io/tls',
  stringData: { 'tls.crt': cert, 'tls.key': key, 'ca.crt': cert },
});

/** Whoever scrapes, bound to the chart's role as README.md says. */
const reader: AnyObject = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRoleBinding',
  metadata: { name: 'prometheus-reads-portcullis' },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'portcullis-metrics-reader' },
  subjects: [{ kind: 'ServiceAccount', name: 'prometheus', namespace: 'default' }],
};

interface ServingPod {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

async function pods(): Promise<readonly ServingPod[]> {
  const all = await cluster!.plane.list('pods', ['-n', namespace, '-l', 'app.kubernetes.io/name']);
  return all.map(({ metadata, status }) => ({
    name: metadata.name,
    address: status.podIP,
    port: ports[metadata.labels['app.kubernetes.io/name']]!,
  }));
}

/** Status of a scrape from the node; 0 when there was no answer, or none by somebody who has this certificate. */
async function scrape({ address, port }: ServingPod, { cert }: TestCertificate, withToken = true): Promise<number> {
  const ca = join(cluster!.plane.folder, 'metrics-ca.crt');
  writeFileSync(ca, cert);
  const { stdout } = await cluster!.nodes[0]!.exec(
    [
      ...['curl', '-s', '--max-time', '10', '--cacert', ca, '-o', '/dev/null', '-w', '%{http_code}'],
      ...['--resolve', `portcullis-metrics:${port}:${address}`],
      ...(withToken ? ['-H', `Authorization: Bearer ${token}`] : []),
      `https://portcullis-metrics:${port}/metrics`,
    ],
    { allowFailure: true },
  );
  return Number(stdout);
}

/** Changes the Secret, and the pods, so that the kubelet looks at their volumes now and not within the next minute or two. */
async function change(pair: TestCertificate): Promise<void> {
  const { plane } = cluster!;
  await plane.apply(secret(pair));
  for (const { name } of await pods())
    await plane.run(['annotate', 'pod', name, '-n', namespace, `looked-at=${Date.now()}`, '--overwrite']);
}

beforeAll(async () => {
  if (process.env.PORTCULLIS_SKIP_CLUSTER !== undefined) return;
  first = makeCertificate('DNS:portcullis-metrics');
  second = makeCertificate('DNS:portcullis-metrics');
  const images = await builtImages();
  cluster = await RealCluster.start();
  const { plane } = cluster;
  await cluster.addNode();
  for (const name of ['agent', 'operator'] as const) await cluster.importImage(images[name]);
  await plane.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
  await plane.apply(secret(first));
  const file = join(plane.folder, 'metrics-values.json');
  writeFileSync(file, JSON.stringify(values));
  // Waits for pods to be ready, and so for the kubelet's probes.
  await runHelm(plane, [
    ...['install', 'portcullis', images.chart, '-n', namespace, '--wait', '--timeout', '3m', '-f', file],
  ]);
  await plane.createServiceAccount('default', 'prometheus');
  await plane.apply(reader);
  token = await plane.tokenFor({ namespace: 'default', serviceAccount: 'prometheus' });
}, 900_000);
afterAll(() => cluster?.stop(), 60_000);
beforeEach(({ onTestFailed }) => {
  onTestFailed(() => console.log(cluster?.logs()));
});

describe('metrics of the chart, over TLS and for tokens', () => {
  it('are there for the account with the role, and for nobody else; pods are ready all the same', async () => {
    const serving = await pods();
    expect(serving.map(({ port }) => port).sort()).toEqual([9469, 9470]);
    for (const pod of serving) {
      expect([pod.name, await scrape(pod, first)]).toEqual([pod.name, 200]);
      expect([pod.name, await scrape(pod, first, false)]).toEqual([pod.name, 401]);
    }
  });

  it('go on when the Secret becomes one that cannot be used, and take the next one that can', async () => {
    const serving = await pods();
    await change({ cert: first.cert, key: second.key });
    for (const { name } of serving)
      await waitFor(
        async () =>
          (await cluster!.plane.run(['logs', '-n', namespace, name])).includes('tls.key is not the key of tls.crt'),
        110_000,
        { what: `${name} to tell of it`, intervalMs: 500 },
      );
    for (const pod of serving) expect([pod.name, await scrape(pod, first)]).toEqual([pod.name, 200]);
    await change(second);
    for (const pod of serving)
      await waitFor(async () => (await scrape(pod, second)) === 200, 110_000, {
        what: `the new certificate of ${pod.name}`,
        intervalMs: 500,
      });
    const restarts = (await cluster!.plane.list('pods', ['-n', namespace])).flatMap(({ status }) =>
      status.containerStatuses.map(({ restartCount }: AnyObject) => restartCount),
    );
    expect(new Set(restarts)).toEqual(new Set([0]));
  }, 300_000);
});
