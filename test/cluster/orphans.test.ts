import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { OrphanedReportsController } from '../../operator/controllers/node-report/controller.ts';
import { ExpiredController } from '../../operator/controllers/source-exception/controller.ts';
import { waitFor } from '../support/wait-for.ts';
import { ControlPlane } from './control-plane/control-plane.ts';
import { installPortcullis } from './control-plane/install.ts';
import { complaints, startOperatorParts } from './operator-parts.ts';

/** Its own: the reports and nodes of other files would be looked at, too. */
let plane: ControlPlane;

beforeAll(async () => {
  plane = await ControlPlane.start();
  await installPortcullis(plane, join(import.meta.dirname, '..', '..'));
});

afterAll(async () => {
  await plane?.stop();
});

async function report(node: string, uid?: string): Promise<void> {
  const ownerReferences = uid === undefined ? [] : [{ apiVersion: 'v1', kind: 'Node', name: node, uid }];
  const time = '2026-01-01T00:00:00Z';
  await plane.apply({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'NodeReport',
    metadata: { name: node, ownerReferences },
    status: {
      observedAt: time,
      state: 'Enforcing',
      agent: { version: '1.0.0', startedAt: time },
      policies: [],
      lists: [],
      blocks: { blocked: 0, newest: [] },
    },
  });
}

const reports = async () => (await plane.list('nodereports')).map(({ metadata }) => metadata.name);

const startOrphans = (grace: string) =>
  startOperatorParts(plane, {
    flags: [`--orphan-grace=${grace}`],
    controllers: (context) => [new OrphanedReportsController(context)],
  });

test('without any Node no report is deleted', async () => {
  await report('orphan-a', '00000000-0000-4000-8000-000000000000');
  await using _operator = await startOrphans('0s');
  await sleep(2500);
  expect(await reports()).toEqual(['orphan-a']);
});

test('the report of a Node that is gone, or was made anew, is deleted after the grace, and others are not', async () => {
  const uids = new Map<string, string>();
  for (const name of ['orphan-b', 'orphan-c', 'orphan-d', 'orphan-e']) uids.set(name, await plane.createNode(name));
  for (const [name, uid] of uids) await report(name, name === 'orphan-e' ? undefined : uid);
  await using operator = await startOrphans('3s');
  await waitFor(async () => !(await reports()).includes('orphan-a'), 20_000, { what: 'a report without Node deleted' });
  expect(await reports()).toEqual(['orphan-b', 'orphan-c', 'orphan-d', 'orphan-e']);

  await plane.delete('node', 'orphan-b');
  for (const name of ['orphan-c', 'orphan-d']) {
    await plane.delete('node', name);
    uids.set(name, await plane.createNode(name));
  }
  // This one's agent takes its report over in time.
  await report('orphan-d', uids.get('orphan-d'));
  const gone = async () => !['orphan-b', 'orphan-c'].some((name) => reportNames.includes(name));
  let reportNames = await reports();
  await waitFor(
    async () => {
      reportNames = await reports();
      return gone();
    },
    20_000,
    { what: 'two reports deleted', intervalMs: 200 },
  );
  expect(reportNames).toEqual(['orphan-d', 'orphan-e']);
  await report('orphan-c', uids.get('orphan-c'));
  await sleep(4000);
  expect(await reports()).toEqual(['orphan-c', 'orphan-d', 'orphan-e']);
  expect(complaints(operator.log)).toEqual([]);
});

test('what the plugin made is deleted when it is over since long; what others made never is', async () => {
  const plugin = { 'app.kubernetes.io/managed-by': 'kubectl-portcullis' };
  const hoursAgo = (hours: number) => `${new Date(Date.now() - hours * 3_600_000).toISOString().slice(0, 19)}Z`;
  const exception = (name: string, expiresAt: string, labels: object = plugin) => ({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'SourceException',
    metadata: { name, labels },
    spec: { source: '192.0.2.7/32', expiresAt },
  });
  const list = (name: string, times: readonly (string | undefined)[], labels: object = plugin) => ({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'IpBlocklist',
    metadata: { name, labels },
    spec: { entries: times.map((expiresAt) => ({ cidr: '192.0.2.7/32', ...(expiresAt ? { expiresAt } : {}) })) },
  });
  await plane.apply([
    exception('old', hoursAgo(25)),
    exception('younger', hoursAgo(23)),
    exception('standing', hoursAgo(-1)),
    exception('old-of-others', hoursAgo(25), {}),
    list('old', [hoursAgo(30), hoursAgo(25)]),
    list('for-ever', [hoursAgo(30), undefined]),
    list('old-of-others', [hoursAgo(30)], {}),
  ]);
  const names = async (kind: string) => (await plane.list(kind)).map(({ metadata }) => metadata.name);
  {
    await using operator = await startOperatorParts(plane, {
      controllers: (context) => [new ExpiredController(context)],
    });
    await waitFor(async () => !(await names('ipblocklists')).includes('old'), 20_000, { what: 'the old list deleted' });
    expect(await names('sourceexceptions')).toEqual(['old-of-others', 'standing', 'younger']);
    expect(await names('ipblocklists')).toEqual(['for-ever', 'old-of-others']);
    expect(await names('clusterfacts')).toEqual([]);
    expect(complaints(operator.log)).toEqual([]);
  }
});
