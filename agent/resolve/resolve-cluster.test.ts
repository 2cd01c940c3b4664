/** What only a cluster has: exceptions, facts, prefixes out of ConfigMaps, the age of objects. */
import { describe, expect, it } from 'vitest';
import type {
  ClusterFacts,
  IpBlocklist,
  IpBlocklistSpec,
  PortScanPolicy,
  PortScanPolicySpec,
  SourceException,
} from '../../api/types.ts';
import { validateObject } from '../../api/validate.ts';
import type { HostSnapshot } from '../host/snapshot.ts';
import { type ResolveInput, resolve } from './resolve.ts';

const NOW_MS = Date.parse('2030-01-01T00:00:00Z');
const inSeconds = (seconds: number) => new Date(NOW_MS + seconds * 1_000).toISOString();
const host: HostSnapshot = {
  links: ['eth0', 'eth1'].map((name, i) => ({ ifindex: i + 2, name, type: 1, up: true, mtu: 1500 })),
  addresses: [{ ifindex: 2, address: '192.0.2.2', prefixLength: 24 }],
  routes: [{ family: 4, destination: '0.0.0.0/0', ifindex: 2, gateway: '192.0.2.1', table: 254, metric: 0 }],
  resolvers: [],
};

function valid<T>(kind: string, metadata: object, spec: object): T {
  const { object, problems } = validateObject({ apiVersion: 'portcullis.dev/v1alpha1', kind, metadata, spec });
  if (object === undefined) throw new Error(JSON.stringify(problems));
  return object as T;
}
const on = (...names: string[]) => ({ interfaces: { names } });
const policy = (name: string, spec: Partial<PortScanPolicySpec> = {}, creationTimestamp?: string) =>
  valid<PortScanPolicy>('PortScanPolicy', { name, creationTimestamp }, { mode: 'Enforce', ...on('eth0'), ...spec });
const list = (name: string, spec: Partial<IpBlocklistSpec> = {}) =>
  valid<IpBlocklist>('IpBlocklist', { name }, { ...on('eth0'), ...spec });
const exception = (name: string, source: string, seconds: number, policies: string[] = []) =>
  valid<SourceException>('SourceException', { name }, { source, expiresAt: inSeconds(seconds), policies });
const facts = (holds: ClusterFacts['spec']['holds'], prefixes: string[], more: object = {}): ClusterFacts => ({
  ...{ apiVersion: 'portcullis.dev/v1alpha1', kind: 'ClusterFacts', metadata: { name: `${holds}-0` } },
  spec: { holds, prefixes, count: prefixes.length, ...more },
});
const complete = facts('Cluster', [], { nodeCount: 4, complete: true });

const run = (input: Partial<ResolveInput>) =>
  resolve({
    ...{ policies: [], lists: [], exceptions: [], host, nodeLabels: {}, neverBlock: [], nowMs: NOW_MS },
    cluster: { facts: [complete], prefixSets: new Map() },
    ...input,
  });
const allowed = (state: ReturnType<typeof run>) =>
  Object.fromEntries(state.interfaces.map(({ name, allow }) => [name, allow.map(({ cidr }) => cidr)]));

describe('an exception', () => {
  const policies = [policy('a'), policy('b', on('eth1'))];

  it('spares its source on every governed interface until its end, and lifts blocks of all policies', () => {
    const state = run({ policies, exceptions: [exception('x', '198.51.100.7/32', 60)] });
    const entry = { cidr: '198.51.100.7/32', expiresAtMs: NOW_MS + 60_000 };
    expect(state.interfaces.map(({ allow }) => allow)).toEqual([[entry], [entry]]);
    expect(state.exceptions).toEqual([{ name: 'x', cidr: '198.51.100.7/32' }]);
    expect(state.nextChangeAtMs).toBe(NOW_MS + 60_000);
  });

  it('that names policies spares from these alone', () => {
    const state = run({ policies, exceptions: [exception('x', '198.51.100.7/32', 60, ['b', 'elsewhere'])] });
    expect(allowed(state)).toEqual({ eth0: [], eth1: ['198.51.100.7/32'] });
    expect(state.exceptions).toEqual([{ name: 'x', cidr: '198.51.100.7/32', policies: ['b', 'elsewhere'] }]);
  });

  it('that names a policy which governs nothing is not in force: another would go on blocking', () => {
    const low = policy('low', { priority: 0 });
    const high = policy('high', { priority: 1 });
    const state = run({ policies: [low, high], exceptions: [exception('x', '198.51.100.7/32', 60, ['low'])] });
    expect(allowed(state)).toEqual({ eth0: [] });
    expect(state.exceptions).toEqual([]);
  });

  it('that has ended does nothing', () => {
    const state = run({ policies, exceptions: [exception('x', '198.51.100.7/32', 0)] });
    expect(allowed(state)).toEqual({ eth0: [], eth1: [] });
    expect(state).toMatchObject({ exceptions: [] });
    expect(state.nextChangeAtMs).toBeUndefined();
  });

  it('beside an allow entry of the same prefix: the later end holds', () => {
    const forEver = policy('a', { allow: [{ cidr: '198.51.100.7/32' }] });
    const state = run({ policies: [forEver], exceptions: [exception('x', '198.51.100.7/32', 60)] });
    expect(state.interfaces[0]?.allow).toEqual([{ cidr: '198.51.100.7/32' }]);
  });

  it('does not weaken a list', () => {
    const feed = list('feed', { entries: [{ cidr: '198.51.100.7/32' }] });
    const state = run({ lists: [feed], exceptions: [exception('x', '198.51.100.7/32', 60)] });
    expect(state.interfaces).toMatchObject([{ allow: [], lists: [{ entries: ['198.51.100.7/32'], except: [] }] }]);
  });

  it('out of a file is as good', () => {
    const { cluster: _, ...input } = { cluster: 0, policies, exceptions: [exception('x', '198.51.100.7/32', 60)] };
    const state = resolve({ lists: [], host, nodeLabels: {}, neverBlock: [], nowMs: NOW_MS, ...input });
    expect(state.exceptions).toHaveLength(1);
    expect(state.findings).toEqual([]);
  });
});

describe('facts', () => {
  const known = [
    facts('Nodes', ['198.51.100.1/32', '192.0.2.2/32']),
    facts('PodRanges', ['10.1.0.0/24', '10.2.0.0/16']),
    facts('ServiceRanges', ['10.96.0.0/12']),
    facts('ApiServer', ['198.51.100.10/32']),
    facts('Configured', ['203.0.113.0/24']),
    complete,
  ];

  it('are never blocked: what is few and matters most first, the widest of what may be many first', () => {
    const { neverBlock, findings } = run({
      neverBlock: ['203.0.113.9/32'],
      cluster: { facts: known, prefixSets: new Map() },
    });
    const shown = neverBlock.filter(({ kind }) => kind !== 'special').map(({ kind, cidr }) => `${kind} ${cidr}`);
    expect(shown).toEqual([
      'configured 203.0.113.9/32',
      'configured 203.0.113.0/24',
      'next-hop 192.0.2.1/32',
      'api-server 198.51.100.10/32',
      'own 192.0.2.2/32',
      'broadcast 192.0.2.255/32',
      'service-range 10.96.0.0/12',
      'pod-range 10.2.0.0/16',
      'pod-range 10.1.0.0/24',
      'node 198.51.100.1/32',
    ]);
    expect(findings).toEqual([]);
  });

  it('that are no canonical prefixes are passed over', () => {
    const odd = [facts('Nodes', ['198.51.100.1', '198.51.100.7/24', 'node', '198.51.100.1/32']), complete];
    const { neverBlock } = run({ cluster: { facts: odd, prefixSets: new Map() } });
    expect(neverBlock.filter(({ kind }) => kind === 'node').map(({ cidr }) => cidr)).toEqual(['198.51.100.1/32']);
  });

  it.each([
    ['are not there', [], 'nothing is known of the cluster'],
    ['do not say that they are complete', [facts('Nodes', [])], 'not all ranges of pods are known'],
    ['say that they are not', [facts('Cluster', [], { complete: false })], 'not all ranges of pods are known'],
  ])('that %s are a finding', (_, some, message) => {
    const { findings } = run({ cluster: { facts: some, prefixSets: new Map() } });
    expect(findings).toMatchObject([{ code: 'FactsUnknown', message: expect.stringContaining(message) }]);
  });
});

describe('prefixes out of ConfigMaps', () => {
  const refs = { configMapRefs: [{ name: 'feed', key: 'a' }] };
  const sets = (prefixes: string[]) => ({
    facts: [complete],
    prefixSets: new Map([['feed', { digest: 'd', prefixes }]]),
  });
  const entriesOf = (state: ReturnType<typeof run>) => state.interfaces[0]?.lists[0]?.entries;

  it('are entries like those in the list, each once, and do not expire with one of these', () => {
    const entries = [{ cidr: '192.0.2.0/25' }, { cidr: '198.51.100.0/24', expiresAt: inSeconds(-1) }];
    const feed = list('feed', { ...refs, entries, except: [{ cidr: '203.0.113.0/25' }] });
    const state = run({ lists: [feed], cluster: sets(['192.0.2.0/25', '198.51.100.0/24', '203.0.113.0/24']) });
    expect(entriesOf(state)).toEqual(['192.0.2.0/25', '198.51.100.0/24', '203.0.113.0/24']);
    expect(state.interfaces[0]?.lists[0]?.except).toEqual(['203.0.113.0/25']);
  });

  it('change with their set, also while the list stays the same object', () => {
    const feed = list('feed', refs);
    expect(entriesOf(run({ lists: [feed], cluster: sets(['192.0.2.0/24']) }))).toEqual(['192.0.2.0/24']);
    expect(entriesOf(run({ lists: [feed], cluster: sets(['203.0.113.0/24']) }))).toEqual(['203.0.113.0/24']);
    expect(entriesOf(run({ lists: [feed] }))).toEqual([]);
  });

  it('go at once when the list names no ConfigMap any more', () => {
    expect(entriesOf(run({ lists: [list('feed')], cluster: sets(['192.0.2.0/24']) }))).toEqual([]);
  });

  it('are told to be missing where the list comes out of a file', () => {
    const input = { policies: [], exceptions: [], host, nodeLabels: {}, neverBlock: [], nowMs: NOW_MS };
    expect(resolve({ ...input, lists: [list('feed', refs)] }).findings).toMatchObject([
      { code: 'NeedsCluster', severity: 'warning', object: 'IpBlocklist/feed', field: 'spec.configMapRefs' },
    ]);
  });

  it('are told when they cover what is never blocked', () => {
    const state = run({ lists: [list('feed', refs)], cluster: sets(['192.0.2.0/24']) });
    expect(state.findings).toMatchObject([{ code: 'NeverBlockOverlapsList', field: 'spec.configMapRefs' }]);
  });
});

describe('of policies of equal priority', () => {
  const young = policy('a', {}, '2029-01-02T00:00:00Z');
  const old = policy('b', {}, '2029-01-01T00:00:00Z');
  const twin = policy('c', {}, '2029-01-01T00:00:00Z');
  const governing = (state: ReturnType<typeof run>) => state.interfaces[0]?.policy?.name;
  const messages = (state: ReturnType<typeof run>) => state.findings.map(({ code, message }) => `${code}: ${message}`);

  it('the oldest governs, and that is no tie', () => {
    const state = run({ policies: [young, old] });
    expect(governing(state)).toBe('b');
    expect(messages(state)).toEqual([
      'PolicyConflicted: PortScanPolicy/a does not govern eth0: PortScanPolicy/b does, both have priority 0 and it is older',
    ]);
  });

  it('and age the name decides', () => {
    const state = run({ policies: [twin, old] });
    expect(governing(state)).toBe('b');
    expect(messages(state)).toContainEqual(expect.stringContaining('PolicyTieByName'));
  });

  it('the higher priority still comes first', () => {
    expect(governing(run({ policies: [policy('z', { priority: 1 }), old] }))).toBe('z');
  });

  it('in files the name decides: a time in one was copied out of another cluster', () => {
    const input = { policies: [young, old], lists: [], exceptions: [], host, nodeLabels: {}, neverBlock: [] };
    expect(governing(resolve({ ...input, nowMs: NOW_MS }))).toBe('a');
  });
});
