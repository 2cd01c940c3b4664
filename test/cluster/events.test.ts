import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { KubeClient } from '../../kube/client.ts';
import { EventRecorder, type Occurrence, referenceTo } from '../../kube/events.ts';
import { openKubeClient } from '../../kube/http-client.ts';
import type { KubeObject } from '../../kube/objects.ts';
import { resources } from '../../kube/resources.ts';
import { waitFor } from '../support/wait-for.ts';
import { useControlPlane } from './use-control-plane.ts';

const cluster = useControlPlane();
const waitMs = 30_000;

let client: KubeClient;
let stop: AbortController;
let recorder: EventRecorder;
let end: Promise<void>;
let errors: unknown[];

beforeAll(async () => {
  client = await openKubeClient({ kubeconfig: cluster.kubeconfig, userAgent: 'events-test' });
  await cluster.createNode('events-node');
  const policy = {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'PortScanPolicy',
    metadata: { name: 'events-policy' },
    spec: { mode: 'Monitor' },
  };
  await cluster.run(['apply', '--server-side', '-f', '-'], { input: JSON.stringify(policy) });
});

afterAll(async () => {
  await cluster.delete('node', 'events-node');
  await cluster.delete('portscanpolicy', 'events-policy');
  await client?.close();
});

beforeEach(() => {
  stop = new AbortController();
  errors = [];
  recorder = new EventRecorder({
    client,
    component: 'portcullis.dev/operator',
    instance: 'events-test',
    flushMs: 300,
    onError: (error) => errors.push(error),
  });
  end = recorder.run(stop.signal);
});

afterEach(async () => {
  stop.abort();
  await end;
  expect(errors).toEqual([]);
});

const occurrence = (object: KubeObject, resource: typeof resources.nodes | typeof resources.portScanPolicies) =>
  ({
    regarding: referenceTo(resource, object),
    type: 'Warning',
    reason: 'ScanBlocked',
    action: 'Block',
    note: '203.0.113.7 is blocked',
  }) satisfies Occurrence;

test.each([
  ['portscanpolicy', 'events-policy', resources.portScanPolicies],
  ['node', 'events-node', resources.nodes],
] as const)('kubectl describe shows the events of a %s once, with their count', async (kind, name, resource) => {
  const object = await client.get(resource, name);
  const described = () => cluster.run(['describe', kind, name]);
  for (let i = 0; i < 3; i++) recorder.record(occurrence(object, resource));
  await waitFor(async () => (await described()).includes('203.0.113.7 is blocked'), waitMs, { what: 'the event' });
  for (let i = 0; i < 4; i++) recorder.record(occurrence(object, resource));
  await waitFor(async () => (await described()).includes('x7 over'), waitMs, { what: 'the count' });
  expect((await described()).match(/203\.0\.113\.7 is blocked/g)).toHaveLength(1);
});

test('an event that somebody deleted is made again', async () => {
  const object = await client.get(resources.portScanPolicies, 'events-policy');
  const found = async () =>
    (await client.list<KubeObject & { reason: string }>(resources.events, { namespace: 'default' })).items.filter(
      ({ reason }) => reason === 'TableFull',
    );
  const full = { ...occurrence(object, resources.portScanPolicies), reason: 'TableFull' };
  recorder.record(full);
  const [event] = await waitFor(async () => (await found()).length === 1 && found(), waitMs, { what: 'the event' });
  await client.delete(resources.events, event!.metadata.name, { namespace: 'default' });
  recorder.record(full);
  const [again] = await waitFor(async () => (await found()).length === 1 && found(), waitMs, { what: 'it again' });
  expect(again).toMatchObject({ series: { count: 2 } });
});

test('the API admits the longest note, name and instance, and a series as its first write', async () => {
  const name = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`;
  const regarding = { apiVersion: 'v1', kind: 'Node', name, uid: name };
  const long = new EventRecorder({
    client,
    component: 'portcullis.dev/operator',
    instance: 'é'.repeat(200),
    onError: (error) => errors.push(error),
  });
  for (let i = 0; i < 2; i++) {
    long.record({
      regarding,
      type: 'Normal',
      reason: 'R'.repeat(128),
      action: 'A'.repeat(128),
      note: 'ü'.repeat(5000),
    });
  }
  const stopLong = new AbortController();
  const ended = long.run(stopLong.signal);
  stopLong.abort();
  await ended;
  const list = await client.list(resources.events, { namespace: 'default', fieldSelector: `regarding.name=${name}` });
  expect(list.items).toMatchObject([{ series: { count: 2 } }]);
});
