/** The operator as it runs: processes with a real token, on an API server of their own, with reports that the tests write. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { KubeClient } from '../../kube/client.ts';
import { openKubeClient } from '../../kube/http-client.ts';
import type { KubeObject } from '../../kube/objects.ts';
import { type Resource, resources } from '../../kube/resources.ts';
import { OperatorProcess } from '../support/operator.ts';
import { waitFor } from '../support/wait-for.ts';
import type { AnyObject } from './control-plane/cluster.ts';
import { ControlPlane } from './control-plane/control-plane.ts';
import { installPortcullis } from './control-plane/install.ts';
import { type ReportParts, writeReport } from './node-reports.ts';

const root = join(import.meta.dirname, '..', '..');
const namespace = 'portcullis-system';
const waitMs = 60_000;

let plane: ControlPlane;
let admin: KubeClient;
let kubeconfig: string;
let operators: OperatorProcess[] = [];
/** Of the nodes, by name. */
const uids = new Map<string, string>();

beforeAll(async () => {
  if (process.env.PORTCULLIS_SKIP_CLUSTER !== undefined) return;
  plane = await ControlPlane.start();
  await installPortcullis(plane, root);
  const token = await plane.tokenFor({ namespace, serviceAccount: 'portcullis-operator' });
  ({ kubeconfig } = plane.kubeconfigForToken(join(plane.folder, 'operator'), token));
  admin = await openKubeClient({ kubeconfig: plane.kubeconfig, userAgent: 'operator-test' });
});

afterEach(async () => {
  await Promise.all(operators.map((operator) => operator[Symbol.asyncDispose]()));
  operators = [];
});

afterAll(async () => {
  await admin?.close();
  await plane?.stop();
});

function launch(...args: readonly string[]): OperatorProcess {
  const operator = OperatorProcess.launch(kubeconfig, args);
  operators.push(operator);
  return operator;
}

/** Nodes of one test alone, by a label with its name. */
async function createNodes(testName: string, count: number): Promise<string[]> {
  const names = Array.from({ length: count }, (_, i) => `${testName}-${i}`);
  const make = async (name: string) => {
    const node = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name, labels: { test: testName } },
      spec: { podCIDRs: ['10.1.0.0/24'] },
      status: { conditions: [{ type: 'Ready', status: 'True' }] },
    };
    const { metadata } = await admin.create<KubeObject>(resources.nodes, node);
    uids.set(name, metadata.uid!);
  };
  for (let i = 0; i < names.length; i += 20) await Promise.all(names.slice(i, i + 20).map(make));
  return names;
}

const report = (node: string, parts: ReportParts) => writeReport(admin, node, uids.get(node)!, parts);

async function reportAll(nodes: readonly string[], parts: ReportParts): Promise<void> {
  for (let i = 0; i < nodes.length; i += 20)
    await Promise.all(nodes.slice(i, i + 20).map((node) => report(node, parts)));
}

const createPolicy = (name: string, testName: string, spec: object = {}) =>
  admin.create(resources.portScanPolicies, {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'PortScanPolicy',
    metadata: { name },
    spec: { mode: 'Enforce', nodeSelector: { matchLabels: { test: testName } }, ...spec },
  } as never);

const createList = (name: string, testName: string, spec: object) =>
  admin.create(resources.ipBlocklists, {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'IpBlocklist',
    metadata: { name },
    spec: { nodeSelector: { matchLabels: { test: testName } }, ...spec },
  } as never);

const policy = (name: string) => admin.get<KubeObject & AnyObject>(resources.portScanPolicies, name);
const versionOf = async (name: string) => (await policy(name)).metadata.resourceVersion;

type Wanted = (status: AnyObject) => boolean;

const untilStatus = (name: string, what: string, isWanted: Wanted) =>
  untilStatusOf(resources.portScanPolicies, name, what, isWanted);
const untilListStatus = (name: string, what: string, isWanted: Wanted) =>
  untilStatusOf(resources.ipBlocklists, name, what, isWanted);

/** Waits until the status of an object is as wanted; returns it. Throws with what it is instead. */
async function untilStatusOf(resource: Resource, name: string, what: string, isWanted: Wanted): Promise<AnyObject> {
  let last: AnyObject | undefined;
  try {
    return await waitFor(
      async () => {
        last = (await admin.get<KubeObject & AnyObject>(resource, name)).status as AnyObject | undefined;
        return last !== undefined && isWanted(last) && last;
      },
      waitMs,
      { what, intervalMs: 50 },
    );
  } catch (error) {
    const logs = operators.map(({ command }) => command.stdout + command.stderr).join('\n---\n');
    throw new Error(`${name}: ${(error as Error).message}; it is ${JSON.stringify(last)}; logs:\n${logs}`);
  }
}

function condition(status: AnyObject, type: string): AnyObject {
  const conditions = (status.conditions ?? []) as AnyObject[];
  return conditions.find((each) => each.type === type) ?? {};
}

const isProgrammed: Wanted = (status) => condition(status, 'Programmed').status === 'True';
const hasSummary =
  (summary: string): Wanted =>
  (status) =>
    status.summary === summary;

describe('the status of a policy', () => {
  test('becomes Programmed when the last of its nodes says so, and `kubectl wait` sees it', async () => {
    await launch().untilLeading();
    const nodes = await createNodes('wait', 3);
    await createPolicy('wait', 'wait');
    const first = await untilStatus('wait', 'a first status', hasSummary('0/3'));
    expect(condition(first, 'Accepted').status).toBe('True');
    expect(condition(first, 'Programmed')).toMatchObject({ status: 'Unknown', reason: 'NoFreshReport' });
    const waiting = plane.run(['wait', '--for=condition=Programmed', '--timeout=60s', 'portscanpolicy/wait'], {
      timeoutMs: 70_000,
    });
    await reportAll(nodes.slice(1), { policies: [{ name: 'wait' }] });
    await report(nodes[0]!, { policies: [{ name: 'wait', state: 'Failed', message: 'no memory' }] });
    const partial = await untilStatus('wait', 'two of three', (status) => status.nodes?.failed === 1);
    expect(condition(partial, 'Programmed')).toMatchObject({ status: 'False', reason: 'PartiallyProgrammed' });
    expect(partial.nodes.examples).toEqual([{ node: 'wait-0', reason: 'Failed', message: 'no memory' }]);
    await report(nodes[0]!, { policies: [{ name: 'wait' }] });
    expect(await waiting).toContain('condition met');
    expect((await policy('wait')).status).toMatchObject({ summary: '3/3', observedGeneration: 1 });
  });

  test('does not read Programmed for an edit that the nodes do not have yet', async () => {
    await launch().untilLeading();
    const [node] = await createNodes('edit', 1);
    await createPolicy('edit', 'edit');
    await report(node!, { policies: [{ name: 'edit' }] });
    await untilStatus('edit', 'generation 1', isProgrammed);
    await admin.mergePatch(resources.portScanPolicies, 'edit', { spec: { priority: 7 } });
    const edited = await untilStatus('edit', 'news of the edit', ({ observedGeneration }) => observedGeneration === 2);
    expect(condition(edited, 'Programmed')).toMatchObject({ status: 'False', observedGeneration: 2 });
    await report(node!, { policies: [{ name: 'edit', generation: 2 }] });
    const done = await untilStatus('edit', 'generation 2', isProgrammed);
    expect(condition(done, 'Programmed').observedGeneration).toBe(2);
  });

  test('tells of a block within moments, by an Event too', async () => {
    await launch().untilLeading();
    const [node] = await createNodes('block', 1);
    await createPolicy('block', 'block');
    await report(node!, { policies: [{ name: 'block' }] });
    await untilStatus('block', 'Programmed', isProgrammed);
    const startedMs = performance.now();
    await report(node!, {
      policies: [{ name: 'block', blocked: 1, packetsDropped: 3 }],
      blocks: [{ source: '192.0.2.7', policy: 'block' }],
    });
    const status = await untilStatus('block', 'the block', ({ blocks }) => blocks?.length === 1);
    console.info(`a block stood in the status ${Math.round(performance.now() - startedMs)} ms after its report`);
    expect(status.blocks).toMatchObject([
      { source: '192.0.2.7', state: 'Blocked', nodes: [node], nodesTotal: 1, probes: 15, ports: [22, 80] },
    ]);
    expect(status.blocked).toEqual({ sources: 1, packetsDropped: 3 });
    const described = await waitFor(
      async () => {
        const text = await plane.run(['describe', 'portscanpolicy', 'block']);
        return text.includes('ScanBlocked') && text;
      },
      waitMs,
      { what: 'the Event' },
    );
    expect(described).toContain('a source was blocked on block-0 after 15 targets, ports 22, 80');
  });

  test('is not written again when nothing has changed but the time, nor for counters alone', async () => {
    const operator = launch();
    await operator.untilLeading();
    const [node] = await createNodes('quiet', 1);
    await createPolicy('quiet', 'quiet');
    const blocks = [{ source: '192.0.2.7', policy: 'quiet' }];
    await report(node!, { policies: [{ name: 'quiet', blocked: 1 }], blocks });
    await untilStatus('quiet', 'the block', (status) => isProgrammed(status) && status.blocks?.length === 1);
    const before = await versionOf('quiet');
    for (let i = 0; i < 5; i++) {
      await report(node!, { policies: [{ name: 'quiet', blocked: 1, packetsDropped: i }], blocks });
    }
    // News of another policy have come and gone meanwhile, so the operator has looked.
    await createPolicy('quiet-too', 'quiet');
    await report(node!, {
      policies: [{ name: 'quiet', blocked: 1, packetsDropped: 9 }, { name: 'quiet-too' }],
      blocks,
    });
    await untilStatus('quiet-too', 'Programmed', isProgrammed);
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    expect(await versionOf('quiet')).toBe(before);
  });

  test('tells of counters after their interval', async () => {
    await launch('--counters-interval=2s', '--status-interval=1s').untilLeading();
    const [node] = await createNodes('count', 1);
    await createPolicy('count', 'count');
    await report(node!, { policies: [{ name: 'count' }] });
    await untilStatus('count', 'Programmed', isProgrammed);
    await report(node!, { policies: [{ name: 'count', packetsDropped: 42 }] });
    await untilStatus('count', 'the packets', ({ blocked }) => blocked.packetsDropped === 42);
  });

  test('loses a block when its time is over, although no agent says so', async () => {
    await launch().untilLeading();
    const [node] = await createNodes('end', 1);
    await createPolicy('end', 'end');
    const blocks = [{ source: '192.0.2.7', policy: 'end', secondsLeft: 12 }];
    await report(node!, { policies: [{ name: 'end', blocked: 1 }], blocks });
    await untilStatus('end', 'the block', (status) => status.blocks?.length === 1);
    const after = await untilStatus('end', 'its end', (status) => status.blocks === undefined);
    expect(after.blocked.sources).toBe(0);
  });

  test('becomes Unknown when reports go stale, and stays so over a restart of the operator', async () => {
    const stale = '--report-stale-after=10s';
    const first = launch(stale);
    await first.untilLeading();
    const [node] = await createNodes('stale', 1);
    await createPolicy('stale', 'stale');
    await report(node!, { policies: [{ name: 'stale' }] });
    await untilStatus('stale', 'Programmed', isProgrammed);
    const status = await untilStatus('stale', 'Unknown', (each) => condition(each, 'Programmed').status === 'Unknown');
    expect(status.nodes).toMatchObject({ selected: 1, stale: 1, programmed: 0 });
    const version = await versionOf('stale');
    // The API server tells whole seconds.
    await new Promise((resolve) => setTimeout(resolve, 2000));
    await first.stop();
    // The next one has never seen the report change: its age is told by the API server's clock.
    await launch(stale).untilLeading();
    await createPolicy('stale-too', 'stale');
    await untilStatus('stale-too', 'a status', ({ nodes }) => nodes?.selected === 1);
    expect((await policy('stale-too')).status.nodes.stale).toBe(1);
    expect(await versionOf('stale')).toBe(version);
  });

  test('says which field is wrong of a policy that was stored under an older, looser schema', async () => {
    await launch().untilLeading();
    const [node] = await createNodes('loose', 1);
    await createPolicy('loose', 'loose');
    await report(node!, { policies: [{ name: 'loose' }] });
    await untilStatus('loose', 'Programmed', isProgrammed);
    const crd = readFileSync(join(root, 'crds', 'portscanpolicies.yaml'), 'utf8');
    const looser = crd.replace(/(priority:\n(?:.*\n){1,8}?\s+maximum: )1000\b/, '$19000');
    expect(looser).not.toBe(crd);
    try {
      await plane.apply(looser);
      await waitFor(
        () => admin.mergePatch(resources.portScanPolicies, 'loose', { spec: { priority: 4000 } }).then(() => true),
        waitMs,
        { what: 'the looser schema' },
      );
    } finally {
      await plane.apply(crd);
    }
    const status = await untilStatus('loose', 'refused', (each) => condition(each, 'Accepted').status === 'False');
    expect(condition(status, 'Accepted')).toMatchObject({ reason: 'Invalid', observedGeneration: 2 });
    expect(condition(status, 'Accepted').message).toMatch(/spec\.priority.*4000.*keep it in force/);
    expect(status.nodes.selected).toBe(1);
    await report(node!, { policies: [{ name: 'loose', generation: 2, state: 'Invalid', message: 'stays' }] });
    await untilStatus('loose', 'Failed', (each) => condition(each, 'Programmed').reason === 'Failed');
    await admin.mergePatch(resources.portScanPolicies, 'loose', { spec: { priority: 400 } });
    await report(node!, { policies: [{ name: 'loose', generation: 3 }] });
    const mended = await untilStatus('loose', 'mended', isProgrammed);
    expect(condition(mended, 'Accepted').status).toBe('True');
  });

  test('tells of a full table and of a foreign program, on the Node too', async () => {
    await launch().untilLeading();
    const [node] = await createNodes('trouble', 1);
    await createPolicy('trouble', 'trouble');
    const policies = [{ name: 'trouble', state: 'Failed' as const, message: 'eth0 has program 7' }];
    await report(node!, { policies });
    await untilStatus('trouble', 'Failed', (each) => condition(each, 'Programmed').reason === 'Failed');
    const findings = [
      { code: 'ForeignXdpProgram', severity: 'error', message: 'eth0 has program 7', interface: 'eth0' },
      { code: 'TableFull', severity: 'error', message: 'the table blocks holds 64 of 64 entries' },
    ];
    await report(node!, { policies, findings });
    const status = await untilStatus('trouble', 'Degraded', (each) => condition(each, 'Degraded').status === 'True');
    expect(condition(status, 'Degraded')).toMatchObject({ reason: 'ForeignXdpProgram' });
    expect(condition(status, 'Degraded').message).toContain('the table blocks holds 64 of 64 entries');
    await waitFor(
      async () => {
        const text = await plane.run(['describe', 'node', node!]);
        return text.includes('TableFull') && text.includes('ForeignXdpProgram');
      },
      waitMs,
      { what: 'Events of the node' },
    );
  });
});

describe('the status of a list', () => {
  const writeFeed = (name: string, lines: readonly string[]) =>
    plane.apply({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name, namespace },
      data: { bad: lines.join('\n') },
    });

  test('follows its ConfigMap, and is Programmed when nodes have those very prefixes in force', async () => {
    await launch().untilLeading();
    const [node] = await createNodes('feed', 1);
    await writeFeed('feed', ['192.0.2.0/24', '198.51.100.1 # a comment', '203.0.113.7/24']);
    await createList('feed', 'feed', {
      configMapRefs: [{ name: 'feed', key: 'bad' }],
      entries: [{ cidr: '192.0.2.0/24' }, { cidr: '203.0.113.9/32' }],
    });
    const first = await untilListStatus('feed', 'a set', ({ prefixSet }) => prefixSet !== undefined);
    // The first entry of the spec is a line of the ConfigMap, too.
    expect(first.entries).toMatchObject({ given: 5, effective: 3, expired: 0, refused: 1 });
    expect(first.entries.refusedLines).toEqual([{ name: 'feed', key: 'bad', line: 3, reason: 'HostBits' }]);
    expect(first.prefixSet.prefixes).toBe(2);
    const chunks = async (status: AnyObject) =>
      Promise.all(status.prefixSet.chunks.map((name: string) => plane.get('prefixchunk', name)));
    const present = async (status: AnyObject) => (await chunks(status)).every((chunk) => chunk !== undefined);
    await waitFor(() => present(first), waitMs, { what: 'the chunks' });

    const lists = (status: AnyObject) => ({ lists: [{ name: 'feed', prefixSet: status.prefixSet.digest }] });
    await report(node!, lists(first));
    await untilListStatus('feed', 'Programmed', isProgrammed);
    await writeFeed('feed', ['192.0.2.0/24', '198.51.100.2']);
    const { digest } = first.prefixSet;
    const second = await untilListStatus('feed', 'another set', ({ prefixSet }) => prefixSet?.digest !== digest);
    expect(condition(second, 'Programmed')).toMatchObject({ status: 'False', reason: 'PartiallyProgrammed' });
    await report(node!, { lists: [{ ...lists(second).lists[0]!, packetsDropped: 7 }] });
    await untilListStatus('feed', 'Programmed again', isProgrammed);
    // What the first set had and the second has not is of no use to anybody.
    const old = first.prefixSet.chunks.filter((name: string) => !second.prefixSet.chunks.includes(name));
    expect(old).not.toEqual([]);
    const gone = async () => (await chunks({ prefixSet: { chunks: old } })).every((chunk) => chunk === undefined);
    await waitFor(gone, waitMs, { what: 'the end of the old chunks' });
  });

  test('keeps the last good set while the ConfigMap is missing, over a change of the leader too', async () => {
    const first = launch();
    await first.untilLeading();
    await createNodes('missing', 1);
    await writeFeed('missing', ['192.0.2.0/24']);
    await createList('missing', 'missing', { configMapRefs: [{ name: 'missing', key: 'bad' }] });
    const before = await untilListStatus('missing', 'a set', ({ prefixSet }) => prefixSet !== undefined);
    await plane.delete('configmap', 'missing', namespace);
    const degraded: Wanted = (status) =>
      !['AsExpected', 'MissingReports'].includes(condition(status, 'Degraded').reason);
    const after = await untilListStatus('missing', 'Degraded', degraded);
    expect(after.prefixSet).toEqual(before.prefixSet);
    await first.stop();
    await launch().untilLeading();
    await createList('missing-too', 'missing', {});
    await untilListStatus('missing-too', 'a status by the new leader', hasSummary('0/1'));
    const { prefixSet } = await untilListStatus('missing', 'Degraded', degraded);
    expect(prefixSet).toEqual(before.prefixSet);
  });

  test('counts an entry no more when its time is over', async () => {
    await launch().untilLeading();
    const expiresAt = new Date(Date.now() + 12_000).toISOString();
    await createList('expiry', 'expiry', { entries: [{ cidr: '192.0.2.0/24', expiresAt }, { cidr: '192.0.2.7/32' }] });
    await untilListStatus('expiry', 'both', ({ entries }) => entries?.effective === 2);
    const after = await untilListStatus('expiry', 'one', ({ entries }) => entries?.effective === 1);
    expect(after.entries).toMatchObject({ given: 2, expired: 1 });
    expect(condition(after, 'Programmed')).toMatchObject({ status: 'False', reason: 'NoNodesSelected' });
  });
});

describe('of two replicas', () => {
  test('one leads, both are ready, and on SIGTERM the other takes over at once', async () => {
    const [a, b] = [launch(), launch()];
    await waitFor(() => a.hasLed || b.hasLed, waitMs, { what: 'a leader' });
    const [leader, follower] = a.hasLed ? [a, b] : [b, a];
    await follower.until(({ event }) => event === 'synced', 'the follower to be ready');
    for (const path of ['/healthz', '/readyz'] as const) {
      for (const operator of [leader, follower]) expect(await operator.fetch(path)).toMatchObject({ status: 200 });
    }
    const gauge = 'portcullis_kube_leader{lease="portcullis-operator"}';
    expect([await leader.metric(gauge), await follower.metric(gauge)]).toEqual([1, 0]);
    expect(await follower.metric('portcullis_kube_objects{resource="nodes"}')).toBe(uids.size);

    const [node] = await createNodes('handover', 1);
    await createPolicy('handover', 'handover');
    await report(node!, { policies: [{ name: 'handover' }] });
    const before = await untilStatus('handover', 'Programmed', isProgrammed);
    const version = await versionOf('handover');
    const startedMs = performance.now();
    expect(await leader.stop()).toMatchObject({ code: 0 });
    console.info(`the leader ended ${Math.round(performance.now() - startedMs)} ms after SIGTERM`);
    await follower.untilLeading();
    console.info(`the other led ${Math.round(performance.now() - startedMs)} ms after SIGTERM`);
    await createPolicy('handover-too', 'handover');
    await untilStatus('handover-too', 'a status by the new leader', hasSummary('0/1'));
    // The new leader has looked at all of them, and found nothing to write.
    expect(await versionOf('handover')).toBe(version);
    await report(node!, { policies: [{ name: 'handover', state: 'Pending' }] });
    const after = await untilStatus('handover', 'news', (status) => !isProgrammed(status));
    const time = (status: AnyObject) => condition(status, 'Accepted').lastTransitionTime;
    expect(time(after)).toBe(time(before));
  });

  test('a leader that is killed in the midst of its writes is replaced, and every status comes out right', async () => {
    const [a, b] = [launch(), launch()];
    await waitFor(() => a.hasLed || b.hasLed, waitMs, { what: 'a leader' });
    const [leader, follower] = a.hasLed ? [a, b] : [b, a];
    const [node] = await createNodes('killed', 1);
    const names = Array.from({ length: 60 }, (_, i) => `killed-${i}`);
    await Promise.all(names.map((name) => createPolicy(name, 'killed')));
    await waitFor(async () => (await policy('killed-0')).status !== undefined, waitMs, { what: 'the first writes' });
    await report(node!, { policies: names.map((name) => ({ name })) });
    const written = async () =>
      (await Promise.all(names.map(policy))).filter(({ status }) => isProgrammed(status ?? {}));
    await waitFor(async () => (await written()).length > 0, waitMs, { what: 'one status', intervalMs: 5 });
    await leader.stop('SIGKILL');
    console.info(`${(await written()).length} of ${names.length} statuses were written when the leader was killed`);
    const startedMs = performance.now();
    await follower.untilLeading();
    console.info(`the other led ${Math.round(performance.now() - startedMs)} ms after SIGKILL, at a Lease of 5 s`);
    for (const name of names) await untilStatus(name, 'Programmed', isProgrammed);
  });

  test('one that loses the Lease ends with an error, and writes nothing any more', async () => {
    const leader = launch();
    await leader.untilLeading();
    await admin.mergePatch(
      resources.leases,
      'portcullis-operator',
      { spec: { holderIdentity: 'somebody-else', leaseDurationSeconds: 3 } },
      { namespace },
    );
    const { code } = await waitFor(async () => !leader.command.isRunning && (await leader.command.ended), waitMs, {
      what: 'the end of the leader',
    });
    expect(code).toBe(1);
    expect(leader.log.some(({ change }) => change === 'lost')).toBe(true);
  });
});

describe('at scale', () => {
  test('500 nodes: a policy is followed from the first report to the last with few writes', async () => {
    const operator = launch();
    await operator.untilLeading();
    const nodes = await createNodes('many', 500);
    await createPolicy('many', 'many');
    await untilStatus('many', 'all nodes selected', hasSummary('0/500'));
    const writes = () =>
      operator.metric('portcullis_operator_status_writes_total{controller="port-scan-policy",result="ok"}');
    const before = (await writes()) ?? 0;
    const startedMs = performance.now();
    const parts = { policies: [{ name: 'many', blocked: 20 }] };
    for (let i = 0; i < nodes.length; i += 20) {
      const some = nodes.slice(i, i + 20).map((node, j) =>
        report(node, {
          ...parts,
          blocks: Array.from({ length: 20 }, (_, k) => ({ source: `10.${i / 20}.${j}.${k}`, policy: 'many' })),
        }),
      );
      await Promise.all(some);
    }
    const reportedMs = performance.now();
    const status = await untilStatus('many', '500/500', hasSummary('500/500'));
    const seconds = (ms: number) => (ms / 1000).toFixed(1);
    const rssMiB =
      Number(readFileSync(`/proc/${operator.command.child.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)![1]) / 1024;
    const count = ((await writes()) ?? 0) - before;
    console.info(
      `500 reports with 20 blocks each in ${seconds(reportedMs - startedMs)} s, 500/500 told ${seconds(performance.now() - reportedMs)} s ` +
        `after the last, by ${count} writes; RSS ${Math.round(rssMiB)} MiB`,
    );
    expect(status.blocks).toHaveLength(100);
    expect(status.blocked.sources).toBe(10_000);
    // Six at once, and one each ten seconds.
    const elapsedMs = performance.now() - startedMs;
    expect(count).toBeLessThanOrEqual(7 + elapsedMs / 10_000);
    expect(rssMiB).toBeLessThan(200);
  });
});
