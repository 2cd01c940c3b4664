import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { BlockRecord, DatapathView } from '../datapath/view.ts';
import type { DesiredInterface, DesiredPolicy, DesiredState } from '../resolve/desired-state.ts';
import { buildStatus, type StatusInput, statusBounds } from './status.ts';

const now = Date.UTC(2030, 0, 1, 12);

const policy: DesiredPolicy = {
  name: 'web',
  enforce: true,
  distinctTargets: 15,
  windowMs: 60_000,
  allDestinations: false,
  ipv6PrefixLength: 64,
  blockDurationMs: 600_000,
  unprovenDurationMs: 60_000,
  blockAllTraffic: false,
  logConnections: false,
};

const list = {
  name: 'bad',
  enforce: true,
  allTraffic: true,
  entries: ['203.0.113.0/24', '2001:db8:bad::/48'],
  except: ['203.0.113.7/32'],
};
const eth0: DesiredInterface = {
  ifindex: 2,
  name: 'eth0',
  policy,
  conflicted: ['db'],
  allow: [{ cidr: '10.0.0.0/8' }],
  lists: [list],
};
const eth1: DesiredInterface = { ...eth0, ifindex: 3, name: 'eth1', conflicted: [] };

const desired: DesiredState = {
  interfaces: [eth0, eth1],
  neverBlock: [{ cidr: '192.0.2.1/32', kind: 'next-hop' }],
  onLink: [],
  ownAddresses: ['192.0.2.10'],
  exceptions: [],
  owners: [
    { kind: 'PortScanPolicy', name: 'db' },
    { kind: 'PortScanPolicy', name: 'web' },
    { kind: 'IpBlocklist', name: 'bad' },
  ],
  findings: [],
};

const view: DatapathView = {
  interfaces: [{ ifindex: 2, name: 'eth0', mode: 'native', programId: 71, policy: 'web', verifiedInstructions: 900 }],
  counters: [],
  losses: { 'ring-full': 3 },
  tables: [{ table: 'blocks', entries: 1, capacity: 65_536 }],
};

const block: BlockRecord = {
  source: '198.51.100.200',
  by: { kind: 'PortScanPolicy', name: 'web' },
  state: 'blocked',
  proven: true,
  probes: 15,
  ports: [443, 80],
  interfaceName: 'eth0',
  sinceMs: now - 8000,
  untilMs: now + 592_000,
  packetsDropped: 985,
};

const input: StatusInput = {
  version: '1.2.3',
  startedAtMs: now - 3_600_000,
  nowMs: now,
  lastApply: { atMs: now - 1000, durationMs: 41.6 },
  desired,
  view,
  blocks: [block],
  findings: [],
  generations: new Map([['PortScanPolicy/web', 4]]),
};

test('says when, which version, and how the last apply went', () => {
  expect(buildStatus(input)).toMatchObject({
    formatVersion: 1,
    version: '1.2.3',
    startedAt: '2030-01-01T11:00:00.000Z',
    writtenAt: '2030-01-01T12:00:00.000Z',
    lastApply: { at: '2030-01-01T11:59:59.000Z', ok: true, durationMs: 42, error: null },
  });
  const failed = { ...input, lastApply: { atMs: now, durationMs: 1, error: 'no memory' } };
  expect(buildStatus(failed).lastApply).toMatchObject({ ok: false, error: 'no memory' });
  const { lastApply: _none, ...before } = input;
  expect(buildStatus(before).lastApply).toBeNull();
});

test('an interface shows what is attached, and null where it is only wished for', () => {
  expect(buildStatus(input).interfaces).toEqual([
    {
      name: 'eth0',
      ifindex: 2,
      mode: 'native',
      programId: 71,
      verifiedInstructions: 900,
      policy: 'web',
      conflicted: ['db'],
      lists: ['bad'],
      allowEntries: 1,
    },
    expect.objectContaining({ name: 'eth1', mode: null, programId: null, policy: null, lists: ['bad'] }),
  ]);
});

test('an interface that is attached and no longer wanted is shown too', () => {
  const status = buildStatus({ ...input, desired: { ...desired, interfaces: [] } });
  expect(status.interfaces).toMatchObject([{ name: 'eth0', mode: 'native', policy: 'web', lists: [] }]);
});

test('a policy is programmed where it runs, pending where it does not yet, conflicted where another governs', () => {
  expect(buildStatus(input).policies).toEqual([
    { name: 'db', generation: null, programmed: [], pending: [], conflicted: ['eth0'] },
    { name: 'web', generation: 4, programmed: ['eth0'], pending: ['eth1'], conflicted: [] },
  ]);
});

test('an interface that still runs the policy before is pending for the new one', () => {
  const [attached] = view.interfaces;
  const old = { ...view, interfaces: [{ ...attached!, policy: 'db' }] };
  expect(buildStatus({ ...input, view: old }).policies[1]).toMatchObject({ programmed: [], pending: ['eth0', 'eth1'] });
});

test('a list shows where it holds and how much of it', () => {
  expect(buildStatus(input).lists).toEqual([
    { name: 'bad', generation: null, programmed: ['eth0'], pending: ['eth1'], entries: 2, except: 1 },
  ]);
});

test('blocks are the newest 100 with the total of all, expired ones left out', () => {
  const blocks = Array.from({ length: 300 }, (_, i) => ({
    ...block,
    source: `10.0.${i >> 8}.${i & 255}`,
    sinceMs: now - i,
  }));
  const expired = { ...block, untilMs: now };
  const spared = { ...block, state: 'spared' as const, sinceMs: now + 1 };
  const status = buildStatus({ ...input, blocks: [...blocks.reverse(), expired, spared] });
  expect(status.blocks.total).toBe(301);
  expect(status.blocks.byState).toEqual({ blocked: 300, 'would-block': 0, spared: 1 });
  expect(status.blocks.items).toHaveLength(statusBounds.blocks);
  expect(status.blocks.items[0]).toMatchObject({ state: 'spared' });
  expect(status.blocks.items.at(-1)).toMatchObject({ source: '10.0.0.98' });
});

test('a block tells who, why and until when', () => {
  expect(buildStatus(input).blocks.items).toEqual([
    {
      source: '198.51.100.200',
      kind: 'PortScanPolicy',
      policy: 'web',
      state: 'blocked',
      proven: true,
      probes: 15,
      ports: [443, 80],
      interface: 'eth0',
      since: '2030-01-01T11:59:52.000Z',
      until: '2030-01-01T12:09:52.000Z',
      packetsDropped: 985,
      reason: null,
    },
  ]);
});

test('stays below a megabyte with every table at its bound', () => {
  const long = 'x'.repeat(250);
  const finding = {
    code: 'UnknownField',
    severity: 'error',
    message: long,
    remedy: long,
    object: long,
    field: long,
  } as const;
  const status = buildStatus({
    ...input,
    desired: {
      ...desired,
      neverBlock: Array.from({ length: 5000 }, () => ({
        cidr: 'fd00:1111:2222:3333:4444:5555:6666:7777/128',
        kind: 'configured' as const,
      })),
      ownAddresses: Array.from({ length: 5000 }, () => 'fd00:1111:2222:3333:4444:5555:6666:7777'),
    },
    blocks: Array.from({ length: 65_536 }, () => ({ ...block, ports: new Array<number>(16).fill(65_535) })),
    findings: Array.from({ length: 5000 }, () => finding),
  });
  expect(status.findings.total).toBe(5000);
  expect(status.neverBlock.total).toBe(5000);
  expect(JSON.stringify(status, null, 2).length).toBeLessThan(1_000_000);
});

test('docs/status-file.md explains every field', () => {
  const page = readFileSync(new URL('../../docs/status-file.md', import.meta.url), 'utf8');
  const findings = [
    { code: 'NotRoot', severity: 'error', message: 'm', remedy: 'r', object: 'o', field: 'f', interfaceName: 'i' },
  ] as const;
  const status = buildStatus({ ...input, findings });
  const missing = [...fieldsOf(status)].filter((field) => !page.includes(`\`${field}\``));
  expect(missing).toEqual([]);
});

/** Names of all fields at any depth, but for those of maps whose keys are data. */
function fieldsOf(value: unknown): Set<string> {
  const names = new Set<string>();
  if (Array.isArray(value)) for (const item of value) for (const name of fieldsOf(item)) names.add(name);
  else if (typeof value === 'object' && value !== null) {
    for (const [name, child] of Object.entries(value)) {
      names.add(name);
      if (name !== 'losses') for (const inner of fieldsOf(child)) names.add(inner);
    }
  }
  return names;
}
