import { describe, expect, it } from 'vitest';
import { ReportIndex } from '../../reports/index.ts';
import { aNode, aPolicy, aReport, type ReportParts } from '../../testing/objects.ts';
import { newBlocks, newsOfPolicy, policyStatus } from './status.ts';

const now = Date.UTC(2026, 0, 1, 12);
const policy = aPolicy('web', { generation: 2 });

/** The status after what the nodes say, each of which is given by its report. */
function statusOf(reports: Readonly<Record<string, ReportParts>>, before = {}, object = policy) {
  const index = new ReportIndex({ staleAfterMs: 720_000, onChange: () => {} });
  const { name, uid, generation } = object.metadata;
  index.setTarget({ kind: 'PortScanPolicy', name, uid, generation, nodeSelector: object.nodeSelector }, 0);
  for (const [node, parts] of Object.entries(reports)) {
    index.setNode(aNode(node));
    index.setReport({ report: aReport(node, parts), atMs: 0, atWallMs: now, ageMs: 0 }, 0);
  }
  return policyStatus(object, index.view('PortScanPolicy/web', 0)!, before, [], now);
}

const said = (more: object = {}) => ({ policies: [{ name: 'web', generation: 2, ...more }] });
const blocks = [{ source: '192.0.2.7', secondsLeft: 540, packetsDropped: 12 }];

describe('the status of a policy', () => {
  it('tells who is blocked, where, why and until when', () => {
    const status = statusOf({
      a: { ...said({ blocked: 1, packetsDropped: 12 }), blocks },
      b: said(),
      c: said({ spared: 2 }),
    });
    expect(status).toMatchObject({
      observedGeneration: 2,
      nodes: { selected: 3, programmed: 3, failed: 0, stale: 0, noReport: 0 },
      summary: '3/3',
      blocked: { sources: 1, spared: 2, packetsDropped: 12 },
      blocks: [
        {
          source: '192.0.2.7',
          state: 'Blocked',
          nodes: ['a'],
          nodesTotal: 1,
          probes: 15,
          ports: [22, 80],
          since: '2026-01-01T11:59:00Z',
          until: '2026-01-01T12:09:00Z',
          packetsDropped: 12,
        },
      ],
    });
    expect(status.conditions!.map(({ type, status: value }) => `${type} ${value}`)).toEqual([
      'Accepted True',
      'Degraded False',
      'Programmed True',
    ]);
  });

  it('says of a refused policy what is wrong and that what was in force goes on', () => {
    const refused = aPolicy('web', { generation: 2, spec: { priority: -1 } });
    const status = statusOf({ a: said({ state: 'Invalid', message: 'its last good program stays' }) }, {}, refused);
    const [accepted, , programmed] = status.conditions!;
    expect(accepted).toMatchObject({ status: 'False', reason: 'Invalid', observedGeneration: 2 });
    expect(accepted!.message).toContain('spec.priority');
    expect(programmed).toMatchObject({ status: 'False', reason: 'Failed' });
    expect(programmed!.message).toContain('earlier version keep that in force');
  });

  it('is the same document when the same is so', () => {
    const first = statusOf({ a: { ...said(), blocks } });
    expect(statusOf({ a: { ...said(), blocks } }, structuredClone(first))).toEqual(first);
  });

  it('stays within what the schema admits, whatever nodes report', () => {
    const parts = said({ blocked: 1e12, packetsDropped: 1e300 });
    const status = statusOf({ a: parts, b: parts });
    expect(status.blocked!.sources).toBe(2 ** 31 - 1);
    expect(Number.isSafeInteger(status.blocked!.packetsDropped)).toBe(true);
  });
});

describe('news', () => {
  const before = statusOf({ a: { ...said({ blocked: 1 }), blocks } });
  const isNews = (reports: Readonly<Record<string, ReportParts>>) =>
    JSON.stringify(newsOfPolicy(statusOf(reports, before))) !== JSON.stringify(newsOfPolicy(before));

  it('are a new source, one that is gone, and one that is blocked elsewhere too', () => {
    expect(isNews({ a: { ...said(), blocks: [...blocks, { source: '192.0.2.8' }] } })).toBe(true);
    expect(isNews({ a: said() })).toBe(true);
    expect(isNews({ a: { ...said(), blocks }, b: { ...said(), blocks } })).toBe(true);
  });

  it('are not packets, probes and the time at which a block ends', () => {
    const later = [{ ...blocks[0]!, packetsDropped: 900, probes: 60, secondsLeft: 600 }];
    expect(isNews({ a: { ...said({ blocked: 1, packetsDropped: 900 }), blocks: later } })).toBe(false);
  });

  it('name the sources that were not blocked before', () => {
    const after = statusOf({ a: { ...said(), blocks: [...blocks, { source: '192.0.2.8' }] } }, before);
    expect(newBlocks(before, after).map(({ source }) => source)).toEqual(['192.0.2.8']);
  });
});
