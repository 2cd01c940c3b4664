import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { parseCommandLine as parseAgent } from '../../agent/settings.ts';
import { parseCommandLine as parseOperator } from '../../operator/settings.ts';
import { chartFolder } from '../../scripts/generate-chart-docs.ts';
import { type Manifest, podOf, release, render, runHelm, templateArgs } from './render.ts';

const root = join(import.meta.dirname, '../..');
const combinations = globSync('ci/*-values.yaml', { cwd: chartFolder }).map(
  (path) => [path, parse(readFileSync(join(chartFolder, path), 'utf8'))] as const,
);

const agentOf = async (values?: object) => podOf((await render(values)).get('DaemonSet', 'portcullis-agent'));
const operatorOf = async (values?: object) => podOf((await render(values)).get('Deployment', 'portcullis-operator'));
/** `key` of a flag `--key=value` among the arguments. */
const flag = (container: Manifest, key: string): string | undefined =>
  container.args.findLast((arg: string) => arg.startsWith(`--${key}=`))?.slice(key.length + 3);

async function refusal(values: object): Promise<string> {
  const { code, stderr } = await runHelm(templateArgs(), values);
  expect(code).not.toBe(0);
  return stderr;
}

describe('the whole', () => {
  it('is what an install brings by default', async () => {
    const { objects } = await render();
    const count = Object.groupBy(objects, ({ kind }: Manifest) => kind);
    expect(Object.fromEntries(Object.entries(count).map(([kind, all]) => [kind, all!.length]))).toEqual({
      ClusterRole: 7,
      ClusterRoleBinding: 4,
      DaemonSet: 1,
      Deployment: 1,
      Job: 2,
      NetworkPolicy: 1,
      PodDisruptionBudget: 1,
      Role: 3,
      RoleBinding: 3,
      Service: 2,
      ServiceAccount: 4,
      ValidatingAdmissionPolicy: 3,
      ValidatingAdmissionPolicyBinding: 3,
    });
  });

  it.each(combinations)(
    '%s: every object has a namespace or none needs one, labels, and a name of its own',
    async (_, values) => {
      const rendered = await render(values);
      const names = rendered.objects.map(
        ({ kind, metadata }: Manifest) => `${kind}/${metadata.namespace}/${metadata.name}`,
      );
      expect(new Set(names).size).toBe(names.length);
      for (const { metadata } of rendered.objects) {
        expect(metadata.labels['app.kubernetes.io/part-of'], metadata.name).toBe('portcullis');
        expect([undefined, release.namespace, 'default']).toContain(metadata.namespace);
      }
    },
  );

  it('has the same names under another release name, so that a second installation is refused', async () => {
    const other = await render({}, { name: 'other' });
    expect(other.names()).toEqual((await render()).names());
  });

  it('is refused on a Kubernetes whose tokens do not name the node', async () => {
    await expect(render({}, { kubeVersion: '1.31.9' })).rejects.toThrow(/1\.32/);
  });

  it('is refused in the namespace default', async () => {
    await expect(render({}, { namespace: 'default' })).rejects.toThrow('a namespace of its own');
  });

  it('is refused with a value that nobody knows', async () => {
    expect(await refusal({ agent: { tabels: {} } })).toContain('tabels');
  });

  it.each(combinations)('%s: the programs know every flag that they are given', async (_, values) => {
    const rendered = await render(values);
    const argsOf = (kind: string, name: string, variables: Record<string, string>): string[] =>
      podOf(rendered.get(kind, name)).container.args.map((arg: string) =>
        arg.replace(/\$\((\w+)\)/g, (_, variable) => variables[variable]!),
      );
    const agent = argsOf('DaemonSet', 'portcullis-agent', { NODE_NAME: 'node-1', NODE_IP: '192.0.2.1' });
    const operator = argsOf('Deployment', 'portcullis-operator', { POD_NAMESPACE: release.namespace });
    expect(parseAgent(agent, {}).name).toBe('run');
    expect(parseOperator(operator, {}).name).toBe('run');
  });
});

describe('rights', () => {
  it('are those of deploy/, in the namespace of the release', async () => {
    const rendered = await render({}, { namespace: 'elsewhere' });
    const files = ['admission', 'agent-rbac', 'operator-rbac', 'user-roles'];
    for (const file of files) {
      const text = readFileSync(join(root, 'deploy', `${file}.yaml`), 'utf8').replaceAll(
        'portcullis-system',
        'elsewhere',
      );
      for (const document of parseAllDocuments(text)) {
        const wanted: Manifest = document.toJS();
        const { namespace } = wanted.metadata;
        const found = rendered.objects.find(
          ({ kind, metadata }: Manifest) =>
            kind === wanted.kind && metadata.name === wanted.metadata.name && metadata.namespace === namespace,
        );
        const bare = ({ metadata: _, ...rest }: Manifest) => rest;
        expect(found && bare(found), `${wanted.kind} ${wanted.metadata.name}`).toEqual(bare(wanted));
        expect(found.metadata.labels).toMatchObject(wanted.metadata.labels);
      }
    }
  });

  it('for people are left out on request', async () => {
    const { objects } = await render({ roles: { create: false } });
    expect(objects.filter(({ metadata }: Manifest) => /-(view|edit|oncall)$/.test(metadata.name))).toEqual([]);
  });

  it('hold no wildcard, and no Secret', async () => {
    const { objects } = await render(combinations.find(([name]) => name.includes('everything'))![1]);
    const rules = objects.flatMap((object: Manifest) => (/Role$/.test(object.kind) ? object.rules : []));
    expect(rules.length).toBeGreaterThan(20);
    expect(JSON.stringify(rules)).not.toMatch(/"\*"|secrets/);
  });
});

describe('the agent', () => {
  it('has three capabilities, and nothing else of root', async () => {
    const { pod, container } = await agentOf();
    expect(container.securityContext).toEqual({
      runAsUser: 0,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['BPF', 'NET_ADMIN', 'PERFMON'] },
      seccompProfile: { type: 'RuntimeDefault' },
      appArmorProfile: { type: 'Unconfined' },
      seLinuxOptions: { type: 'spc_t' },
    });
    expect([pod.hostNetwork, pod.hostPID, pod.hostIPC]).toEqual([true, undefined, undefined]);
  });

  it('is privileged, or without seccomp, on request', async () => {
    const privileged = (await agentOf({ agent: { privileged: true } })).container.securityContext;
    expect(privileged).toMatchObject({ privileged: true, readOnlyRootFilesystem: true });
    const unconfined = (await agentOf({ agent: { seccompProfile: 'Unconfined' } })).container.securityContext;
    expect(unconfined.seccompProfile).toEqual({ type: 'Unconfined' });
  });

  it('runs on every node, and is the last to go', async () => {
    const { pod } = await agentOf();
    expect(pod.tolerations).toEqual([{ operator: 'Exists' }]);
    expect(pod.priorityClassName).toBe('system-node-critical');
  });

  it('mounts of the host what must outlive it, and the break-glass file to read', async () => {
    const { pod, container } = await agentOf({ agent: { stateDir: '/srv/portcullis' } });
    const paths = pod.volumes.map(({ name, hostPath }: Manifest) => [name, hostPath.path]);
    expect(paths).toEqual([
      ['bpffs', '/sys/fs/bpf'],
      ['state', '/srv/portcullis'],
      ['break-glass', '/run/portcullis'],
    ]);
    const mounts = container.volumeMounts;
    expect(mounts.find(({ name }: Manifest) => name === 'bpffs').mountPropagation).toBe('HostToContainer');
    expect(mounts.find(({ name }: Manifest) => name === 'break-glass').readOnly).toBe(true);
    expect(flag(container, 'state')).toBe(mounts.find(({ name }: Manifest) => name === 'state').mountPath);
  });

  it('detaches nothing when it is stopped', async () => {
    const { container } = await agentOf();
    expect(container.lifecycle).toBeUndefined();
  });

  it('is replaced on so many nodes at a time, and never beside its successor', async () => {
    for (const maxUnavailable of ['25%', 3]) {
      const daemonSet = (await render({ agent: { maxUnavailable } })).get('DaemonSet', 'portcullis-agent');
      expect(daemonSet.spec.updateStrategy).toEqual({
        type: 'RollingUpdate',
        rollingUpdate: { maxSurge: 0, maxUnavailable },
      });
    }
  });

  it('gets mode, table sizes and never-block list', async () => {
    const tables = {
      maxFirstTargets: 3_145_728,
      maxBlocks: 1_048_576,
      maxListEntries: 1_000_000,
      ringBufferBytes: 2 ** 26,
    };
    const { container } = await agentOf({
      agent: { xdpMode: 'native', tables },
      // The last one ends in what YAML takes for a key.
      neverBlock: ['192.0.2.0/24', '2001:db8::'],
    });
    // Numbers of seven digits are where YAML and templates begin to write exponents.
    expect(flag(container, 'max-first-targets')).toBe('3145728');
    expect(flag(container, 'max-blocks')).toBe('1048576');
    expect(flag(container, 'max-list-entries')).toBe('1000000');
    expect(flag(container, 'ring-buffer-bytes')).toBe('67108864');
    expect(flag(container, 'xdp-mode')).toBe('native');
    expect(flag(container, 'never-block')).toBe('192.0.2.0/24,2001:db8::');
  });

  it('is an image by tag, or by digest', async () => {
    const digest = `sha256:${'0'.repeat(64)}`;
    expect((await agentOf()).container.image).toMatch(/^portcullis\/agent:\d+\.\d+\.\d+$/);
    expect((await agentOf({ agent: { image: { tag: 'dev' } } })).container.image).toBe('portcullis/agent:dev');
    expect((await agentOf({ agent: { image: { tag: 'dev', digest } } })).container.image).toBe(
      `portcullis/agent@${digest}`,
    );
  });
});

describe('the memory of an agent', () => {
  const limitOf = async (values?: object) => (await agentOf(values)).container.resources.limits.memory;
  const mebibytes = (limit: string) => Number(/^(\d+)Mi$/.exec(limit)![1]);

  it('has room for tables, process and full lists with the default sizes', async () => {
    const limit = mebibytes(await limitOf());
    // Of docs/performance.md: tables 125 MB; the process 200 MiB under a flood.
    expect(limit).toBeGreaterThan(125e6 / 2 ** 20 + 200);
    expect(limit).toBeLessThan(768);
  });

  it('grows with each table by what docs/performance.md says', async () => {
    const base = mebibytes(await limitOf());
    const more = async (tables: object) => mebibytes(await limitOf({ agent: { tables } })) - base;
    const share = (bytes: number) => (bytes * 1.05) / 2 ** 20;
    const cases: [object, number][] = [
      [{ maxFirstTargets: 2 * 786_432 }, share(32_768 * (2_048 + 72 * 15))],
      [{ distinctTargets: 64 }, share(32_768 * 72 * (63 - 15))],
      [{ maxBlocks: 1_048_576 }, share(983_040 * 168 + 64 * (2_097_152 - 131_072) + 960 * 2 ** 20)],
      [{ maxListEntries: 4_194_304 }, share((4_194_304 - 262_144) * 540)],
    ];
    for (const [tables, expected] of cases) {
      const grown = await more(tables);
      // In steps of 16 MiB.
      expect(Math.abs(grown - expected), JSON.stringify(tables)).toBeLessThanOrEqual(17);
    }
  });

  it('may be given, and is named when the tables do not fit', async () => {
    expect(await limitOf({ agent: { resources: { limits: { memory: '1Gi' } } } })).toBe('1Gi');
    expect(await refusal({ agent: { resources: { limits: { memory: '200M' } } } })).toMatch(
      /agent\.resources\.limits\.memory: 200M cannot hold the tables/,
    );
  });
});

describe('the operator', () => {
  it('may do nothing on its node', async () => {
    const { pod, container } = await operatorOf();
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      runAsUser: 65532,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect([pod.hostNetwork, pod.volumes]).toEqual([undefined, undefined]);
  });

  it('has two replicas on different nodes, one of which is left when nodes are drained', async () => {
    const rendered = await render();
    const deployment = rendered.get('Deployment', 'portcullis-operator');
    expect(deployment.spec.replicas).toBe(2);
    const { selector } = rendered.get('PodDisruptionBudget', 'portcullis-operator').spec;
    const labels = deployment.spec.template.metadata.labels;
    expect(labels).toMatchObject(selector.matchLabels);
    const { topologySpreadConstraints, affinity } = podOf(deployment).pod;
    // One alone: a node without the label of another, such as a zone's, would not be scored at all.
    expect(topologySpreadConstraints).toMatchObject([{ topologyKey: 'kubernetes.io/hostname' }]);
    expect(labels).toMatchObject(topologySpreadConstraints[0].labelSelector.matchLabels);
    const [{ podAffinityTerm }] = affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution;
    expect(podAffinityTerm.topologyKey).toBe('topology.kubernetes.io/zone');
    expect(labels).toMatchObject(podAffinityTerm.labelSelector.matchLabels);
    const own = { nodeAffinity: {} };
    const other = (await render({ operator: { affinity: own } })).get('Deployment', 'portcullis-operator');
    expect(podOf(other).pod.affinity).toEqual(own);
  });

  it('can be drained when it is one', async () => {
    expect((await render({ operator: { replicas: 1 } })).all('PodDisruptionBudget')).toEqual([]);
  });
});

describe('hooks', () => {
  it('bring the CRDs before an install and an upgrade, with an account that is gone afterwards', async () => {
    const rendered = await render();
    const hooks = rendered.objects.filter(({ metadata }: Manifest) => metadata.name === 'portcullis-crds');
    expect(hooks.map(({ kind }: Manifest) => kind).sort()).toEqual([
      'ClusterRole',
      'ClusterRoleBinding',
      'Job',
      'ServiceAccount',
    ]);
    for (const { metadata } of hooks) {
      expect(metadata.annotations['helm.sh/hook']).toBe('pre-install,pre-upgrade');
      expect(metadata.annotations['helm.sh/hook-delete-policy']).toContain('hook-succeeded');
    }
    const crds = globSync('crds/*.yaml', { cwd: chartFolder }).map(
      (path) => parse(readFileSync(join(chartFolder, path), 'utf8')).metadata.name,
    );
    expect(rendered.get('ClusterRole', 'portcullis-crds').rules[0].resourceNames.toSorted()).toEqual(crds.sort());
    expect(podOf(rendered.get('Job', 'portcullis-crds')).container.args).toEqual(['apply-crds']);
  });

  it('detach before an uninstall', async () => {
    const job = (await render({ uninstall: { timeoutSeconds: 300 } })).get('Job', 'portcullis-detach');
    expect(job.metadata.annotations['helm.sh/hook']).toBe('pre-delete');
    expect(podOf(job).container.args).toEqual(['detach-all', `--namespace=${release.namespace}`, '--timeout=300s']);
    expect(job.spec.activeDeadlineSeconds).toBeGreaterThan(300);
  });

  it('are left out on request', async () => {
    const { objects } = await render({ crds: { upgrade: false }, uninstall: { detach: false } });
    expect(objects.filter(({ metadata }: Manifest) => metadata.annotations?.['helm.sh/hook'])).toEqual([]);
  });

  it('may do nothing on their node', async () => {
    for (const job of (await render()).all('Job')) {
      const { pod, container } = podOf(job);
      expect(pod.securityContext.runAsNonRoot).toBe(true);
      expect(container.securityContext.capabilities).toEqual({ drop: ['ALL'] });
    }
  });
});

describe('the starter policy', () => {
  it('is there on request, watches, and goes with the release', async () => {
    expect((await render()).all('PortScanPolicy')).toEqual([]);
    const [policy] = (await render({ starterPolicies: { enabled: true } })).all('PortScanPolicy');
    expect(policy.spec.mode).toBe('Monitor');
    expect(policy.metadata.annotations).toBeUndefined();
  });
});

describe('the network policy of the operator', () => {
  it('lets scrapes in, and out to the API server alone where its ports are known', async () => {
    const [open] = (await render()).all('NetworkPolicy');
    expect(open.spec.policyTypes).toEqual(['Ingress']);
    const from = [{ podSelector: {} }];
    const [narrow] = (await render({ networkPolicy: { metricsFrom: from, apiServerPorts: [6443] } })).all(
      'NetworkPolicy',
    );
    expect(narrow.spec.ingress).toEqual([{ ports: [{ port: 'metrics', protocol: 'TCP' }], from }]);
    expect(narrow.spec.egress).toEqual([{ ports: [{ port: 6443, protocol: 'TCP' }] }]);
    expect((await render({ networkPolicy: { enabled: false } })).all('NetworkPolicy')).toEqual([]);
  });
});

describe('what is said after an install', () => {
  it('is what to type next', async () => {
    const args = ['install', release.name, chartFolder, '-n', release.namespace, '--dry-run=client'];
    const { stdout } = await runHelm(args);
    const notes = stdout.slice(stdout.indexOf('NOTES:'));
    expect(notes).toContain('kubectl -n portcullis-system rollout status daemonset/portcullis-agent');
    expect(notes).toContain('pod-security.kubernetes.io/enforce=privileged');
    expect(notes).toContain('break-glass=detach');
  });
});
