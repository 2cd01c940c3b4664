import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { parse } from 'yaml';
import { chartFolder } from '../../scripts/generate-chart-docs.ts';
import { runPromtool } from './promtool.ts';
import { type Manifest, podOf, render, runHelm, templateArgs } from './render.ts';

const docs = join(import.meta.dirname, '../../docs');
const read = (path: string) => readFileSync(path, 'utf8');

/** Labels by metric, out of the tables of the documentation, which other tests hold against the programs. */
const metrics = new Map(
  ['metrics.md', 'operator.md'].flatMap((page) =>
    [...read(join(docs, page)).matchAll(/^\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) \|/gm)].flatMap(
      ([, name, type, labels]): [string, string[]][] => {
        const own = [...labels!.matchAll(/`(\w+)`/g)].map(([, label]) => label!);
        const names = type === 'histogram' ? ['_bucket', '_sum', '_count'].map((end) => `${name}${end}`) : [name!];
        return names.map((each) => [each, type === 'histogram' ? [...own, 'le'] : own]);
      },
    ),
  ),
);
/** What Prometheus and the ServiceMonitors add. */
const target = ['job', 'instance', 'node', 'pod', 'namespace'];

const alerts: Manifest[] = parse(read(join(chartFolder, 'files/alerts.yaml'))).groups.flatMap(
  ({ rules }: Manifest) => rules,
);
const boards = globSync('files/dashboards/*.json', { cwd: chartFolder }).map((path) => ({
  name: basename(path),
  board: JSON.parse(read(join(chartFolder, path))),
}));
const panelsOf = (board: Manifest): Manifest[] => board.panels.filter(({ type }: Manifest) => type !== 'row');
const expressions = [
  ...alerts.map(({ alert, expr }): [string, string] => [alert, expr]),
  ...boards.flatMap(({ board }) =>
    panelsOf(board).flatMap(({ title, targets }): [string, string][] =>
      targets.map(({ expr }: Manifest) => [`${board.title}: ${title}`, expr]),
    ),
  ),
];

describe('an expression', () => {
  it.each(expressions)('%s asks for metrics that there are', (_, expr) => {
    const named = [...expr.matchAll(/\b((?:portcullis|process|nodejs)_\w+)/g)].map(([, name]) => name!);
    const unknown = named.filter((name) => !metrics.has(name) && !name.startsWith('process_'));
    expect(unknown).toEqual([]);
    expect(named.length + (/\bup\{/.test(expr) ? 1 : 0)).toBeGreaterThan(0);
  });

  it.each(expressions)('%s asks for labels that these have', (_, expr) => {
    for (const [, name, matchers] of expr.matchAll(/\b(portcullis_\w+)\{([^}]*)\}/g)) {
      const labels = [...matchers!.matchAll(/(\w+)(?:=~|!~|!=|=)"/g)].map(([, label]) => label!);
      for (const label of labels) expect([...metrics.get(name!)!, ...target], `${name} ${label}`).toContain(label);
    }
    const known = new Set([...expr.matchAll(/\b(portcullis_\w+)/g)].flatMap(([, name]) => metrics.get(name!) ?? []));
    for (const [, by] of expr.matchAll(/\bby \(([^)]*)\)/g))
      for (const label of by!.split(', ')) expect([...known, ...target], label).toContain(label);
  });
});

describe('the alerts', () => {
  it('have a name, a severity, a summary and a description, and stand in the README', () => {
    const readme = read(join(chartFolder, 'README.md'));
    const rows = [...readme.matchAll(/^\| `(Portcullis\w+)` \| (\w+) \|/gm)].map(([, name, severity]) => [
      name,
      severity,
    ]);
    expect(rows).toEqual(alerts.map(({ alert, labels }) => [alert, labels.severity]));
    for (const { annotations } of alerts) {
      expect(annotations.summary).toMatch(/\S/);
      expect(annotations.description).toMatch(/\.$/);
    }
  });

  it('stand each in docs/alerts.md, in their order, as they are, where their annotation says', () => {
    const page = read(join(docs, 'alerts.md'));
    const sections = [
      ...page.matchAll(/^## (Portcullis\w+)\n\n\*\*(\w+)\*\*, (.*)\n\n```\n([\s\S]*?)\n```\n\n(\S.*)/gm),
    ];
    expect(sections.map(([, name, severity, after, expr]) => [name, severity, after, expr])).toEqual(
      alerts.map(({ alert, labels, for: lasting, expr }) => [
        alert,
        labels.severity,
        lasting === undefined ? 'at once' : `after ${lasting}`,
        expr,
      ]),
    );
    for (const { alert, annotations } of alerts)
      expect(annotations.runbook).toBe(`docs/alerts.md#${alert.toLowerCase()}`);
  });

  it('reach the PrometheusRule as they are in the file', async () => {
    expect((await render()).all('PrometheusRule')).toEqual([]);
    const [rule] = (await render({ metrics: { prometheusRule: { enabled: true }, labels: { release: 'p' } } })).all(
      'PrometheusRule',
    );
    expect(rule.spec).toEqual(parse(read(join(chartFolder, 'files/alerts.yaml'))));
    expect(rule.metadata.labels.release).toBe('p');
  });
});

describe('the dashboards', () => {
  it.each(boards)('$name: Prometheus can read every expression', ({ board }) => {
    const asked = panelsOf(board).flatMap(({ targets }) => targets.map(({ expr }: Manifest): string => expr));
    // As Grafana fills in what stands for the time between points and for what was chosen.
    const filled = asked.map((expr) => expr.replaceAll('$__rate_interval', '5m').replaceAll(/\$\w+/g, '.*'));
    const rules = filled.map((expr, at) => ({ record: `panel:${at}`, expr }));
    const folder = mkdtempSync(join(tmpdir(), 'portcullis-panels-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, 'rules.json');
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'panels', rules }] }));
    expect(runPromtool(['check', 'rules', file])).toContain(`${rules.length} rules found`);
  });

  it.each(boards)('$name: ids differ, and no panel covers another', ({ board }) => {
    const ids = board.panels.map(({ id }: Manifest) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const taken = new Set<string>();
    for (const { title, gridPos } of board.panels) {
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken.has(`${x},${y}`), title).toBe(false);
          taken.add(`${x},${y}`);
        }
    }
  });

  it.each(boards)('$name: every panel asks the data source that was chosen', ({ board }) => {
    for (const { title, datasource, targets } of panelsOf(board)) {
      for (const asked of [datasource, ...targets.map((one: Manifest) => one.datasource)])
        expect(asked, title).toEqual({ type: 'prometheus', uid: `\${datasource}` });
    }
  });

  it('come as ConfigMaps that Grafana finds', async () => {
    expect((await render()).all('ConfigMap')).toEqual([]);
    const maps = (await render({ metrics: { dashboards: { enabled: true } } })).all('ConfigMap');
    expect(maps.length).toBe(boards.length);
    for (const { metadata, data } of maps) {
      expect(metadata.labels.grafana_dashboard).toBe('1');
      const [[name, text]] = Object.entries(data) as [[string, string]];
      expect(JSON.parse(text)).toEqual(boards.find((each) => each.name === name)!.board);
    }
  });
});

describe('scrapes', () => {
  const reachable = { agent: { listen: 'NodeAddress' }, serviceMonitor: { enabled: true } };

  it('find each part by its Service, and name it as the alerts do', async () => {
    const rendered = await render({ metrics: reachable });
    for (const [part, kind] of [
      ['agent', 'DaemonSet'],
      ['operator', 'Deployment'],
    ] as const) {
      const name = `portcullis-${part}`;
      const service = rendered.get('Service', name);
      const monitor = rendered.get('ServiceMonitor', name);
      const workload = rendered.get(kind, name);
      expect(workload.spec.template.metadata.labels).toMatchObject(service.spec.selector);
      expect(service.metadata.labels).toMatchObject(monitor.spec.selector.matchLabels);
      expect(service.metadata.labels[monitor.spec.jobLabel]).toBe(name);
      const [port] = podOf(workload).container.ports;
      expect(service.spec.ports[0]).toMatchObject({ name: port.name, port: port.containerPort });
      expect(monitor.spec.endpoints[0]).toMatchObject({ port: port.name, interval: '30s' });
    }
  });

  it('are refused where they could reach nobody, or would send tokens in clear text', async () => {
    const refused = async (metrics: object) => (await runHelm(templateArgs(), { metrics })).stderr;
    expect(await refused({ serviceMonitor: { enabled: true } })).toContain('metrics.agent.listen');
    expect(await refused({ ...reachable, tokenReview: true })).toContain('metrics.tls.secretName');
  });

  it.each([
    ['IPv4', 'Loopback', '127.0.0.1:9469', '127.0.0.1'],
    ['IPv4', 'NodeAddress', '$(NODE_IP):9469', undefined],
    ['IPv4', 'All', '0.0.0.0:9469', undefined],
    ['IPv6', 'Loopback', '[::1]:9469', '::1'],
    ['IPv6', 'NodeAddress', '[$(NODE_IP)]:9469', undefined],
    ['IPv6', 'All', '[::]:9469', undefined],
  ])('%s, %s: agents listen on %s, and probes ask there', async (ipFamily, listen, address, host) => {
    const { container } = podOf(
      (await render({ metrics: { ipFamily, agent: { listen } } })).get('DaemonSet', 'portcullis-agent'),
    );
    expect(container.args).toContain(`--metrics-address=${address}`);
    for (const probe of [container.startupProbe, container.readinessProbe, container.livenessProbe])
      expect(probe.httpGet.host).toBe(host);
  });

  it('go over TLS, with the token of Prometheus, where that is asked for', async () => {
    const values = { ...reachable, tls: { secretName: 'metrics' }, tokenReview: true };
    const rendered = await render({ metrics: values });
    for (const { spec } of rendered.all('ServiceMonitor')) {
      const [{ scheme, tlsConfig, bearerTokenFile }] = spec.endpoints;
      expect([scheme, tlsConfig.ca.secret.name, bearerTokenFile !== undefined]).toEqual(['https', 'metrics', true]);
    }
    for (const workload of [...rendered.all('DaemonSet'), ...rendered.all('Deployment')]) {
      const { pod, container } = podOf(workload);
      expect(container.args).toContain('--metrics-authorization=TokenReview');
      expect(container.readinessProbe.httpGet.scheme).toBe('HTTPS');
      const mount = container.volumeMounts.find(({ name }: Manifest) => name === 'metrics-tls').mountPath;
      expect(container.args).toContain(`--metrics-tls-folder=${mount}`);
      expect(pod.volumes.find(({ name }: Manifest) => name === 'metrics-tls').secret.secretName).toBe('metrics');
    }
    const subjects = rendered.get('ClusterRoleBinding', 'portcullis-metrics-review').subjects;
    expect(subjects.map(({ name }: Manifest) => name)).toEqual(['portcullis-agent', 'portcullis-operator']);
  });
});
