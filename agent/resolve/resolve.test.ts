import { describe, expect, it } from 'vitest';
import type { IpBlocklist, IpBlocklistSpec, PortScanPolicy, PortScanPolicySpec } from '../../api/types.ts';
import type { HostSnapshot } from '../host/snapshot.ts';
import { type ResolveInput, resolve } from './resolve.ts';

const NOW_MS = Date.parse('2030-01-01T00:00:00Z');
const inSeconds = (seconds: number) => new Date(NOW_MS + seconds * 1_000).toISOString();

const host: HostSnapshot = {
  links: [
    { ifindex: 1, name: 'lo', type: 772, up: true, mtu: 65536 },
    { ifindex: 2, name: 'eth0', type: 1, up: true, mtu: 1500 },
    { ifindex: 3, name: 'eth1', type: 1, up: false, mtu: 1500 },
  ],
  addresses: [{ ifindex: 2, address: '192.0.2.2', prefixLength: 24, broadcast: '192.0.2.255' }],
  routes: [
    { family: 4, destination: '0.0.0.0/0', ifindex: 2, gateway: '192.0.2.1', table: 254, metric: 0 },
    { family: 6, destination: '2001:db8::/64', ifindex: 2, table: 254, metric: 256 },
  ],
  resolvers: ['192.0.2.53'],
};

const policy = (name: string, spec: Partial<PortScanPolicySpec> = {}): PortScanPolicy => ({
  apiVersion: 'portcullis.dev/v1alpha1',
  kind: 'PortScanPolicy',
  metadata: { name },
  spec: {
    priority: 0,
    interfaces: { roles: ['DefaultRoute'] },
    mode: 'Enforce',
    detection: { distinctTargets: 15, window: '60s', destinations: 'NodeAddresses', ipv6PrefixLength: 64 },
    block: { duration: '10m', unprovenDuration: '60s', traffic: 'NewConnections' },
    allow: [],
    connectionLog: 'None',
    ...spec,
  },
});
const list = (name: string, spec: Partial<IpBlocklistSpec> = {}): IpBlocklist => ({
  apiVersion: 'portcullis.dev/v1alpha1',
  kind: 'IpBlocklist',
  metadata: { name },
  spec: {
    interfaces: { roles: ['DefaultRoute'] },
    mode: 'Enforce',
    traffic: 'All',
    entries: [],
    configMapRefs: [],
    except: [],
    allowWide: false,
    ...spec,
  },
});
const run = (input: Partial<ResolveInput>) =>
  resolve({ policies: [], lists: [], exceptions: [], host, nodeLabels: {}, neverBlock: [], nowMs: NOW_MS, ...input });
const messages = (state: ReturnType<typeof run>, code: string) =>
  state.findings.filter((each) => each.code === code).map(({ message }) => message);

describe('resolve', () => {
  it('wants nothing of the kernel without policies, but knows the host', () => {
    const state = run({});
    expect(state).toMatchObject({ interfaces: [], owners: [], findings: [] });
    expect(state.ownAddresses).toEqual(['192.0.2.2']);
    expect(state.onLink).toEqual(['2001:db8::/64']);
    expect(state.neverBlock.map(({ cidr }) => cidr)).toContain('192.0.2.1/32');
  });

  it('turns durations into milliseconds and words into facts', () => {
    const state = run({ policies: [policy('web', { mode: 'Monitor', connectionLog: 'All' })] });
    expect(state.interfaces).toEqual([
      {
        ifindex: 2,
        name: 'eth0',
        policy: {
          name: 'web',
          enforce: false,
          distinctTargets: 15,
          windowMs: 60_000,
          allDestinations: false,
          ipv6PrefixLength: 64,
          blockDurationMs: 600_000,
          unprovenDurationMs: 60_000,
          blockAllTraffic: false,
          logConnections: true,
        },
        conflicted: [],
        allow: [],
        lists: [],
      },
    ]);
  });

  it('never blocks the unproven for longer than the proven', () => {
    const block = { duration: '5s', unprovenDuration: '60s', traffic: 'All' as const };
    const [only] = run({ policies: [policy('web', { block })] }).interfaces;
    expect(only!.policy).toMatchObject({ blockDurationMs: 5_000, unprovenDurationMs: 5_000, blockAllTraffic: true });
  });

  it('lets one policy govern an interface: by priority, then by name', () => {
    const all = { interfaces: { patterns: ['eth*'] } };
    const state = run({
      policies: [
        policy('b', { ...all, priority: 5 }),
        policy('c', { ...all, priority: 5 }),
        policy('a', { priority: 1 }),
        policy('only-eth1', { interfaces: { names: ['eth1'] }, priority: 9 }),
      ],
    });
    expect(
      state.interfaces.map(({ name, policy: governing, conflicted }) => [name, governing?.name, conflicted]),
    ).toEqual([
      ['eth0', 'b', ['c', 'a']],
      ['eth1', 'only-eth1', ['b', 'c']],
    ]);
    expect(messages(state, 'PolicyConflicted')).toEqual([
      'PortScanPolicy/c does not govern eth0: PortScanPolicy/b does, both have priority 5 and its name comes first',
      'PortScanPolicy/a does not govern eth0: PortScanPolicy/b does, priority 5 against 1',
      'PortScanPolicy/b does not govern eth1: PortScanPolicy/only-eth1 does, priority 9 against 5',
      'PortScanPolicy/c does not govern eth1: PortScanPolicy/only-eth1 does, priority 9 against 5',
    ]);
    expect(messages(state, 'PolicyTieByName')).toEqual([
      'PortScanPolicy/b governs eth0 rather than PortScanPolicy/c by its name alone: both have priority 5',
    ]);
    expect(state.findings.find(({ code }) => code === 'PolicyConflicted')).toMatchObject({
      object: 'PortScanPolicy/c',
      interfaceName: 'eth0',
      severity: 'warning',
    });
  });

  it('gives the same state whatever the order of the objects', () => {
    const policies = [policy('b'), policy('a'), policy('c', { priority: 1 })];
    const lists = [list('y', { entries: [{ cidr: '198.51.100.0/24' }] }), list('x')];
    expect(run({ policies: [...policies].reverse(), lists: [...lists].reverse() })).toEqual(run({ policies, lists }));
  });

  it('spares what any policy of the interface allows, governing or not, as long as the longest of them', () => {
    const state = run({
      policies: [
        policy('a', { allow: [{ cidr: '198.51.100.0/24', expiresAt: inSeconds(10) }, { cidr: '10.0.0.0/8' }] }),
        policy('b', { allow: [{ cidr: '198.51.100.0/24', expiresAt: inSeconds(20) }] }),
        policy('elsewhere', { interfaces: { names: ['eth1'] }, allow: [{ cidr: '203.0.113.0/24' }] }),
      ],
    });
    expect(state.interfaces[0]!.allow).toEqual([
      { cidr: '198.51.100.0/24', expiresAtMs: NOW_MS + 20_000 },
      { cidr: '10.0.0.0/8' },
    ]);
  });

  it('leaves out what has expired and says when the next will', () => {
    const entries = [
      { cidr: '198.51.100.1/32', expiresAt: inSeconds(-1) },
      { cidr: '198.51.100.2/32', expiresAt: inSeconds(0) },
      { cidr: '198.51.100.3/32', expiresAt: inSeconds(30) },
      { cidr: '198.51.100.4/32' },
    ];
    const except = [{ cidr: '198.51.100.3/32', expiresAt: inSeconds(7) }];
    const state = run({ lists: [list('feed', { entries, except })] });
    expect(state.interfaces[0]!.lists).toEqual([
      {
        name: 'feed',
        enforce: true,
        allTraffic: true,
        entries: ['198.51.100.3/32', '198.51.100.4/32'],
        except: ['198.51.100.3/32'],
      },
    ]);
    expect(state.nextChangeAtMs).toBe(NOW_MS + 7_000);
    expect(run({ lists: [list('feed', { entries: [{ cidr: '198.51.100.4/32' }] })] }).nextChangeAtMs).toBeUndefined();
  });

  it('lets the latest expiry of duplicates hold, and none is later than any', () => {
    const twice = (first?: string, second?: string) =>
      run({
        lists: [
          list('feed', {
            entries: [first, second].map((expiresAt) => ({ cidr: '198.51.100.1/32', ...(expiresAt && { expiresAt }) })),
          }),
        ],
      });
    for (const state of [
      twice(inSeconds(5), inSeconds(9)),
      twice(inSeconds(9), inSeconds(5)),
      twice(inSeconds(9), inSeconds(-5)),
    ]) {
      expect(state.interfaces[0]!.lists[0]!.entries).toEqual(['198.51.100.1/32']);
      expect(state.nextChangeAtMs).toBe(NOW_MS + 9_000);
    }
    expect(twice(inSeconds(5), undefined).nextChangeAtMs).toBeUndefined();
    expect(twice(undefined, inSeconds(5)).nextChangeAtMs).toBeUndefined();
  });

  it('keeps what it made of a list until something of it changes, and makes it anew when the clock goes back', () => {
    const feed = list('feed', { entries: [{ cidr: '198.51.100.1/32', expiresAt: inSeconds(10) }] });
    const listAt = (nowMs: number) => run({ lists: [feed], nowMs }).interfaces[0]!.lists[0]!;
    const first = listAt(NOW_MS);
    expect(listAt(NOW_MS + 9_999)).toBe(first);
    expect(listAt(NOW_MS + 10_000).entries).toEqual([]);
    expect(listAt(NOW_MS).entries).toEqual(['198.51.100.1/32']);
  });

  it('takes the objects whose selector matches the labels of the node', () => {
    const selector = { nodeSelector: { matchLabels: { role: 'edge' } } };
    const objects = { policies: [policy('web', selector)], lists: [list('feed', selector)] };
    expect(run({ ...objects, nodeLabels: { role: 'core' } })).toMatchObject({ interfaces: [], owners: [] });
    expect(run({ ...objects, nodeLabels: { role: 'edge' } }).owners).toEqual([
      { kind: 'PortScanPolicy', name: 'web' },
      { kind: 'IpBlocklist', name: 'feed' },
    ]);
  });

  it('guards an interface that only a list selects, without a policy', () => {
    const [only] = run({ lists: [list('feed', { interfaces: { names: ['eth1'] } })] }).interfaces;
    expect(only).toMatchObject({ name: 'eth1', conflicted: [] });
    expect(only).not.toHaveProperty('policy');
  });

  it('says which object finds no interface, and which asks for one that cannot be guarded', () => {
    const state = run({
      policies: [policy('tunnel', { interfaces: { names: ['lo', 'wg0'] } })],
      lists: [list('feed', { interfaces: { names: ['eth1', 'lo'] } })],
    });
    expect(messages(state, 'NoInterfaceMatches')).toEqual([
      'PortScanPolicy/tunnel selects no interface of this node that can be guarded; lo is a loopback interface, not of Ethernet type',
    ]);
    expect(messages(state, 'InterfaceUnsupported')).toEqual([
      'PortScanPolicy/tunnel selects lo, which is a loopback interface, not of Ethernet type',
      'IpBlocklist/feed selects lo, which is a loopback interface, not of Ethernet type',
    ]);
    expect(state.owners).toHaveLength(2);
  });

  it('tells when a list names what is never blocked, unless it spares it itself', () => {
    const entries = [{ cidr: '198.51.100.0/24' }, { cidr: '192.0.2.0/24' }, { cidr: '224.0.0.0/4' }];
    const state = run({
      lists: [
        list('enforced', { entries }),
        list('watched', { entries, mode: 'Monitor' }),
        list('spared', { entries, except: [{ cidr: '192.0.2.0/24' }] }),
      ],
      neverBlock: ['198.51.100.7'],
    });
    const overlaps = state.findings.filter(({ code }) => code === 'NeverBlockOverlapsList');
    expect(overlaps.map(({ object }) => object)).toEqual(['IpBlocklist/enforced', 'IpBlocklist/spared']);
    expect(overlaps[0]).toMatchObject({ severity: 'info', field: 'spec.entries[0].cidr' });
    expect(overlaps[0]!.message).toBe(
      'IpBlocklist/enforced lists sources that are never blocked: 198.51.100.7/32 (configured) is inside 198.51.100.0/24, 192.0.2.1/32 (next-hop) is inside 192.0.2.0/24, 192.0.2.53/32 (resolver) is inside 192.0.2.0/24 and 2 more',
    );
  });

  it('reports a bad never-block setting and holds the others', () => {
    const state = run({ neverBlock: ['198.51.100.7', 'router', '203.0.113.0/24'] });
    expect(messages(state, 'BadSetting')).toHaveLength(1);
    expect(state.neverBlock.filter(({ kind }) => kind === 'configured').map(({ cidr }) => cidr)).toEqual([
      '198.51.100.7/32',
      '203.0.113.0/24',
    ]);
  });
});
