import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import type { BlockRecord, DatapathView } from '../datapath/view.ts';
import { findingOf } from '../finding.ts';
import type { DesiredInterface, DesiredPolicy, DesiredState } from '../resolve/desired-state.ts';
import { buildNodeReport, manualBlockPolicy, type NodeReportInput } from './node-report.ts';
import { reportBounds } from './report-size.ts';

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
  entries: ['203.0.113.0/24', '203.0.113.0/24'],
  except: [],
};
const eth0: DesiredInterface = { ifindex: 2, name: 'eth0', policy, conflicted: ['db'], allow: [], lists: [list] };
const eth1: DesiredInterface = { ...eth0, ifindex: 3, name: 'eth1', conflicted: [], lists: [] };
const desired: DesiredState = {
  interfaces: [eth0, eth1],
  neverBlock: [],
  onLink: [],
  ownAddresses: [],
  owners: [
    { kind: 'PortScanPolicy', name: 'db' },
    { kind: 'PortScanPolicy', name: 'idle' },
    { kind: 'PortScanPolicy', name: 'web' },
    { kind: 'IpBlocklist', name: 'bad' },
  ],
  exceptions: [{ name: 'let-in', cidr: '192.0.2.7/32' }],
  findings: [],
};
const view: DatapathView = {
  interfaces: [
    { ifindex: 2, name: 'eth0', mode: 'native', programId: 71, policy: 'web', verifiedInstructions: 900 },
    { ifindex: 3, name: 'eth1', mode: 'generic', programId: 72, policy: 'web', verifiedInstructions: 900 },
  ],
  counters: [
    { ownerKind: 'PortScanPolicy', ownerName: 'web', verdict: 'drop', reason: 'scan-blocked', packets: 40 },
    { ownerKind: 'PortScanPolicy', ownerName: 'web', verdict: 'drop', reason: 'scan-detected', packets: 2 },
    { ownerKind: 'PortScanPolicy', ownerName: 'web', verdict: 'pass', reason: 'new-connection', packets: 500 },
    { ownerKind: 'IpBlocklist', ownerName: 'bad', verdict: 'drop', reason: 'list', packets: 7 },
  ],
  losses: { 'ring-full': 3, 'block-evicted': 0 },
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
  sinceMs: now - 8400,
  untilMs: now + 591_600,
  packetsDropped: 985,
};
const input: NodeReportInput = {
  nodeName: 'node-1',
  nodeUid: 'a1b2',
  version: '1.2.3',
  startedAtMs: now - 3_600_000,
  nowMs: now,
  lastApply: { atMs: now - 1000, durationMs: 41.6 },
  desired,
  view,
  blocks: [block],
  findings: [],
  refused: [],
  generations: new Map([
    ['PortScanPolicy/web', 4],
    ['PortScanPolicy/db', 1],
    ['PortScanPolicy/idle', 2],
    ['IpBlocklist/bad', 6],
  ]),
  prefixSets: new Map([['bad', { digest: 'd'.repeat(64) }]]),
};

const statusOf = (changes: Partial<NodeReportInput> = {}) => buildNodeReport({ ...input, ...changes }).status;
const policyOf = (name: string, changes: Partial<NodeReportInput> = {}) =>
  statusOf(changes).policies.find((each) => each.name === name);

const crd = parse(readFileSync(new URL('../../crds/nodereports.yaml', import.meta.url), 'utf8'));
/** Closed everywhere, so that a field that the server would drop shows. */
const closed = (schema: unknown): unknown => {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const copy = Object.fromEntries(
    Object.entries(schema)
      .filter(([key]) => !key.startsWith('x-kubernetes') && key !== 'format')
      .map(([key, value]) => [key, closed(value)]),
  );
  return 'properties' in copy ? { ...copy, additionalProperties: false } : copy;
};
const schemaOf = new Ajv({ strict: false }).compile(
  closed(crd.spec.versions[0].schema.openAPIV3Schema.properties.status) as object,
);
const expectFits = (report: ReturnType<typeof buildNodeReport>) => {
  schemaOf(report.status);
  expect(schemaOf.errors ?? []).toEqual([]);
  expect(Buffer.byteLength(JSON.stringify(report))).toBeLessThanOrEqual(16 * 1024);
};

test('is named after its Node and owned by it, without which it has no owner', () => {
  expect(buildNodeReport(input)).toMatchObject({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'NodeReport',
    metadata: { name: 'node-1', ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'node-1', uid: 'a1b2' }] },
  });
  const { nodeUid: _uid, ...unknown } = input;
  expect(buildNodeReport(unknown).metadata).toEqual({ name: 'node-1' });
});

test('says what is so, as the schema wants it', () => {
  const report = buildNodeReport({ ...input, bootId: 'b', layoutVersion: 4 });
  expectFits(report);
  expect(report.status).toEqual({
    observedAt: '2030-01-01T12:00:00Z',
    state: 'Enforcing',
    mode: 'Mixed',
    agent: { version: '1.2.3', startedAt: '2030-01-01T11:00:00Z', bootId: 'b', layoutVersion: 4 },
    policiesProgrammed: 2,
    interfacesTotal: 2,
    interfaces: [
      { name: 'eth0', mode: 'Native', policy: 'web', lists: ['bad'], programId: 71 },
      { name: 'eth1', mode: 'Generic', policy: 'web', programId: 72 },
    ],
    policies: [
      { name: 'db', generation: 1, state: 'Conflicted', conflicted: ['eth0'] },
      { name: 'idle', generation: 2, state: 'NoInterface' },
      { name: 'web', generation: 4, state: 'Programmed', blocked: 1, packetsDropped: 42 },
    ],
    lists: [
      { name: 'bad', generation: 6, state: 'Programmed', prefixSet: 'd'.repeat(64), entries: 1, packetsDropped: 7 },
    ],
    blocks: {
      blocked: 1,
      newest: [
        {
          source: '198.51.100.200',
          policy: 'web',
          state: 'Blocked',
          proven: true,
          interface: 'eth0',
          probes: 15,
          ports: [443, 80],
          since: '2030-01-01T11:59:51Z',
          until: '2030-01-01T12:09:52Z',
          secondsLeft: 592,
          packetsDropped: 985,
        },
      ],
    },
    tables: [{ name: 'blocks', used: 1, max: 65_536 }],
    losses: [{ name: 'ring-full', count: 3 }],
    exceptions: ['let-in'],
    findingsTotal: 0,
    findings: [],
  });
});

test('the state tells before, after and instead of enforcing', () => {
  const { lastApply: _none, ...before } = input;
  expect(buildNodeReport(before).status.state).toBe('Starting');
  expect(statusOf({ lastApply: { atMs: now, durationMs: 1, error: 'no memory' } }).state).toBe('Failed');
  expect(statusOf({ view: { ...view, interfaces: [] } })).toMatchObject({ state: 'Failed', mode: 'None' });
  expect(statusOf({ desired: { ...desired, interfaces: [] } }).state).toBe('Enforcing');
  expect(statusOf({ breakGlass: 'File' })).toMatchObject({ state: 'Detached', breakGlass: 'File' });
});

test('a foreign program is named with its number, and what was to hold there failed', () => {
  const [attached] = view.interfaces;
  const changes = {
    view: { ...view, interfaces: [attached!] },
    findings: [findingOf('ForeignXdpProgram', 'eth1: another XDP program is attached', { interfaceName: 'eth1' })],
    links: [{ ifindex: 3, xdp: { mode: 'native', programId: 9 } }] as const,
  };
  expect(statusOf(changes).interfaces![0]).toEqual({
    name: 'eth1',
    mode: 'None',
    foreignProgramId: 9,
    error: 'eth1: another XDP program is attached',
  });
  expect(policyOf('web', changes)).toMatchObject({
    state: 'Failed',
    generation: 4,
    message: 'eth1: another XDP program is attached',
  });
  expect(statusOf(changes).lists[0]).toMatchObject({ state: 'Programmed' });
});

test('an interface that still runs the policy before, or nothing yet, is pending', () => {
  const [attached, other] = view.interfaces;
  const old = { ...view, interfaces: [{ ...attached!, policy: 'db' }, other!] };
  expect(policyOf('web', { view: old })).toMatchObject({ state: 'Pending', message: 'not attached yet: eth0' });
  expect(policyOf('web', { view: { ...view, interfaces: [attached!] } })).toMatchObject({ state: 'Pending' });
});

test.each(['Invalid', 'UnknownField'] as const)(
  'a refused generation reads %s, and whether an earlier one stays',
  (state) => {
    const refused = { kind: 'PortScanPolicy', generation: 9, state, message: 'spec.x: no such field' } as const;
    const both = {
      refused: [
        { ...refused, name: 'web', hasLastGood: true },
        { ...refused, name: 'new', hasLastGood: false },
      ],
    };
    expect(policyOf('web', both)).toMatchObject({
      state,
      generation: 9,
      message: 'spec.x: no such field; its last good program stays',
      blocked: 1,
    });
    expect(policyOf('new', both)).toMatchObject({
      state,
      generation: 9,
      message: expect.stringContaining('no earlier one'),
    });
  },
);

test('what the newest apply could not bring is reported as failed with its own generation, never as programmed', () => {
  const failed = {
    lastApply: { atMs: now, durationMs: 1, error: 'no memory' },
    wantedGenerations: new Map([
      ['PortScanPolicy/web', 5],
      ['IpBlocklist/late', 1],
    ]),
  };
  expect(policyOf('web', failed)).toMatchObject({ state: 'Failed', generation: 5, message: 'no memory' });
  expect(statusOf(failed).lists).toContainEqual({ name: 'late', generation: 1, state: 'Failed', message: 'no memory' });
  const notYet = { wantedGenerations: new Map([['PortScanPolicy/web', 5]]) };
  expect(policyOf('web', notYet)).toMatchObject({ state: 'Programmed', generation: 4 });
});

test('with break-glass nothing is programmed, and the report says what asks for it', () => {
  const changes = { breakGlass: 'NodeAnnotation', view: { ...view, interfaces: [] } } as const;
  expect(policyOf('web', changes)).toMatchObject({ state: 'Failed', message: expect.stringContaining('annotation') });
  expect(statusOf(changes)).toMatchObject({ policiesProgrammed: 0, mode: 'None' });
  expect(statusOf(changes).interfaces![0]).toMatchObject({
    mode: 'None',
    error: expect.stringContaining('break-glass'),
  });
});

test('a list without room in the tables failed', () => {
  const findings = [findingOf('TableFull', 'no owner id is left', { object: 'IpBlocklist/bad' })];
  expect(statusOf({ findings }).lists[0]).toMatchObject({ state: 'Failed', message: 'no owner id is left' });
});

test('of many blocks the 20 newest are listed, those that drop first, and all are counted', () => {
  const blocks = Array.from({ length: 30 }, (_, i) => ({ ...block, source: `10.0.0.${i}`, sinceMs: now - 1000 * i }));
  const spared = Array.from({ length: 5 }, (_, i) => ({ ...block, source: `10.1.0.${i}`, state: 'spared' as const }));
  const expired = { ...block, untilMs: now };
  const status = statusOf({ blocks: [...blocks.slice(0, 18).toReversed(), ...spared, expired] });
  expect(status.blocks).toMatchObject({ blocked: 18, spared: 5 });
  expect(status.blocks.newest).toHaveLength(20);
  expect(status.blocks.newest.filter(({ state }) => state === 'Blocked')).toHaveLength(18);
  expect(status.blocks.newest[0]!.source).toBe('10.0.0.0');
  expect(status.truncated).toBe(true);
  const many = statusOf({ blocks: [...blocks, ...spared] }).blocks.newest;
  expect(many.map(({ source }) => source)).toEqual(blocks.slice(0, 20).map(({ source }) => source));
});

test('a block by hand is listed under no policy', () => {
  const manual: BlockRecord = { ...block, by: { kind: 'Manual', name: 'manual' }, probes: 0, ports: [] };
  const status = statusOf({ blocks: [manual] });
  expect(status.blocks.newest[0]).toMatchObject({ policy: manualBlockPolicy });
  expect(status.blocks.newest[0]).not.toHaveProperty('proven');
  expect(policyOf('web', { blocks: [manual] })).not.toHaveProperty('blocked');
});

test('errors are listed before warnings, and that a report was not written is never in one', () => {
  const findings = [
    findingOf('NoInterfaceMatches', 'w'),
    findingOf('AttachFailed', 'e', { interfaceName: 'eth0', object: 'PortScanPolicy/web' }),
    findingOf('ReportNotWritten', 'away'),
  ];
  expect(statusOf({ findings })).toMatchObject({
    findingsTotal: 2,
    findings: [
      { code: 'AttachFailed', severity: 'error', message: 'e', object: 'PortScanPolicy/web', interface: 'eth0' },
      { code: 'NoInterfaceMatches', severity: 'warning', message: 'w' },
    ],
  });
});

const long = (text: string, i: number) => `${text}-${i}-`.padEnd(253, 'x');
const wide = (policies: number, name: (i: number) => string, changes: Partial<NodeReportInput> = {}) => {
  const owners = Array.from({ length: policies }, (_, i) => ({ kind: 'PortScanPolicy' as const, name: name(i) }));
  return buildNodeReport({
    ...input,
    desired: { ...desired, owners, interfaces: [] },
    generations: new Map(owners.map((owner) => [`PortScanPolicy/${owner.name}`, 1])),
    ...changes,
  });
};

test('100 policies of usual names fit together with 20 blocks, and all of them are told', () => {
  const blocks = Array.from({ length: 20 }, (_, i) => ({
    ...block,
    source: `2001:db8:0:${i}::/64`,
    ports: [22, 23, 25, 80, 443, 8080],
  }));
  const report = wide(100, (i) => `protect-web-${i}`, { blocks });
  expectFits(report);
  expect(report.status.policies).toHaveLength(100);
  expect(report.status.blocks.newest).toHaveLength(20);
  expect(report.status).not.toHaveProperty('truncated');
});

test('what is too much is given up in order: words and lists first, policies and what became of them last', () => {
  const findings = Array.from({ length: 40 }, (_, i) =>
    findingOf('AttachFailed', 'm'.repeat(300), { interfaceName: `e${i}` }),
  );
  const blocks = Array.from({ length: 20 }, (_, i) => ({ ...block, source: `10.0.0.${i}` }));
  const some = wide(60, (i) => `p${i}`, { findings, blocks });
  expectFits(some);
  expect(some.status).toMatchObject({ truncated: true, findingsTotal: 40 });
  expect(some.status.policies).toHaveLength(60);
  expect(some.status.blocks.newest).toHaveLength(20);
  const most = wide(200, (i) => `policy-of-a-longer-name-${i}`, { findings, blocks });
  expectFits(most);
  expect(most.status.policies).toHaveLength(200);
  expect(most.status.blocks).toMatchObject({ blocked: 20 });
});

test('of some hundred policies with the longest names those that somebody must look at stay', () => {
  const failing = { kind: 'PortScanPolicy', generation: 2, state: 'Invalid', message: 'm', hasLastGood: true } as const;
  const report = wide(200, (i) => long('p', i), { refused: [{ ...failing, name: long('p', 199) }] });
  expectFits(report);
  expect(report.status.policies.length).toBeGreaterThan(40);
  expect(report.status.policies).toContainEqual(expect.objectContaining({ name: long('p', 199), state: 'Invalid' }));
});

test('whatever there is to tell, the report fits the schema and its size', () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 400 });
  const name = fc.string({ unit: fc.constantFrom('a', 'b', '-', '7'), minLength: 1, maxLength: 253 });
  const count = fc.integer({ min: 0, max: 40 });
  fc.assert(
    fc.property(
      fc.array(name, { maxLength: 250 }),
      fc.array(text, { maxLength: 40 }),
      count,
      count,
      (names, texts, b, n) => {
        const owners = names.map((each, i) => ({
          kind: i % 2 ? ('IpBlocklist' as const) : ('PortScanPolicy' as const),
          name: each,
        }));
        const interfaces = Array.from({ length: n }, (_, i) => ({
          ...eth0,
          ifindex: i,
          name: `if${i}`,
          conflicted: names.slice(0, 20),
          lists: names.slice(0, 30).map((each) => ({ ...list, name: each })),
        }));
        const report = buildNodeReport({
          ...input,
          desired: {
            ...desired,
            owners,
            interfaces,
            exceptions: names.map((each) => ({ name: each, cidr: '192.0.2.7/32' })),
          },
          findings: texts.map((message) =>
            findingOf('AttachFailed', message, { object: `PortScanPolicy/${message.slice(0, 300)}` }),
          ),
          blocks: Array.from({ length: b }, (_, i) => ({ ...block, source: `10.0.0.${i}`, ports: Array(16).fill(i) })),
          view: { ...view, losses: Object.fromEntries(texts.map((each) => [each, 1])) },
        });
        expectFits(report);
        expect(report.status.blocks.newest.length).toBeLessThanOrEqual(reportBounds.blocks);
      },
    ),
    { numRuns: 60 },
  );
});
