import { existsSync, readFileSync } from 'node:fs';
import { request } from 'node:https';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nodePath, RunningCommand, TestNet, waitFor } from '../support/namespaces.ts';
import type { Cluster } from './control-plane/cluster.ts';
import { ControlPlane } from './control-plane/control-plane.ts';
import { Relay } from './control-plane/relay.ts';
import { useControlPlane } from './use-control-plane.ts';

describe('the control plane that all files share', () => {
  const cluster = useControlPlane();

  test('serves Kubernetes 1.32 or newer, with the kinds of Portcullis', async () => {
    const { serverVersion } = JSON.parse(await cluster.run(['version', '-o', 'json']));
    expect(serverVersion.major).toBe('1');
    // The node claim of tokens is on by default from there on.
    expect(Number.parseInt(serverVersion.minor, 10)).toBeGreaterThanOrEqual(32);
    const kinds = await cluster.run(['api-resources', '--api-group=portcullis.dev', '-o', 'name']);
    expect(kinds.split('\n')).toContain('portscanpolicies.portcullis.dev');
  });

  test('says what kubectl wrote when it ends with an error, and gives it back where that is asked for', async () => {
    await expect(cluster.run(['get', 'nosuchkind'])).rejects.toThrow(`doesn't have a resource type "nosuchkind"`);
    const { code, stderr } = await cluster.kubectl(['get', 'node', 'cp-nobody']);
    expect([code, stderr.includes('NotFound')]).toEqual([1, true]);
  });

  test('gives a Node the addresses, pod ranges and readiness that a test asks for', async () => {
    await cluster.createNode('cp-node-a', {
      labels: { role: 'edge' },
      addresses: ['203.0.113.7', '2001:db8::7'],
      podCIDRs: ['10.1.0.0/24'],
    });
    await cluster.setNodeReady('cp-node-a', false);
    const node = await cluster.get('node', 'cp-node-a');
    expect(node?.metadata.labels.role).toBe('edge');
    expect(node?.spec.podCIDRs).toEqual(['10.1.0.0/24']);
    expect(node?.status.addresses.map(({ address }: { address: string }) => address)).toEqual([
      '203.0.113.7',
      '2001:db8::7',
      'cp-node-a',
    ]);
    expect(node?.status.conditions).toMatchObject([{ type: 'Ready', status: 'Unknown' }]);
    await cluster.delete('node', 'cp-node-a');
    expect(await cluster.get('node', 'cp-node-a')).toBeUndefined();
  });

  describe('tokens', () => {
    const agent = { namespace: 'default', serviceAccount: 'cp-agent' };

    beforeAll(async () => {
      await cluster.createServiceAccount(agent.namespace, agent.serviceAccount);
      await cluster.createNode('cp-node-b');
    });

    afterAll(async () => {
      await cluster.delete('pod', 'cp-agent-cp-node-b', 'default');
      await cluster.delete('serviceaccount', 'cp-agent', 'default');
      await cluster.delete('node', 'cp-node-b');
    });

    test('of a pod name its node', async () => {
      const token = await cluster.tokenFor({ ...agent, node: 'cp-node-b' });
      const { user, authenticated } = await review(cluster, token);
      expect(authenticated).toBe(true);
      expect(user.username).toBe('system:serviceaccount:default:cp-agent');
      expect(user.extra['authentication.kubernetes.io/node-name']).toEqual(['cp-node-b']);
    });

    test('of no pod name none', async () => {
      const { user } = await review(cluster, await cluster.tokenFor(agent));
      expect(user.username).toBe('system:serviceaccount:default:cp-agent');
      expect(user.extra).not.toHaveProperty('authentication.kubernetes.io/node-name');
    });

    test('may live for seconds, with the same claims, and are refused after that', async () => {
      const shortLived = await cluster.tokenFor({ ...agent, node: 'cp-node-b', lifetimeSeconds: 60 });
      const { user } = await review(cluster, shortLived);
      expect(user.extra['authentication.kubernetes.io/node-name']).toEqual(['cp-node-b']);
      const ended = await cluster.tokenFor({ ...agent, node: 'cp-node-b', lifetimeSeconds: -60 });
      expect(await review(cluster, ended)).toMatchObject({ error: expect.stringContaining('expired') });
    });

    test('are read from a file by who uses the kubeconfig made for them', async () => {
      const folder = `${cluster.folder}/cp-token`;
      const token = await cluster.tokenFor({ ...agent, node: 'cp-node-b' });
      const { kubeconfig } = cluster.kubeconfigForToken(folder, token);
      const whoAmI = JSON.parse(await cluster.run(['auth', 'whoami', '-o', 'json'], { kubeconfig }));
      expect(whoAmI.status.userInfo.username).toBe('system:serviceaccount:default:cp-agent');
    });
  });

  describe('a relay', () => {
    test('brings the API server into a network namespace, and counts what goes through', async () => {
      await using net = await TestNet.create();
      const namespace = await net.namespace('node');
      await using relay = await Relay.start(cluster, { netns: namespace.path, port: 6443 });
      const { stdout } = await namespace.exec(['curl', '-sS', '--cacert', cluster.caFile, `${relay.server}/version`]);
      expect(JSON.parse(stdout).major).toBe('1');
      expect(relay.bytes.toClients).toBeGreaterThan(stdout.length);
      expect(relay.bytes.toServer).toBeGreaterThan(0);
    });

    test('resets what is open when it is cut, and lets through again when it is mended', async () => {
      await using relay = await Relay.start(cluster);
      const watch = openWatch(cluster, relay.server);
      await watch.started;
      relay.cut();
      await expect(watch.ended).rejects.toMatchObject({ code: 'ECONNRESET' });
      await expect(openWatch(cluster, relay.server).started).rejects.toThrow();
      relay.mend();
      const again = openWatch(cluster, relay.server);
      await again.started;
      relay.resetConnections();
      await expect(again.ended).rejects.toMatchObject({ code: 'ECONNRESET' });
    });

    test('holds back what goes through it while it is stalled', async () => {
      await using relay = await Relay.start(cluster);
      relay.stall();
      const watch = openWatch(cluster, relay.server);
      watch.ended.catch(() => {});
      let answered = false;
      const started = watch.started.then(() => {
        answered = true;
      });
      await waitFor(() => relay.openConnections === 1, 10_000, { what: 'the connection' });
      // The API server's own answer takes some milliseconds.
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(answered).toBe(false);
      relay.resume();
      await started;
    });

    test('delays what goes through it', async () => {
      await using relay = await Relay.start(cluster);
      relay.delay(200);
      const watch = openWatch(cluster, relay.server);
      watch.ended.catch(() => {});
      const startedAt = performance.now();
      await watch.started;
      // A TLS handshake and a request: two ways there and two back, by timers that may be a millisecond early.
      expect(performance.now() - startedAt).toBeGreaterThan(750);
    });
  });
});

describe('a control plane of a test of its own', () => {
  let plane: ControlPlane;

  beforeAll(async () => {
    plane = await ControlPlane.start();
  });
  afterAll(async () => {
    await plane?.stop();
  });

  test('keeps its objects and its address over a stop of the API server', async () => {
    const { server } = plane;
    await plane.createNode('kept');
    await plane.stopApiServer();
    expect((await plane.kubectl(['get', 'node', 'kept'])).stderr).toContain('refused');
    await plane.startApiServer();
    expect(plane.server).toBe(server);
    expect((await plane.get('node', 'kept'))?.metadata.name).toBe('kept');
  });

  test('answers nothing while the API server is paused, and goes on after that', async () => {
    plane.pauseApiServer();
    try {
      expect((await plane.kubectl(['get', 'nodes', '--request-timeout=1s'])).code).not.toBe(0);
    } finally {
      plane.resumeApiServer();
    }
    expect((await plane.kubectl(['get', 'nodes'])).code).toBe(0);
  });

  test('survives the death of etcd', async () => {
    await plane.createNode('before-death');
    await plane.stopEtcd('SIGKILL');
    expect((await plane.kubectl(['create', 'namespace', 'lost', '--request-timeout=2s'])).code).not.toBe(0);
    await plane.startEtcd();
    expect(await plane.get('node', 'before-death')).toBeDefined();
  });

  test('goes back to a snapshot, in what there is and in its revisions', async () => {
    await plane.createNode('old');
    const snapshot = plane.snapshotEtcd();
    await plane.createNode('new');
    const after = Number((await plane.get('node', 'new'))?.metadata.resourceVersion);
    await plane.restoreEtcd(snapshot);
    expect(await plane.get('node', 'new')).toBeUndefined();
    expect(await plane.get('node', 'old')).toBeDefined();
    await plane.createNode('newer');
    // Leases and the like take some revisions too, but not so many in a second.
    expect(Number((await plane.get('node', 'newer'))?.metadata.resourceVersion)).toBeLessThan(after + 100);
  });

  test('leaves no process and no folder behind', async () => {
    const { pids, folder } = plane;
    expect(Object.keys(pids)).toEqual(['etcd', 'kube-apiserver']);
    await plane.stop();
    for (const pid of Object.values(pids)) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    expect(() => readFileSync(`${folder}/admin.kubeconfig`)).toThrow('ENOENT');
  });
});

test('a control plane may run in a network namespace, where clients reach it by an address of that', async () => {
  await using net = await TestNet.create();
  const [fabric, node] = [await net.namespace('fabric'), await net.namespace('node')];
  await net.veth(
    { namespace: fabric, name: 'node', addresses: ['100.90.0.1/24'] },
    { namespace: node, name: 'eth0', addresses: ['100.90.0.2/24'] },
  );
  await using plane = await ControlPlane.start({ netns: fabric.path, addresses: ['100.90.0.1'] });
  expect(await plane.run(['get', 'namespaces', '-o', 'name'])).toContain('namespace/default');
  const { stdout } = await node.exec(['curl', '-sS', '--cacert', plane.caFile, `${plane.server}/version`]);
  expect(JSON.parse(stdout).major).toBe('1');
  // And from outside of all namespaces, for a client in the test's own process.
  await using relay = await Relay.start(plane);
  const watch = openWatch(plane, relay.server);
  watch.ended.catch(() => {});
  await watch.started;
});

test('a control plane with a controller manager collects what a deleted Node owned', async () => {
  await using plane = await ControlPlane.start({ controllerManager: true });
  const uid = await plane.createNode('owner');
  await plane.create({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name: 'owned',
      namespace: 'default',
      ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'owner', uid }],
    },
  });
  await plane.delete('node', 'owner');
  await waitFor(async () => (await plane.get('configmap', 'owned', 'default')) === undefined, 60_000, {
    what: 'the garbage collector',
    intervalMs: 200,
  });
});

test('a control plane ends with the process that started it, also when that is killed', async () => {
  await using net = await TestNet.create();
  const folder = `${net.folder()}/plane`;
  const script = `
    import { ControlPlane } from '${import.meta.dirname}/control-plane/control-plane.ts';
    const plane = await ControlPlane.start({ folder: '${folder}' });
    process.stdout.write(JSON.stringify(plane.pids) + '\\n');
    setInterval(() => {}, 1_000);`;
  const command = new RunningCommand([nodePath, '--input-type=module-typescript', '-e', script]);
  const pids = await waitFor(() => command.stdout.includes('\n') && JSON.parse(command.stdout), 60_000);
  command.child.kill('SIGKILL');
  await command.ended;
  const alive = () => Object.values<number>(pids).filter((pid) => existsSync(`/proc/${pid}`));
  await waitFor(() => alive().length === 0, 10_000, { what: 'the end of etcd and the API server' });
});

async function review(cluster: Cluster, token: string) {
  const input = JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } });
  return JSON.parse(await cluster.run(['create', '-o', 'json', '-f', '-'], { input })).status;
}

/** A watch of namespaces as the administrator: `started` with its first event. */
function openWatch(cluster: Cluster, server: string) {
  const started = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const fail = (error: Error) => {
    started.reject(error);
    ended.reject(error);
  };
  ended.promise.catch(() => {});
  const read = (file: string) => readFileSync(`${cluster.folder}/${file}`);
  const req = request(`${server}/api/v1/namespaces?watch=1`, {
    ca: read('ca.crt'),
    cert: read('admin.crt'),
    key: read('admin.key'),
    agent: false,
  });
  req.on('error', fail).on('response', (response) => {
    response
      .on('data', () => started.resolve())
      .on('error', fail)
      .on('end', () => ended.resolve());
  });
  req.end();
  return { started: started.promise, ended: ended.promise };
}
