/** kubectl portcullis against a real API server. What operator and agents would write, the test writes itself. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { KubeClient } from '../../kube/client.ts';
import { openKubeClient } from '../../kube/http-client.ts';
import type { NewKubeObject } from '../../kube/objects.ts';
import { resources } from '../../kube/resources.ts';
import { type CommandOptions, nodePath, RunningCommand, run } from '../support/command.ts';
import { waitFor } from '../support/wait-for.ts';
import type { AnyObject } from './control-plane/cluster.ts';
import { useControlPlane } from './use-control-plane.ts';

const cluster = useControlPlane();
const root = join(import.meta.dirname, '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'pc-plugin-'));
const namespace = 'portcullis-system';
const apiVersion = 'portcullis.dev/v1alpha1';
const roles = ['view', 'oncall', 'nobody'] as const;
const kubeconfigs = new Map<string, string>();
let client: KubeClient;

const argvOf = (args: readonly string[]) => [nodePath, join(root, 'plugin', 'main.ts'), ...args];
const optionsOf = (user: string): CommandOptions => ({
  env: { KUBECONFIG: kubeconfigs.get(user) ?? cluster.kubeconfig },
  timeoutMs: 60_000,
});
const plugin = (args: readonly string[], { user = 'admin', ...more }: CommandOptions & { user?: string } = {}) =>
  run(argvOf(args), { ...optionsOf(user), ...more, allowFailure: true });

beforeAll(async () => {
  client = await openKubeClient({ kubeconfig: cluster.kubeconfig, userAgent: 'test' });
  for (const role of roles) {
    const name = `plugin-${role}`;
    await cluster.createServiceAccount(namespace, name);
    if (role !== 'nobody') {
      await cluster.apply({
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: `portcullis-${role}` },
        subjects: [{ kind: 'ServiceAccount', name, namespace }],
      });
    }
    const token = await cluster.tokenFor({ namespace, serviceAccount: name });
    kubeconfigs.set(role, cluster.kubeconfigForToken(join(folder, role), token).kubeconfig);
  }
  const { kubeconfig } = cluster.kubeconfigForToken(join(folder, 'stranger'), 'not-a-token');
  kubeconfigs.set('stranger', kubeconfig);
});

const made: (readonly [keyof typeof resources, string])[] = [];
afterEach(async () => {
  await Promise.all(made.splice(0).map(([kind, name]) => client.delete(resources[kind], name)));
});
afterAll(async () => {
  await client?.close();
  rmSync(folder, { recursive: true, force: true });
  for (const role of roles) {
    await cluster.delete('clusterrolebinding', `plugin-${role}`);
    await cluster.delete('serviceaccount', `plugin-${role}`, namespace);
  }
});

const applied = async (kind: keyof typeof resources, object: AnyObject, subresource?: 'status') => {
  if (subresource === undefined) made.push([kind, object.metadata.name]);
  return await client.apply(
    resources[kind],
    { apiVersion, kind: resources[kind].kind, ...object } as unknown as NewKubeObject,
    {
      fieldManager: 'portcullis-test',
      force: true,
      ...(subresource === undefined ? {} : { subresource }),
    },
  );
};

const rfc3339 = (ms: number) => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');

/** A node whose clock is three hours ahead, which nobody must notice. */
async function report(node: string, blocks: readonly AnyObject[] = [], more: AnyObject = {}): Promise<void> {
  const nowMs = Date.now() + 3 * 3_600_000;
  const newest = blocks.map((block) => ({
    policy: 'plugin-web',
    state: 'Blocked',
    proven: true,
    interface: 'eth0',
    probes: 15,
    ports: [443, 80, 22],
    since: rfc3339(nowMs - 60_000),
    until: rfc3339(nowMs + 540_000),
    secondsLeft: 540,
    packetsDropped: 100,
    ...block,
  }));
  await applied('nodeReports', {
    metadata: { name: node },
    status: {
      observedAt: rfc3339(nowMs),
      state: 'Enforcing',
      mode: 'Native',
      agent: { version: '1.0.0', startedAt: rfc3339(nowMs - 3_600_000) },
      policies: [{ name: 'plugin-web', generation: 1, state: 'Programmed' }],
      lists: [],
      blocks: { blocked: newest.length, newest },
      ...more,
    },
  });
}

const condition = (type: string, status: string, reason: string, observedGeneration = 1) => ({
  type,
  status,
  reason,
  message: `${reason}.`,
  observedGeneration,
  lastTransitionTime: rfc3339(Date.now()),
});

describe('blocked', () => {
  it('lists blocks of all nodes, with times that no clock of a node can shift', async () => {
    await report('plugin-a', [{ source: '198.51.100.200' }]);
    await report('plugin-b', [{ source: '198.51.100.200' }, { source: '2001:db8:5::/64', policy: 'plugin-db' }]);
    const { code, stdout } = await plugin(['blocked', '--source', '198.51.100.0/24'], { user: 'view' });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^SOURCE +POLICY +NODES +PROBES/);
    expect(stdout).toMatch(
      /198\.51\.100\.200 +plugin-web +plugin-a,plugin-b +15 +443,80,22 +1m\d*s? ago +in 8m\d+s +200/,
    );
    const items = JSON.parse((await plugin(['blocked', '-o', 'json', '--policy', 'plugin-db'])).stdout);
    expect(items).toMatchObject([{ source: '2001:db8:5::/64', node: 'plugin-b', state: 'Blocked' }]);
    expect(Math.abs(Date.parse(items[0].until) - Date.now() - 540_000)).toBeLessThan(60_000);
  });

  it('reads the report of one node alone, and says when there is none', async () => {
    await report('plugin-a', [{ source: '198.51.100.201' }]);
    expect((await plugin(['blocked', '--node', 'plugin-a'])).stdout).toContain('198.51.100.201');
    const absent = await plugin(['blocked', '--node', 'plugin-z']);
    expect(absent).toMatchObject({ code: 1, stdout: '' });
    expect(absent.stderr).toContain('No report of node plugin-z');
  });

  it('ends with 1 when the source that is asked for is not blocked', async () => {
    expect(await plugin(['blocked', '--source', '203.0.113.250'])).toMatchObject({
      code: 1,
      stdout: 'No source is blocked.\n',
    });
  });

  it('reads more nodes than a page has', async () => {
    const nodes = Array.from({ length: 620 }, (_, i) => `plugin-many-${i}`);
    for (let at = 0; at < nodes.length; at += 31) {
      await Promise.all(nodes.slice(at, at + 31).map((node) => report(node, [{ source: '198.51.100.77' }])));
    }
    const { stdout } = await plugin(['blocked', '--source', '198.51.100.77', '-o', 'json']);
    expect(new Set(JSON.parse(stdout).map(({ node }: AnyObject) => node)).size).toBe(620);
    expect((await plugin(['blocked', '--source', '198.51.100.77'])).stdout).toContain('and 618 more');
  });
});

describe('status', () => {
  it('tells of nodes and policies, and what somebody must look at', async () => {
    await report('plugin-a');
    await report('plugin-b', [], { state: 'Detached', breakGlass: 'NodeAnnotation', mode: 'None' });
    await applied('portScanPolicies', { metadata: { name: 'plugin-web' }, spec: { mode: 'Enforce' } });
    const status = {
      observedGeneration: 1,
      conditions: [condition('Programmed', 'False', 'PartiallyProgrammed')],
      nodes: {
        selected: 2,
        programmed: 1,
        failed: 1,
        stale: 0,
        noReport: 0,
        examples: [{ node: 'plugin-b', reason: 'Failed' }],
      },
      summary: '1/2',
      blocked: { sources: 3, packetsDropped: 1234 },
    };
    await applied('portScanPolicies', { metadata: { name: 'plugin-web' }, status }, 'status');
    const { code, stdout } = await plugin(['status'], { user: 'view' });
    expect(code).toBe(1);
    expect(stdout).toMatch(/plugin-web +Enforce +False PartiallyProgrammed +1\/2 +3 +1,234/);
    expect(stdout).toContain('node plugin-b: detached by break-glass (NodeAnnotation); reported');
    expect(JSON.parse((await plugin(['status', '-o', 'json'])).stdout)).toMatchObject({
      ok: false,
      policies: expect.arrayContaining([
        expect.objectContaining({ name: 'plugin-web', programmed: 'False', nodes: '1/2' }),
      ]),
    });
  });
});

describe('explain', () => {
  it('tells everything that concerns a source: blocks, lists with their ConfigMaps, exceptions, the never-block set', async () => {
    await report('plugin-a', [{ source: '203.0.113.9' }], { exceptions: ['plugin-let-in'] });
    const list = {
      metadata: { name: 'plugin-bad' },
      spec: { mode: 'Monitor', entries: [{ cidr: '203.0.113.0/24', reason: 'botnet' }] },
    };
    await applied('ipBlocklists', list);
    const chunk = 'plugin00-0123';
    await applied('prefixChunks', {
      metadata: { name: chunk },
      spec: { list: 'plugin-bad', count: 2, prefixes: '198.51.100.0/24\n203.0.112.0/20\n' },
    });
    await applied(
      'ipBlocklists',
      {
        metadata: { name: 'plugin-bad' },
        status: { prefixSet: { digest: 'd', prefixes: 2, chunks: [chunk, 'plugin00-gone'] } },
      },
      'status',
    );
    await applied('sourceExceptions', {
      metadata: { name: 'plugin-let-in' },
      spec: {
        source: '203.0.113.8/30',
        expiresAt: rfc3339(Date.now() + 3_600_000),
        policies: ['plugin-db'],
        reason: 'a customer',
      },
    });
    await applied('clusterFacts', {
      metadata: { name: 'plugin-nodes' },
      spec: { holds: 'Nodes', count: 1, prefixes: ['203.0.113.200/32'] },
    });

    const { code, stdout } = await plugin(['explain', '203.0.113.9'], { user: 'view' });
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^203\.0\.113\.9 is blocked on 1 of \d+ nodes? by plugin-web; the last block ends in 8m\d+s/,
    );
    expect(stdout).toMatch(/plugin-bad +Monitor +203\.0\.113\.0\/24 +spec .* botnet/);
    expect(stdout).toMatch(/plugin-bad +Monitor +203\.0\.112\.0\/20 +ConfigMap/);
    expect(stdout).not.toContain('198.51.100.0/24');
    expect(stdout).toMatch(/plugin-let-in +203\.0\.113\.8\/30 +plugin-db +in 59m\d+s +1 +a customer/);
    expect(stdout).toContain('kubectl portcullis unblock 203.0.113.9 --for 1h');
    expect((await plugin(['explain', '203.0.113.200'])).stdout).toMatch(/^203\.0\.113\.200 is the address of a node/);
  });

  it('ends with 1 when nothing concerns the source', async () => {
    const { code, stdout } = await plugin(['explain', '192.0.2.222']);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^Nothing drops 192\.0\.2\.222/);
  });
});

describe('unblock', () => {
  const name = 'unblock-198.51.100.5';

  it('writes an exception, and tells when the nodes have let the source in', async () => {
    await report('plugin-a', [{ source: '198.51.100.5' }]);
    await report('plugin-b', [{ source: '198.51.100.5' }]);
    made.push(['sourceExceptions', name]);
    const options = optionsOf('oncall');
    const unblock = new RunningCommand(
      argvOf(['unblock', '198.51.100.5', '--for', '2h', '--reason', 'a customer', '--wait', '50s']),
      options,
    );
    await waitFor(async () => (await cluster.get('sourceexception', name)) !== undefined, 30_000);
    await report('plugin-a', [], { exceptions: [name] });
    await report('plugin-b', [], { exceptions: [name] });
    const { code, stdout, stderr } = await unblock.ended;
    expect(stderr).toBe('');
    expect(stdout).toBe(
      `SourceException ${name}: 198.51.100.5 is let in by all policies; ends in 2h.\nLet in on 2 nodes that had blocked it: plugin-a,plugin-b.\n`,
    );
    expect(code).toBe(0);
    const { metadata, spec } = (await cluster.get('sourceexception', name))!;
    expect(metadata.labels).toEqual({ 'app.kubernetes.io/managed-by': 'kubectl-portcullis' });
    expect(spec).toMatchObject({ source: '198.51.100.5/32', reason: 'a customer', policies: [] });
    expect(Math.abs(Date.parse(spec.expiresAt) - Date.now() - 7_200_000)).toBeLessThan(60_000);
  });

  it('done again, replaces time and policies', async () => {
    made.push(['sourceExceptions', name]);
    await plugin(['unblock', '198.51.100.5', '--for', '1h', '--policy', 'plugin-none']);
    const again = await plugin(['unblock', '198.51.100.5', '--for', '5h']);
    expect(again.code).toBe(0);
    const { spec } = (await cluster.get('sourceexception', name))!;
    expect(spec.policies ?? []).toEqual([]);
    expect(Date.parse(spec.expiresAt) - Date.now()).toBeGreaterThan(4 * 3_600_000);
  });

  it('names the nodes that still block it after the wait, and ends with 1', async () => {
    await report('plugin-a', [{ source: '198.51.100.5' }]);
    made.push(['sourceExceptions', name]);
    const { code, stderr } = await plugin(['unblock', '198.51.100.5', '--wait', '1s']);
    expect(code).toBe(1);
    expect(stderr).toContain('Still blocked by the newest report of plugin-a');
  });

  it('warns of a list that covers the source, and of a policy that is not there', async () => {
    await applied('ipBlocklists', {
      metadata: { name: 'plugin-bad' },
      spec: { entries: [{ cidr: '198.51.100.0/28' }] },
    });
    made.push(['sourceExceptions', name]);
    const { code, stderr } = await plugin(['unblock', '198.51.100.5', '--policy', 'plugin-nope', '--wait', '0s']);
    expect(code).toBe(0);
    expect(stderr).toContain(
      'still dropped by IpBlocklist plugin-bad (198.51.100.0/28), which an exception does not weaken',
    );
    expect(stderr).toContain('there is no PortScanPolicy plugin-nope');
  });

  it('leaves alone what somebody else manages', async () => {
    const spec = { source: '198.51.100.5/32', expiresAt: rfc3339(Date.now() + 60_000) };
    await applied('sourceExceptions', { metadata: { name }, spec });
    const { code, stderr } = await plugin(['unblock', '198.51.100.5']);
    expect(code).toBe(3);
    expect(stderr).toContain(`SourceException ${name} is managed by somebody else`);
    expect((await cluster.get('sourceexception', name))?.spec.expiresAt).toBe(spec.expiresAt);
  });

  it('--dry-run asks nobody and prints what kubectl apply takes', async () => {
    const { code, stdout } = await plugin(['unblock', '198.51.100.5', '--dry-run'], {
      env: { KUBECONFIG: '/nonexistent' },
    });
    expect(code).toBe(0);
    await cluster.run(['apply', '--server-side', '--dry-run=server', '-f', '-'], { input: stdout });
  });
});

describe('block', () => {
  const name = 'block-203.0.113.64-26';

  it('writes a list of one entry, and tells when it is in force', async () => {
    made.push(['ipBlocklists', name]);
    const args = [
      'block',
      '203.0.113.64/26',
      '--for',
      '10m',
      '--reason',
      'stuffing',
      '--node-selector',
      'role=edge',
      '--wait',
      '50s',
    ];
    const block = new RunningCommand(argvOf(args), optionsOf('admin'));
    await waitFor(async () => (await cluster.get('ipblocklist', name)) !== undefined, 30_000);
    const status = { conditions: [condition('Programmed', 'True', 'Programmed')], summary: '2/2' };
    await applied('ipBlocklists', { metadata: { name }, status }, 'status');
    const { code, stdout } = await block.ended;
    expect(stdout).toContain('all packets of 203.0.113.64/26 are dropped');
    expect(stdout).toContain('In force on 2/2 nodes.');
    expect(code).toBe(0);
    const { metadata, spec } = (await cluster.get('ipblocklist', name))!;
    expect(metadata.labels).toEqual({ 'app.kubernetes.io/managed-by': 'kubectl-portcullis' });
    expect(spec).toMatchObject({
      mode: 'Enforce',
      nodeSelector: { matchLabels: { role: 'edge' } },
      entries: [{ cidr: '203.0.113.64/26', reason: 'stuffing' }],
    });
  });

  it('says that it is not in force yet, and how to wait for it', async () => {
    made.push(['ipBlocklists', name]);
    const { code, stderr } = await plugin(['block', '203.0.113.64/26', '--for', '10m', '--wait', '0s']);
    expect(code).toBe(1);
    expect(stderr).toContain(`kubectl wait --for=condition=Programmed ipblocklist/${name}`);
  });
});

describe('check --server', () => {
  const policy = 'plugin-denies';
  const denied = { apiVersion, kind: 'PortScanPolicy', metadata: { name: 'plugin-denied' }, spec: { mode: 'Enforce' } };

  it('tells what the server refuses beside what is refused without it, and writes nothing', async () => {
    // A rule of the cluster's own, which no file can know.
    const rule = {
      operations: ['CREATE', 'UPDATE'],
      apiGroups: ['portcullis.dev'],
      apiVersions: ['*'],
      resources: ['portscanpolicies'],
    };
    const admission = { apiVersion: 'admissionregistration.k8s.io/v1', metadata: { name: policy } };
    const validations = [{ expression: "object.metadata.name != 'plugin-denied'", message: 'not in this cluster' }];
    try {
      await cluster.apply([
        {
          ...admission,
          kind: 'ValidatingAdmissionPolicy',
          spec: { matchConstraints: { resourceRules: [rule] }, validations },
        },
        {
          ...admission,
          kind: 'ValidatingAdmissionPolicyBinding',
          spec: { policyName: policy, validationActions: ['Deny'] },
        },
      ]);
      const dryRun = ['apply', '--server-side', '--dry-run=server', '-f', '-'];
      await waitFor(async () => (await cluster.kubectl(dryRun, { input: JSON.stringify(denied) })).code !== 0, 30_000);
      const file = join(folder, 'objects.yaml');
      const named = (name: string, spec: object = denied.spec) =>
        JSON.stringify({ ...denied, metadata: { name }, spec });
      writeFileSync(
        file,
        [named('plugin-good'), named('plugin-bad', { mode: 'No' }), named('plugin-denied')].join('\n---\n'),
      );
      const { code, stdout } = await plugin(['check', file, '--server', '-o', 'json']);
      expect(code).toBe(1);
      expect(JSON.parse(stdout)).toMatchObject({
        objects: [{ name: 'plugin-good' }, { name: 'plugin-denied' }],
        errors: 1,
        refusedByServer: [
          { line: 5, object: 'PortScanPolicy/plugin-denied', message: expect.stringContaining('not in this cluster') },
        ],
      });
      expect(await cluster.get('portscanpolicy', 'plugin-good')).toBeUndefined();
    } finally {
      await cluster.delete('validatingadmissionpolicybinding', policy);
      await cluster.delete('validatingadmissionpolicy', policy);
    }
  });
});

describe('what goes wrong is told in two short lines, and ends with 3', () => {
  const lines = (text: string) => text.trimEnd().split('\n');

  it('a right that is missing, with the role that has it', async () => {
    const read = await plugin(['blocked'], { user: 'nobody' });
    expect(read.code).toBe(3);
    expect(read.stderr).toContain('you may not list nodereports.portcullis.dev');
    expect(read.stderr).toContain('ClusterRole portcullis-view');
    const write = await plugin(['unblock', '198.51.100.5'], { user: 'view' });
    expect(write.code).toBe(3);
    expect(write.stderr).toContain('ClusterRole portcullis-oncall');
    const block = await plugin(['block', '198.51.100.5', '--for', '1h'], { user: 'oncall' });
    expect(block.stderr).toContain('ClusterRole portcullis-edit');
    for (const { stderr } of [read, write, block]) expect(lines(stderr)).toHaveLength(2);
  });

  it('credentials that are not accepted', async () => {
    const { code, stderr } = await plugin(['status'], { user: 'stranger' });
    expect(code).toBe(3);
    expect(stderr).toContain('does not accept your credentials');
  });

  it('a server that is not there', async () => {
    const { kubeconfig } = cluster.kubeconfigForToken(join(folder, 'away'), 'x', 'https://127.0.0.1:1');
    const { code, stderr } = await plugin(['status', '--kubeconfig', kubeconfig]);
    expect(code).toBe(3);
    expect(stderr).toContain('https://127.0.0.1:1 cannot be reached: ECONNREFUSED');
  });

  it('a kubeconfig or a context that is not there', async () => {
    expect((await plugin(['status', '--kubeconfig', '/nonexistent/config'])).stderr).toContain('/nonexistent/config');
    const { code, stderr } = await plugin(['status', '--context', 'elsewhere']);
    expect(code).toBe(3);
    expect(stderr).toContain('"elsewhere"');
  });

  it('an object of which nearly nothing is right', async () => {
    const entries = Array.from({ length: 10_000 }, () => ({ cidr: '192.0.2.7' }));
    const input = JSON.stringify({
      apiVersion,
      kind: 'IpBlocklist',
      metadata: { name: 'plugin-x' },
      spec: { entries },
    });
    const { code, stdout } = await plugin(['check', '-'], { input });
    expect(code).toBe(1);
    expect(stdout.length).toBeLessThan(20_000);
  });
});

it('is found by kubectl under its name, and completes there', async () => {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  symlinkSync(join(root, 'bin', 'kubectl-portcullis.mjs'), join(bin, 'kubectl-portcullis'));
  symlinkSync(join(root, 'bin', 'kubectl_complete-portcullis'), join(bin, 'kubectl_complete-portcullis'));
  const env = { PATH: `${bin}:${dirname(nodePath)}:${process.env.PATH}`, KUBECONFIG: cluster.kubeconfig };
  await applied('portScanPolicies', { metadata: { name: 'plugin-web' }, spec: { mode: 'Monitor' } });
  const help = await run([cluster.kubectlPath, 'portcullis', '--help'], { env });
  expect(help.stdout).toContain('kubectl portcullis COMMAND');
  const words = await run([cluster.kubectlPath, '__complete', 'portcullis', 'blocked', '--policy', 'plugin-w'], {
    env,
  });
  expect(words.stdout).toContain('plugin-web');
});
