import { describe, expect, it } from 'vitest';
import { summarize } from './honest-client.ts';
import { movedSeries } from './metrics.ts';
import { parseScan } from './scan.ts';

describe("nmap's XML", () => {
  const port = (id: number, state: string) =>
    `<port protocol="tcp" portid="${id}"><state state="${state}" reason="x"/></port>`;
  const finished = '<runstats><finished time="1" exit="success"/></runstats>';

  it('gives the open ports and how many answered at all', () => {
    const xml = `<ports><extraports state="filtered" count="986"/>${port(22, 'open')}${port(25, 'closed')}${port(80, 'open')}</ports>${finished}`;
    expect(parseScan(xml)).toEqual({ open: [22, 80], answered: 3, probed: 989 });
  });

  it('counts closed ports that nmap only sums up as answered', () => {
    const xml = `<ports><extraports state="closed" count="999"/>${port(80, 'open')}</ports>${finished}`;
    expect(parseScan(xml)).toEqual({ open: [80], answered: 1000, probed: 1000 });
  });

  it('is refused when nmap did not finish', () => {
    expect(() => parseScan(port(22, 'open'))).toThrow(/did not finish/);
  });
});

describe('metrics that moved', () => {
  it('are those whose value changed, new ones from zero', () => {
    const before = '# HELP a x\na_total{reason="scan blocked"} 3\nb 1\nc 5\n';
    const after = 'a_total{reason="scan blocked"} 10\nb 1\nc 6\nd{x="y"} 2\n';
    expect(movedSeries(before, after, (series) => series !== 'c')).toEqual([
      { series: 'a_total{reason="scan blocked"}', before: 3, after: 10 },
      { series: 'd{x="y"}', before: 0, after: 2 },
    ]);
  });
});

describe('the honest client', () => {
  it('counts what failed and the slowest request, without a line that was cut off', () => {
    expect(summarize('200 0.001\n200 0.025\n000 2.001\n200 0.0')).toEqual({ requests: 3, failed: 1, slowestMs: 2001 });
  });
});
