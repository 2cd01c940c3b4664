import { expect, test } from 'vitest';
import { formatStatus, type StatusReport } from './format-status.ts';

const report: StatusReport = {
  pinPath: '/sys/fs/bpf/portcullis',
  agentRunning: true,
  view: {
    interfaces: [
      { ifindex: 2, name: 'eth0', mode: 'native', programId: 71, policy: 'web', verifiedInstructions: 10_234 },
      { ifindex: 3, name: 'eth1', mode: 'generic', programId: 172, verifiedInstructions: 0 },
    ],
    counters: [
      { ownerKind: 'PortScanPolicy', ownerName: 'web', verdict: 'pass', reason: 'new-connection', packets: 10 },
      { ownerKind: 'PortScanPolicy', ownerName: 'web', verdict: 'drop', reason: 'scan-blocked', packets: 985 },
      { ownerKind: 'Node', ownerName: '', verdict: 'drop', reason: 'manual', packets: 1200 },
      { ownerKind: 'IpBlocklist', ownerName: 'bad', verdict: 'drop', reason: 'list', packets: 0 },
    ],
    losses: { 'ring-full': 3, 'block-evicted': 0 },
    tables: [
      { table: 'blocks', entries: 1, capacity: 65_536 },
      { table: 'owners', entries: 255, capacity: 256 },
      { table: 'manual-blocks', entries: 4096, capacity: 4096 },
      { table: 'sources', entries: 0, capacity: 65_536 },
    ],
  },
  findings: [
    {
      code: 'GenericFallback',
      severity: 'warning',
      message: 'native mode was refused: "MTU\x1b[2J too large"',
      remedy: 'Lower the MTU.',
      interfaceName: 'eth1',
    },
  ],
};

test('shows interfaces, drops, tables, losses and findings with what to do', () => {
  expect(formatStatus(report, 'text')).toBe(`Pin path: /sys/fs/bpf/portcullis
Agent: running

Interfaces:
  INTERFACE  MODE     PROGRAM  INSTRUCTIONS  POLICY
  eth0       native        71        10,234  web
  eth1       generic      172             -  (lists only)

Dropped packets:
  PACKETS  VERDICT  REASON        BY
    1,200  drop     manual        Node
      985  drop     scan-blocked  PortScanPolicy/web

Tables:
  TABLE          ENTRIES  CAPACITY   FULL
  blocks               1    65,536   <1 %
  owners             255       256   99 %
  manual-blocks    4,096     4,096  100 %
  sources              0    65,536    0 %

Lost:
  3  ring-full

Findings:
  warning GenericFallback eth1: native mode was refused: "MTU\\u{1b}[2J too large"
    Lower the MTU.
`);
});

test('says what is not there instead of leaving it out', () => {
  const empty = { interfaces: [], counters: [], losses: {}, tables: [] };
  const text = formatStatus({ ...report, agentRunning: false, view: empty, findings: [] }, 'text');
  expect(text).toContain('Agent: not running; what is attached stays in force');
  for (const title of ['Interfaces', 'Dropped packets', 'Tables', 'Lost', 'Findings'])
    expect(text).toContain(`${title}:\n  none\n`);
});

test('JSON has everything, passed packets included', () => {
  const { view, ...rest } = report;
  expect(JSON.parse(formatStatus(report, 'json'))).toEqual({ ...rest, ...view });
});
