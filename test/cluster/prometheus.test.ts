/** A real Prometheus scrapes operators and agents as the chart's ServiceMonitors say: over TLS, with a token that the API server reviews. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate } from '../../kube/testing/tls.ts';
import { type PrometheusBinaries, PrometheusUnavailable, prometheusBinaries } from '../chart/prometheus.ts';
import { type Manifest, type Rendered, render } from '../chart/render.ts';
import { attachForeign } from '../support/foreign-program.ts';
import type { RunningCommand } from '../support/namespaces.ts';
import { operatorScript } from '../support/operator.ts';
import type { AnyObject } from './control-plane/cluster.ts';
import { Relay } from './control-plane/relay.ts';
import { alerts, alertsFile, filledIn, panels, selectorsOf, variables } from './scrape/expressions.ts';
import { PrometheusServer, type Rule } from './scrape/prometheus-server.ts';
import { discover, scrapeConfigs } from './scrape/scrape-config.ts';
import { bystanderAddress, strangers, useWorld } from './world.ts';

/** Skipped, and so told of, where there is no Prometheus: the other tests on an API server do not need it. */
const prometheusOrNone = (() => {
  try {
    return prometheusBinaries();
  } catch (error) {
    if (error instanceof PrometheusUnavailable) return undefined;
    throw error;
  }
})() satisfies PrometheusBinaries | undefined;
const describeIf = describe.skipIf(prometheusOrNone === undefined);

const namespace = 'portcullis-system';
const monitoring = 'monitoring';
const secretName = 'portcullis-metrics';
const nodeNames = ['node-a', 'node-b'];
/** Of pods of the operator, in the namespace in which Prometheus runs: there is no pod network here. */
const operatorAddresses = ['100.80.200.10', '100.80.200.11'];
const agentPort = 9469;
const operatorPort = 9470;
/** As Grafana reckons it, four scrapes of the chart's interval. */
const rateInterval = '2m';

const here = useWorld({ nodes: 0, operators: 0 });
const operators: RunningCommand[] = [];
let rendered: Rendered;
let prometheus: PrometheusServer;
/** Folder of files for Prometheus, and of the Secret with the certificate. */
let folder: string;
let secret: string;
let apiServer: Relay;

/** What the chart tells administrators to bind. */
const reader: AnyObject = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRoleBinding',
  metadata: { name: 'prometheus-reads-portcullis' },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'portcullis-metrics-reader' },
  subjects: [{ kind: 'ServiceAccount', name: 'prometheus', namespace: monitoring }],
};

/** As the controller manager makes it of a Service and its pods. */
const endpoints = (part: string, port: number, pods: readonly { name: string; address: string; node: string }[]) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: {
    name: `portcullis-${part}-1`,
    namespace,
    labels: { 'kubernetes.io/service-name': `portcullis-${part}` },
  },
  addressType: 'IPv4',
  ports: [{ name: 'metrics', port, protocol: 'TCP' }],
  endpoints: pods.map(({ name, address, node }) => ({
    addresses: [address],
    nodeName: node,
    conditions: { ready: true },
    targetRef: { kind: 'Pod', name, namespace },
  })),
});

async function startOperator(address: string, index: number): Promise<void> {
  const { plane, attacker } = here();
  const token = await plane.tokenFor({ namespace, serviceAccount: 'portcullis-operator' });
  const { kubeconfig } = plane.kubeconfigForToken(join(folder, `operator-${index}`), token, apiServer.server);
  const flags = [
    ...['--kubeconfig', kubeconfig, '--metrics-address', `${address}:${operatorPort}`],
    ...['--metrics-tls-folder', secret, '--metrics-authorization', 'TokenReview'],
  ];
  operators.push(attacker.spawnNode([operatorScript, 'run', ...flags]));
  const pod = `portcullis-operator-${index}`;
  await plane.createPodOnNode(pod, { namespace, node: nodeNames[index]!, serviceAccount: 'portcullis-operator' });
}

/** Two nodes, with whatever findings an alert looks for and can be had. */
async function startNodes(): Promise<void> {
  const world = here();
  const nodes = [await world.addNode(), await world.addNode()];
  const [, second] = nodes;
  await second!.host.ip('link add fallback0 type bridge', 'link add foreign0 type veth peer name far0');
  await attachForeign(second!.host, 'foreign0', 'generic');
  for (const node of nodes) {
    const flags = [
      ...['--metrics-address', `${node.address}:${agentPort}`, '--metrics-tls-folder', secret],
      '--metrics-authorization=TokenReview',
    ];
    node.start(node === second ? [...flags, '--max-list-entries=64'] : flags);
  }
}

const policies: readonly AnyObject[] = [
  {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'PortScanPolicy',
    metadata: { name: 'web' },
    spec: { mode: 'Enforce', interfaces: { names: ['eth0', 'fallback0', 'foreign0'] }, block: { duration: '1h' } },
  },
  {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'IpBlocklist',
    metadata: { name: 'known-bad' },
    spec: {
      interfaces: { names: ['eth0'] },
      entries: [
        { cidr: `${bystanderAddress}/32`, reason: 'test' },
        // Every other one, so that none can be merged: too many for the second node.
        ...Array.from({ length: 100 }, (_, i) => ({ cidr: `198.18.0.${2 * i}/32`, reason: 'many' })),
      ],
    },
  },
];

async function startPrometheus(): Promise<void> {
  const { plane, attacker } = here();
  const token = await plane.tokenFor({ namespace: monitoring, serviceAccount: 'prometheus' });
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, token);
  const places = { token: tokenFile, secretFile: (_: string, key: string) => join(secret, key) };
  const discovered = await discover(plane, namespace);
  prometheus = await PrometheusServer.start(attacker, join(folder, 'prometheus'), {
    global: { evaluation_interval: '2s' },
    rule_files: [alertsFile],
    scrape_configs: rendered.all('ServiceMonitor').flatMap((monitor) => scrapeConfigs(monitor, discovered, places)),
  });
}

const untilTargetsAreUp = () =>
  here().until(
    'all targets to be up',
    async () => {
      const targets = await prometheus.targets();
      const isUp = targets.length === 4 && targets.every(({ health }) => health === 'up');
      if (!isUp) throw new Error(JSON.stringify(targets.map(({ labels, lastError }) => ({ ...labels, lastError }))));
      return true;
    },
    60_000,
  );

/** What operators and Prometheus wrote, where the world does not know them. */
const withOutput = async (work: () => Promise<void>): Promise<void> => {
  try {
    await work();
  } catch (error) {
    const outputs = operators.map(({ stdout, stderr }) => `--- operator\n${(stderr + stdout).slice(-3_000)}`);
    console.log([...outputs, `--- prometheus\n${prometheus?.output.slice(-3_000)}`, here().logs(3_000)].join('\n'));
    throw error;
  }
};

async function setUp(): Promise<void> {
  const world = here();
  const { plane, net, attacker, until } = world;
  folder = net.folder();
  secret = join(folder, 'secret');
  mkdirSync(secret);
  const { cert, key } = makeCertificate('DNS:portcullis-metrics');
  for (const [name, text] of Object.entries({ 'tls.crt': cert, 'tls.key': key, 'ca.crt': cert }))
    writeFileSync(join(secret, name), text);

  rendered = await render({
    metrics: {
      agent: { listen: 'NodeAddress', port: agentPort },
      tls: { secretName },
      tokenReview: true,
      // As little as leaves a busy machine time to answer.
      serviceMonitor: { enabled: true, interval: '2s' },
    },
  });
  const ofReview = rendered.objects.filter(({ metadata }: Manifest) => /^portcullis-metrics-/.test(metadata.name));
  await plane.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: monitoring } });
  await plane.createServiceAccount(monitoring, 'prometheus');
  await plane.createServiceAccount(monitoring, 'stranger');
  await plane.apply([...ofReview, reader, ...rendered.all('Service'), ...policies]);

  apiServer = await Relay.start(plane, { netns: attacker.path, port: 6443 });
  await attacker.ip(...operatorAddresses.map((address) => `addr add ${address}/32 dev lo`));
  await startNodes();
  await Promise.all(operatorAddresses.map(startOperator));
  await plane.apply([
    endpoints(
      'agent',
      agentPort,
      world.nodes.map(({ name, address }) => ({ name: `portcullis-agent-${name}`, address, node: name })),
    ),
    endpoints(
      'operator',
      operatorPort,
      operatorAddresses.map((address, i) => ({ name: `portcullis-operator-${i}`, address, node: nodeNames[i]! })),
    ),
  ]);
  await startPrometheus();
  await Promise.all(world.nodes.map(({ agent }) => agent!.enforcing()));
  await untilTargetsAreUp();

  const [first] = world.nodes;
  await first!.scan();
  // The next hop, which is never blocked.
  await first!.scan({ from: '100.80.0.1', ports: '1-60' });
  expect(await first!.answers(strangers[2])).toBe(true);
  expect(await first!.answers(bystanderAddress)).toBe(false);
  // No Node of that name any more: an error that no other alert is for.
  await plane.delete('node', 'node-b');
  await until(
    'what was done to be seen',
    async () => {
      const seen = await Promise.all(
        [
          'portcullis_blocks_total{state="blocked"} > 0',
          'portcullis_blocks_total{state="spared"} > 0',
          'portcullis_packets_total{verdict="drop", kind="IpBlocklist"} > 0',
          'portcullis_findings{code="NodeNotFound"}',
          'portcullis_findings{code="TableFull"}',
          'portcullis_operator_status_writes_total{result="ok"} > 0',
        ].map((each) => prometheus.query(each)),
      );
      return seen.every((samples) => samples.length > 0);
    },
    60_000,
  );
  // A rate needs a scrape more than that.
  const scrapes = async () => (await prometheus.query('sum(count_over_time(up[10m]))'))[0]!.value;
  const before = await scrapes();
  await until('two more scrapes of each', async () => (await scrapes()) >= before + 8, 30_000);
}

// Where no test runs, hooks of the file's top would.
if (prometheusOrNone !== undefined && process.env.PORTCULLIS_SKIP_CLUSTER === undefined)
  beforeAll(() => withOutput(setUp), 240_000);

describeIf('a real Prometheus', () => {
  it('finds both parts by the ServiceMonitors, and names them and their nodes as alerts and dashboards do', async () => {
    const up = await prometheus.query('max_over_time(up[2m])');
    const named = up.map(({ metric, value }) => [metric.job, metric.node, metric.pod, value]);
    expect(named.toSorted()).toEqual([
      ['portcullis-agent', 'node-a', 'portcullis-agent-node-a', 1],
      ['portcullis-agent', 'node-b', 'portcullis-agent-node-b', 1],
      ['portcullis-operator', 'node-a', 'portcullis-operator-0', 1],
      ['portcullis-operator', 'node-b', 'portcullis-operator-1', 1],
    ]);
  });

  it.each(panels)('gives data to %s', async (_, expr) => {
    const filled = filledIn(expr, rateInterval, { node: '.*', policy: '.*' });
    expect(filled).not.toContain('$');
    const samples = await prometheus.query(filled);
    expect(samples.length, filled).toBeGreaterThan(0);
    expect(
      samples.some(({ value }) => Number.isFinite(value)),
      filled,
    ).toBe(true);
  });

  it.each(variables)('has values for %s', async (_, selector, label) => {
    const values = (await prometheus.query(selector)).map(({ metric }) => metric[label]);
    expect(values.length).toBeGreaterThan(0);
    expect(values).not.toContain(undefined);
  });

  it.each(alerts)('has every series that %s looks at', async (_, expr) => {
    const selectors = selectorsOf(expr);
    expect(selectors.length).toBeGreaterThan(0);
    for (const selector of selectors) expect((await prometheus.query(selector)).length, selector).toBeGreaterThan(0);
  });

  it('reads every rule, and those are active whose reason is there', async () => {
    const rules = await prometheus.rules();
    expect(rules.map(({ name }) => name).toSorted()).toEqual(alerts.map(([name]) => name).toSorted());
    for (const { name, health, lastError } of rules) expect([name, health, lastError]).toEqual([name, 'ok', undefined]);
    const named = (isMeant: (rule: Rule) => boolean) => rules.filter(isMeant).map(({ name }) => name);
    expect(named(({ state }) => state !== 'inactive')).toEqual(
      expect.arrayContaining([
        'PortcullisErrorFinding',
        'PortcullisForeignXdpProgram',
        'PortcullisGenericFallback',
        'PortcullisTableFull',
        'PortcullisTableNearlyFull',
      ]),
    );
    // The others have to last for a while; a scrape that took too long may be pending.
    expect(named(({ state }) => state === 'firing')).toEqual(['PortcullisProtectedSourceScans']);
  });
});

describeIf('a finding', () => {
  it('about what does not fit stays through the changes that do not mend it', async () => {
    const of = async (series: string) => (await prometheus.query(`${series}`))[0]?.value ?? 0;
    const applied = () => of('portcullis_apply_duration_seconds_count{node="node-b"}');
    // Entries of the list without room, and the table that is full.
    const full = () => of('portcullis_findings{code="TableFull", node="node-b"}');
    expect(await full()).toBe(2);
    const before = await applied();
    const [policy] = policies;
    await here().plane.apply({ ...policy, spec: { ...policy!.spec, block: { duration: '2h' } } });
    await here().until('the change to be applied', async () => (await applied()) > before);
    expect(await full()).toBe(2);
  });
});

describeIf('who scrapes', () => {
  const scrape = async (address: string, token?: string, path = '/metrics') => {
    const { stdout } = await here().attacker.exec([
      ...['curl', '-sS', '--connect-timeout', '10', '--cacert', join(secret, 'ca.crt')],
      ...['--resolve', `portcullis-metrics:${address}`, '-o', '/dev/null', '-w', '%{http_code}'],
      ...(token === undefined ? [] : ['-H', `Authorization: Bearer ${token}`]),
      `https://portcullis-metrics:${address.split(':')[0]}${path}`,
    ]);
    return Number(stdout);
  };
  const addresses = () => [`${agentPort}:${here().nodes[0]!.address}`, `${operatorPort}:${operatorAddresses[0]}`];
  const tokenOf = (serviceAccount: string) => here().plane.tokenFor({ namespace: monitoring, serviceAccount });

  it('needs a token, a good one, and the role', async () => {
    const [bad, stranger, good] = ['e30.e30.e30', await tokenOf('stranger'), await tokenOf('prometheus')];
    for (const address of addresses()) {
      expect(await scrape(address)).toBe(401);
      expect(await scrape(address, bad)).toBe(401);
      expect(await scrape(address, stranger)).toBe(403);
      expect(await scrape(address, good)).toBe(200);
    }
  });

  it('gets nothing by plain HTTP', async () => {
    for (const address of addresses()) {
      const [port, host] = address.split(':');
      const { code, stdout } = await here().attacker.exec(['curl', '-s', `http://${host}:${port}/metrics`], {
        allowFailure: true,
      });
      expect(code).not.toBe(0);
      expect(stdout).not.toContain('portcullis_');
    }
  });

  it('is refused while the API server is away, and health is not', async () => {
    const [node] = here().nodes;
    const fresh = await tokenOf('prometheus');
    for (const [index, relay] of [node!.relay, apiServer].entries()) {
      const address = addresses()[index]!;
      relay.cut();
      try {
        expect(await scrape(address, fresh)).toBe(503);
        for (const path of ['/healthz', '/readyz'])
          expect([path, await scrape(address, undefined, path)]).toEqual([path, 200]);
      } finally {
        relay.mend();
      }
      await here().until('scrapes to be let in again', async () => (await scrape(address, fresh)) === 200);
    }
  });

  it('is counted by the reason when refused', async () => {
    const refused = await here().until('the counters', async () => {
      const samples = await prometheus.query('sum by (job, reason) (portcullis_scrapes_refused_total)');
      const of = (job: string, reason: string) =>
        samples.find(({ metric }) => metric.job === job && metric.reason === reason)?.value ?? 0;
      return ['portcullis-agent', 'portcullis-operator'].every((job) =>
        ['no-token', 'bad-token', 'not-allowed', 'api-server'].every((reason) => of(job, reason) > 0),
      );
    });
    expect(refused).toBe(true);
  });
});
