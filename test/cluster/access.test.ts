/** Who may write what, with real tokens: the rules of deploy/ as the API server understands them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AnyObject } from './control-plane/cluster.ts';
import { detachAccount } from './detach-account.ts';
import { useControlPlane } from './use-control-plane.ts';

const cluster = useControlPlane();
const namespace = 'portcullis-system';
const folder = mkdtempSync(join(tmpdir(), 'pc-access-'));
const [mine, others] = ['access-mine', 'access-others'];
const uids = new Map<string, string>();
const kubeconfigs = new Map<string, string>();

async function kubeconfigOf(user: string, serviceAccount: string, node?: string): Promise<void> {
  const token = await cluster.tokenFor({ namespace, serviceAccount, ...(node === undefined ? {} : { node }) });
  kubeconfigs.set(user, cluster.kubeconfigForToken(join(folder, user), token).kubeconfig);
}

beforeAll(async () => {
  for (const node of [mine, others]) uids.set(node, await cluster.createNode(node));
  await kubeconfigOf('agent', 'portcullis-agent', mine);
  await kubeconfigOf('unbound', 'portcullis-agent');
  await kubeconfigOf('operator', 'portcullis-operator');
  kubeconfigs.set('hook', await detachAccount(cluster, join(folder, 'hook')));
  for (const role of ['view', 'edit', 'oncall']) {
    const name = `access-${role}`;
    await cluster.createServiceAccount(namespace, name);
    await cluster.apply({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: `portcullis-${role}` },
      subjects: [{ kind: 'ServiceAccount', name, namespace }],
    });
    await kubeconfigOf(role, name);
  }
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  for (const node of [mine, others]) {
    await cluster.delete('nodereport', node);
    await cluster.delete('node', node);
    await cluster.delete('pod', `portcullis-agent-${node}`, namespace);
  }
  for (const kind of ['clusterrolebinding', 'clusterrole']) await cluster.delete(kind, 'portcullis-detach');
  for (const kind of ['rolebinding', 'role', 'serviceaccount'])
    await cluster.delete(kind, 'portcullis-detach', namespace);
  for (const role of ['view', 'edit', 'oncall']) {
    await cluster.delete('clusterrolebinding', `access-${role}`);
    await cluster.delete('serviceaccount', `access-${role}`, namespace);
  }
});

const as = (user: string, args: readonly string[], object?: AnyObject) =>
  cluster.kubectl(args, { kubeconfig: kubeconfigs.get(user)!, ...(object && { input: JSON.stringify(object) }) });
const apply = (user: string, object: AnyObject, more: readonly string[] = []) =>
  as(
    user,
    ['apply', ...more, '--server-side', '--force-conflicts', '--field-manager=test', '--validate=false', '-f', '-'],
    object,
  );
const remove = (user: string, kind: string, name: string) => as(user, ['delete', kind, name, '--wait=false']);

const report = (node: string, metadata: AnyObject = {}): AnyObject => ({
  apiVersion: 'portcullis.dev/v1alpha1',
  kind: 'NodeReport',
  metadata: {
    name: node,
    ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: node, uid: uids.get(node) }],
    ...metadata,
  },
  status: {
    observedAt: new Date().toISOString(),
    state: 'Enforcing',
    agent: { version: '0', startedAt: new Date().toISOString() },
    policies: [],
    lists: [],
    blocks: { blocked: 0, newest: [] },
  },
});
const custom = (kind: string, spec: AnyObject, metadata: AnyObject = {}): AnyObject => ({
  apiVersion: 'portcullis.dev/v1alpha1',
  kind,
  metadata: { name: `access-${kind.toLowerCase()}`, ...metadata },
  spec,
});
const policy = custom('PortScanPolicy', { mode: 'Monitor' });
const list = (labels: AnyObject = {}) => custom('IpBlocklist', { mode: 'Monitor' }, { labels });
const exception = (labels: AnyObject = {}) =>
  custom('SourceException', { source: '192.0.2.7/32', expiresAt: '2030-01-01T00:00:00Z' }, { labels });
const chunk = custom('PrefixChunk', { list: 'x', count: 1, prefixes: '192.0.2.0/24' });
const facts = custom('ClusterFacts', { holds: 'Configured', count: 0, prefixes: [] });

/** Of no account that any agent here has. */
const wish = custom(
  'ClusterFacts',
  { holds: 'Detach', count: 0, prefixes: [], serviceAccountUid: 'nobody' },
  { name: 'detach' },
);

const allowed = { code: 0 };
const forbidden = { code: 1, stderr: expect.stringMatching(/forbidden|denied request/i) };

describe('the token of an agent', () => {
  it('writes the report of its own node, the first time and again', async () => {
    expect(await apply('agent', report(mine))).toMatchObject(allowed);
    expect(await apply('agent', report(mine))).toMatchObject(allowed);
  });

  it("writes no other node's report, be it there or not", async () => {
    expect(await apply('agent', report(others))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`the token of node ${mine} may write the NodeReport of that name only`),
    });
    await cluster.apply(report(others));
    expect(await apply('agent', report(others))).toMatchObject(forbidden);
  });

  it('deletes no report, not even its own', async () => {
    expect(await remove('agent', 'nodereport', mine)).toMatchObject(forbidden);
    expect(await remove('agent', 'nodereport', others)).toMatchObject(forbidden);
  });

  it('is held to its node by the admission policy, whatever RBAC lets through', async () => {
    const role = 'access-too-much';
    await cluster.apply([
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRole',
        metadata: { name: role },
        rules: [{ apiGroups: ['portcullis.dev'], resources: ['nodereports'], verbs: ['*'] }],
      },
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name: role },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
        subjects: [{ kind: 'ServiceAccount', name: 'portcullis-agent', namespace }],
      },
    ]);
    try {
      const denied = { code: 1, stderr: expect.stringContaining('an agent deletes no report') };
      expect(await remove('agent', 'nodereport', mine)).toMatchObject(denied);
      expect(await remove('agent', 'nodereport', others)).toMatchObject(denied);
      expect(await as('agent', ['delete', 'nodereports', '--all', '--wait=false'])).toMatchObject(denied);
      expect(await as('agent', ['replace', '-f', '-'], report(others))).toMatchObject(forbidden);
    } finally {
      await cluster.delete('clusterrolebinding', role);
      await cluster.delete('clusterrole', role);
    }
  });

  it('gives its report no owner but its Node, and no finalizer', async () => {
    const owner = { apiVersion: 'v1', kind: 'Node', name: others, uid: uids.get(others) };
    expect(await apply('agent', report(mine, { ownerReferences: [owner] }))).toMatchObject(forbidden);
    expect(await apply('agent', report(mine, { finalizers: ['example.com/stay'] }))).toMatchObject(forbidden);
  });

  it('writes nothing when it names no node', async () => {
    expect(await apply('unbound', report(mine))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('this token names no node'),
    });
  });

  it.each([policy, list(), exception(), chunk, facts, wish])('writes no $kind $metadata.name', async (object) => {
    expect(await apply('agent', object)).toMatchObject(forbidden);
  });

  it('reads what it enforces and Nodes, and neither reports nor anything of others', async () => {
    const reads = ['portscanpolicies', 'ipblocklists', 'sourceexceptions', 'clusterfacts', 'prefixchunks', 'nodes'];
    for (const kind of reads) expect(await as('agent', ['get', kind])).toMatchObject(allowed);
    for (const kind of ['nodereports', 'secrets', 'configmaps', 'pods', 'services'])
      expect(await as('agent', ['get', kind])).toMatchObject(forbidden);
    expect(await as('agent', ['annotate', 'node', mine, 'a=b'])).toMatchObject(forbidden);
  });
});

describe('the operator', () => {
  it('writes the status of policies and lists, and not what is wished', async () => {
    await cluster.apply([policy, list()]);
    for (const object of [policy, list()]) {
      const { apiVersion, kind, metadata } = object;
      const status = { apiVersion, kind, metadata: { name: metadata.name }, status: { summary: '0/0' } };
      expect(await apply('operator', status, ['--subresource=status'])).toMatchObject(allowed);
      expect(await apply('operator', object)).toMatchObject(forbidden);
    }
    expect(await remove('operator', 'portscanpolicy', policy.metadata.name)).toMatchObject(forbidden);
    await cluster.delete('portscanpolicy', policy.metadata.name);
  });

  it.each([list, exception])('deletes only what the kubectl plugin made', async (make) => {
    const { kind, metadata } = make();
    await cluster.apply(make());
    expect(await remove('operator', kind, metadata.name)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('only what the kubectl plugin made'),
    });
    await cluster.apply(make({ 'app.kubernetes.io/managed-by': 'kubectl-portcullis' }));
    expect(await remove('operator', kind, metadata.name)).toMatchObject(allowed);
  });

  it('reads no Secrets, and ConfigMaps in its own namespace alone', async () => {
    expect(await as('operator', ['get', 'secrets', '-n', namespace])).toMatchObject(forbidden);
    expect(await as('operator', ['get', 'configmaps', '-n', namespace])).toMatchObject(allowed);
    expect(await as('operator', ['get', 'configmaps', '-n', 'kube-system'])).toMatchObject(forbidden);
  });

  it("writes nobody's report", async () => {
    expect(await apply('operator', report(mine))).toMatchObject(forbidden);
  });
});

describe('people', () => {
  it('who are on call let somebody in again, and change neither policies nor lists', async () => {
    expect(await apply('oncall', exception())).toMatchObject(allowed);
    expect(await remove('oncall', 'sourceexception', exception().metadata.name)).toMatchObject(allowed);
    for (const object of [policy, list(), report(mine)]) expect(await apply('oncall', object)).toMatchObject(forbidden);
  });

  it('who edit write policies, lists and exceptions, and not what agents and the operator write', async () => {
    for (const object of [policy, list(), exception()]) {
      expect(await apply('edit', object)).toMatchObject(allowed);
      expect(await remove('edit', object.kind, object.metadata.name)).toMatchObject(allowed);
    }
    for (const object of [report(mine), chunk, facts, wish])
      expect(await apply('edit', object)).toMatchObject(forbidden);
  });

  it('who view read all of it and write nothing', async () => {
    for (const kind of ['portscanpolicies', 'ipblocklists', 'sourceexceptions', 'nodereports', 'clusterfacts'])
      expect(await as('view', ['get', kind])).toMatchObject(allowed);
    for (const object of [policy, list(), exception()]) expect(await apply('view', object)).toMatchObject(forbidden);
  });
});

describe('the wish that all agents detach', () => {
  const disguised = { ...wish, metadata: { name: 'access-disguised' } };
  const dryRun = ['--dry-run=server'];

  it('is written by the hook that uninstalls, which writes and takes back nothing else', async () => {
    for (let time = 0; time < 2; time++) expect(await apply('hook', wish, dryRun)).toMatchObject(allowed);
    expect(await apply('hook', facts, dryRun)).toMatchObject(forbidden);
    // RBAC cannot name what is not there yet.
    expect(await as('hook', ['create', ...dryRun, '--validate=false', '-f', '-'], facts)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('portcullis-detach alone, which writes nothing else'),
    });
    for (const object of [policy, list(), exception(), chunk, report(mine)])
      expect(await apply('hook', object)).toMatchObject(forbidden);
    expect(await remove('hook', 'clusterfacts', 'cluster')).toMatchObject(forbidden);
    expect(await as('hook', ['get', 'secrets', '-n', namespace])).toMatchObject(forbidden);
    expect(await as('hook', ['get', 'serviceaccount', 'default', '-n', namespace])).toMatchObject(forbidden);
    expect(await as('hook', ['get', 'serviceaccount', 'portcullis-agent', '-n', namespace])).toMatchObject(allowed);
  });

  it.each(['agent', 'operator', 'edit', 'view', 'oncall'])(
    'is not for %s to write, neither new nor again',
    async (user) => {
      expect(await apply(user, wish)).toMatchObject(forbidden);
      await cluster.apply(wish);
      try {
        expect(await apply(user, { ...wish, spec: { ...wish.spec, serviceAccountUid: 'other' } })).toMatchObject(
          forbidden,
        );
      } finally {
        await cluster.delete('clusterfacts', 'detach');
      }
    },
  );

  it('is kept from agents and the operator by the admission policy, whatever RBAC lets through', async () => {
    const role = 'access-too-much';
    await cluster.apply([
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRole',
        metadata: { name: role },
        rules: [{ apiGroups: ['portcullis.dev'], resources: ['clusterfacts'], verbs: ['*'] }],
      },
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name: role },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
        subjects: ['agent', 'operator'].map((name) => ({
          kind: 'ServiceAccount',
          name: `portcullis-${name}`,
          namespace,
        })),
      },
    ]);
    try {
      for (const user of ['agent', 'operator'])
        expect(await apply(user, wish)).toMatchObject({
          code: 1,
          stderr: expect.stringContaining('portcullis-detach alone'),
        });
      expect(await apply('agent', facts, dryRun)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('an agent writes no facts'),
      });
    } finally {
      await cluster.delete('clusterrolebinding', role);
      await cluster.delete('clusterrole', role);
    }
  });

  it('has one name, which nothing else has, and holds nothing but the account', async () => {
    const admin = (object: AnyObject) =>
      cluster.kubectl(['create', '--dry-run=server', '-f', '-'], { input: JSON.stringify(object) });
    expect(await admin(wish)).toMatchObject(allowed);
    const refused = (text: string) => ({ code: 1, stderr: expect.stringContaining(text) });
    expect(await admin(disguised)).toMatchObject(refused('that slice has no other name'));
    expect(await admin({ ...facts, metadata: { name: 'detach' } })).toMatchObject(refused('the name detach'));
    const { serviceAccountUid, ...nobody } = wish.spec;
    expect(await admin({ ...wish, spec: nobody })).toMatchObject(refused('needs serviceAccountUid'));
    expect(await admin({ ...facts, spec: { ...facts.spec, serviceAccountUid } })).toMatchObject(
      refused('no other has it'),
    );
    const wide = { ...wish.spec, count: 1, prefixes: ['0.0.0.0/0'] };
    expect(await admin({ ...wish, spec: wide })).toMatchObject(refused('has no prefixes'));
    // The operator writes all that it always did.
    expect(await apply('operator', facts, dryRun)).toMatchObject(allowed);
  });
});
