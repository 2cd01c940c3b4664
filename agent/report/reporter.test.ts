import fc from 'fast-check';
import { Registry } from 'prom-client';
import { afterEach, describe, expect, test } from 'vitest';
import type { NodeReportStatus } from '../../api/types/node-report.ts';
import { KubeError } from '../../kube/errors.ts';
import { FakeClock } from '../../kube/testing/fake-clock.ts';
import type { Finding } from '../finding.ts';
import type { NodeReportObject } from './node-report.ts';
import { registerReportMetrics } from './report-metrics.ts';
import { Reporter, type ReporterOptions } from './reporter.ts';

const minuteMs = 60_000;
const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

/** A report that is news whenever `scan` changes, and otherwise differs by `packets`. A change of `policy` was ordered. */
const reportOf = (scan: number, packets = 0, policy = 1): NodeReportObject => {
  const status: NodeReportStatus = {
    observedAt: '2030-01-01T12:00:00Z',
    state: 'Enforcing',
    agent: { version: '1', startedAt: '2030-01-01T11:00:00Z' },
    policies: [{ name: 'web', generation: policy, state: 'Programmed', packetsDropped: packets }],
    lists: [],
    findings: [{ code: 'Scan', severity: 'info', message: '', object: String(scan) }],
    blocks: { blocked: 0, newest: [] },
  };
  return { apiVersion: 'portcullis.dev/v1alpha1', kind: 'NodeReport', metadata: { name: 'n' }, status };
};

interface Write {
  readonly atMs: number;
  readonly scan: number;
  readonly packets: number;
}

function start(options: Partial<ReporterOptions> = {}) {
  const clock = new FakeClock();
  const writes: Write[] = [];
  const findings: (Finding | undefined)[] = [];
  const errors: unknown[] = [];
  const api: { answer: () => Promise<void> } = { answer: async () => {} };
  const attempts: number[] = [];
  const reporter = new Reporter({
    clock,
    random: () => 0.5,
    write: async ({ status }) => {
      attempts.push(clock.nowMs());
      const [policy] = status.policies;
      const scan = Number(status.findings![0]!.object);
      await api.answer();
      writes.push({ atMs: clock.nowMs(), scan, packets: policy!.packetsDropped! });
    },
    onFinding: (finding) => findings.push(finding),
    onError: (error) => errors.push(error),
    ...options,
  });
  const stop = new AbortController();
  const running = reporter.run(stop.signal);
  const end = async () => {
    stop.abort();
    await running;
  };
  stops.push(end);
  return { clock, reporter, writes, attempts, findings, errors, api, end };
}

const away = () => Promise.reject(new KubeError({ message: 'PATCH: ECONNREFUSED', code: 'ECONNREFUSED' }));
const refusal = (status: number, retryAfterMs?: number) => () =>
  Promise.reject(new KubeError({ message: `PATCH: ${status}`, status, retryAfterMs }));

describe('news after quiet', () => {
  test('goes at once, and what happens together is one report', async () => {
    const { clock, reporter, writes } = start();
    for (let scan = 1; scan <= 5; scan++) reporter.offer(() => reportOf(scan));
    await clock.advance(1000);
    expect(writes).toEqual([{ atMs: 204, scan: 5, packets: 0 }]);
  });

  test('goes at once although building it takes time', async () => {
    const still = new FakeClock();
    let spentMs = 0;
    const clock = {
      nowMs: () => still.nowMs() + spentMs,
      wallMs: () => still.wallMs(),
      startTimer: (delayMs: number, callback: () => void) => still.startTimer(delayMs, callback),
    };
    const { writes, reporter } = start({ clock });
    let builds = 0;
    reporter.offer(() => {
      if (++builds > 10) throw new Error('built again and again');
      spentMs += 3;
      return reportOf(1);
    });
    await still.advance(1000);
    expect({ builds, writes: writes.length }).toEqual({ builds: 1, writes: 1 });
  });

  test('comes after the reads of all nodes where these are many, and is spread', async () => {
    for (const [random, atMs] of [
      [0, 1200],
      [0.5, 2200],
      [0.999, 3198],
    ] as const) {
      const { clock, reporter, writes } = start({ nodeCount: 500, random: () => random });
      reporter.offer(() => reportOf(1));
      await clock.advance(5000);
      expect(Math.abs(writes[0]!.atMs - atMs)).toBeLessThan(5);
    }
  });

  test('nothing is written before anything was offered', async () => {
    const { clock, attempts } = start();
    await clock.advance(60 * minuteMs);
    expect(attempts).toEqual([]);
  });
});

describe('news without end', () => {
  test('takes the burst, then one write each 30 seconds, always of the newest', async () => {
    const { clock, reporter, writes } = start();
    for (let second = 0; second < 300; second++) {
      reporter.offer(() => reportOf(second));
      await clock.advance(1000);
    }
    expect(writes.length).toBeGreaterThanOrEqual(3 + 9);
    expect(writes.length).toBeLessThanOrEqual(3 + 10);
    const held = writes.filter(({ atMs }) => atMs > 5000);
    for (const { atMs, scan } of held) expect(scan).toBe(Math.ceil(atMs / 1000) - 1);
    expect(held[1]!.atMs - held[0]!.atMs).toBeCloseTo(30_000, -3);
  });

  test('costs a cluster of 5,000 nodes no more than 34 writes a second', async () => {
    const { clock, reporter, writes } = start({ nodeCount: 5000, burst: 1, renewMs: 24 * 60 * minuteMs });
    for (let second = 0; second < 3000; second += 5) {
      reporter.offer(() => reportOf(second));
      await clock.advance(5000);
    }
    expect((writes.length - 1) / 3000).toBeLessThan(34 / 5000);
    expect(writes.length).toBeGreaterThan(15);
  });

  test('a cluster that is found to be larger stretches the interval, and gives no new burst', async () => {
    const { clock, reporter, attempts } = start();
    for (let scan = 0; scan < 3; scan++) {
      reporter.offer(() => reportOf(scan));
      await clock.advance(1000);
    }
    expect(attempts).toHaveLength(3);
    reporter.setNodeCount(4096);
    reporter.offer(() => reportOf(3));
    await clock.advance(120_000);
    expect(attempts).toHaveLength(3);
    await clock.advance(20_000);
    expect(attempts).toHaveLength(4);
  });
});

describe('what people order', () => {
  test('without end, such as exceptions that end one each second, costs 5,000 nodes 234 writes a second at most', async () => {
    const { clock, reporter, writes } = start({
      nodeCount: 5000,
      burst: 1,
      orderedBurst: 1,
      renewMs: 24 * 60 * minuteMs,
    });
    for (let second = 0; second < 1000; second++) {
      reporter.offer(() => reportOf(0, 0, second));
      await clock.advance(1000);
    }
    expect((writes.length - 2) / 1000).toBeLessThan(234 / 5000);
    expect(writes.length).toBeGreaterThan(30);
  });

  test('is told at once in the midst of news without end', async () => {
    const { clock, reporter, writes } = start();
    for (let second = 0; second < 60; second++) {
      reporter.offer(() => reportOf(second));
      await clock.advance(1000);
    }
    const before = writes.length;
    reporter.offer(() => reportOf(60, 0, 2));
    await clock.advance(1000);
    expect(writes).toHaveLength(before + 1);
    expect(writes.at(-1)).toMatchObject({ scan: 60 });
  });

  test('has a bucket of its own: three at once, then one each 5 seconds, and spends nothing of the other', async () => {
    const { clock, reporter, writes } = start();
    reporter.offer(() => reportOf(1));
    await clock.advance(1000);
    for (let second = 0; second < 60; second++) {
      reporter.offer(() => reportOf(1, 0, 2 + second));
      await clock.advance(1000);
    }
    expect(writes.length).toBeGreaterThanOrEqual(1 + 3 + 11);
    expect(writes.length).toBeLessThanOrEqual(1 + 3 + 2 + 12 + 2);
  });
});

describe('a report without news', () => {
  test('is renewed every 5 minutes, give or take a fifth', async () => {
    for (const [random, ms] of [
      [0, 240_000],
      [0.5, 300_000],
      [0.999, 360_000],
    ] as const) {
      const { clock, reporter, writes } = start({ random: () => random });
      reporter.offer(() => reportOf(1));
      await clock.advance(30 * minuteMs);
      const gaps = writes.slice(1).map(({ atMs }, i) => atMs - writes[i]!.atMs);
      expect(gaps.length).toBeGreaterThanOrEqual(4);
      for (const gap of gaps) expect(Math.abs(gap - ms)).toBeLessThan(500);
    }
  });

  test('counts wait for the renewal, and are then the newest', async () => {
    const { clock, reporter, writes } = start();
    for (let second = 0; second < 299; second++) {
      reporter.offer(() => reportOf(1, second));
      await clock.advance(1000);
    }
    expect(writes).toHaveLength(1);
    expect(reporter.counts.suppressed).toBeGreaterThan(200);
    await clock.advance(2000);
    expect(writes[1]).toMatchObject({ packets: 298 });
  });

  test('an unchanged one is not even counted as suppressed', async () => {
    const { clock, reporter } = start();
    for (let second = 0; second < 100; second++) {
      reporter.offer(() => reportOf(1));
      await clock.advance(1000);
    }
    expect(reporter.counts).toMatchObject({ ok: 1, suppressed: 0 });
  });
});

describe('an API server that is away', () => {
  test('gets the newest report soon after it is back, and spends nothing meanwhile', async () => {
    const { clock, reporter, api, writes, attempts } = start();
    api.answer = away;
    for (let minute = 0; minute < 10; minute++) {
      reporter.offer(() => reportOf(minute));
      await clock.advance(minuteMs);
    }
    expect(attempts.length).toBeGreaterThan(10);
    expect(attempts.length).toBeLessThan(40);
    api.answer = async () => {};
    await clock.advance(30_000);
    expect(writes).toMatchObject([{ scan: 9 }]);
    reporter.offer(() => reportOf(10));
    await clock.advance(1000);
    reporter.offer(() => reportOf(11));
    await clock.advance(1000);
    expect(writes).toHaveLength(3);
  });

  test('is a finding when it lasts, once, and none any more when it is back', async () => {
    const { clock, reporter, api, findings, errors } = start();
    api.answer = away;
    reporter.offer(() => reportOf(1));
    await clock.advance(1500);
    expect(findings).toEqual([]);
    await clock.advance(5 * minuteMs);
    expect(findings).toMatchObject([{ code: 'ReportNotWritten', message: expect.stringContaining('ECONNREFUSED') }]);
    expect(errors.length).toBeGreaterThan(5);
    api.answer = async () => {};
    await clock.advance(minuteMs);
    expect(findings).toHaveLength(2);
    expect(findings[1]).toBeUndefined();
  });

  test('that hangs does not hinder the end', async () => {
    const { clock, reporter, api, attempts, end } = start();
    api.answer = () => new Promise(() => {});
    reporter.offer(() => reportOf(1));
    await clock.advance(1000);
    expect(attempts).toHaveLength(1);
    await end();
    expect(clock.timers).toBe(0);
  });
});

describe('an API server that refuses', () => {
  test.each([
    [403, /ClusterRole/],
    [404, /crds/],
    [422, /CustomResourceDefinitions/],
  ])('with %i is told once and at once, with what to do', async (status, remedy) => {
    const { clock, reporter, api, findings } = start();
    api.answer = refusal(status);
    reporter.offer(() => reportOf(1));
    await clock.advance(300);
    expect(findings).toMatchObject([{ code: 'ReportNotWritten', remedy: expect.stringMatching(remedy) }]);
    await clock.advance(20 * minuteMs);
    expect(findings).toHaveLength(1);
  });

  test('is asked again no sooner than it said', async () => {
    const { clock, reporter, api, attempts } = start();
    api.answer = refusal(429, 20_000);
    reporter.offer(() => reportOf(1));
    await clock.advance(1000);
    reporter.offer(() => reportOf(2));
    await clock.advance(19_000);
    expect(attempts).toHaveLength(1);
    await clock.advance(2000);
    expect(attempts).toHaveLength(2);
  });

  test('is not asked more often than by the bucket, also when a renewal fails', async () => {
    const { clock, reporter, api, attempts } = start();
    reporter.offer(() => reportOf(1));
    await clock.advance(1000);
    api.answer = refusal(500);
    await clock.advance(30 * minuteMs);
    expect(attempts.length).toBeGreaterThan(10);
    expect(attempts.length).toBeLessThanOrEqual(1 + 1 + 3 + 60);
  });
});

test('a build that throws is told, and the next one is written', async () => {
  const { clock, reporter, writes, errors } = start();
  reporter.offer(() => {
    throw new Error('no view');
  });
  await clock.advance(1000);
  expect(errors).toMatchObject([{ message: 'no view' }]);
  reporter.offer(() => reportOf(1));
  await clock.advance(1000);
  expect(writes).toHaveLength(1);
});

test('whoever is told may throw', async () => {
  const fail = () => {
    throw new Error('listener');
  };
  const { clock, reporter, api, writes } = start({ onFinding: fail, onError: fail });
  api.answer = refusal(403);
  reporter.offer(() => reportOf(1));
  await clock.advance(1000);
  api.answer = async () => {};
  await clock.advance(minuteMs);
  expect(writes).toHaveLength(1);
});

test('the metrics show what became of the writes', async () => {
  const { clock, reporter, api } = start();
  const registry = new Registry();
  registerReportMetrics(registry, reporter);
  expect(await registry.metrics()).not.toMatch(/age_seconds \d/);
  api.answer = away;
  reporter.offer(() => reportOf(1));
  await clock.advance(300);
  api.answer = refusal(500);
  await clock.advance(1000);
  api.answer = async () => {};
  await clock.advance(5000);
  const text = await registry.metrics();
  expect(text).toContain('portcullis_report_writes_total{result="ok"} 1');
  expect(text).toContain('portcullis_report_writes_total{result="refused"} 1');
  expect(text).toContain('portcullis_report_writes_total{result="unanswered"} 1');
  expect(text).toMatch(/portcullis_report_last_success_age_seconds [34]/);
});

test('whatever happens in whatever order, no more is written than the burst, one an interval, and the renewals', async () => {
  const step = fc.record({
    waitMs: fc.integer({ min: 0, max: 90_000 }),
    news: fc.boolean(),
    answer: fc.constantFrom('ok', 'ok', 'ok', 'refused', 'throttled'),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.integer({ min: 1, max: 5000 }), async (steps, nodeCount) => {
      const { clock, reporter, attempts, api, end } = start({ nodeCount });
      const intervalMs = 30_000 * Math.max(1, nodeCount / 1000);
      let scan = 1;
      for (const { waitMs, news, answer } of steps) {
        api.answer = { ok: async () => {}, refused: refusal(403), throttled: refusal(429, 3000) }[answer];
        if (news) scan++;
        const told = scan;
        reporter.offer(() => reportOf(told));
        await clock.advance(waitMs);
        const renewals = Math.floor(clock.nowMs() / 240_000);
        expect(attempts.length).toBeLessThanOrEqual(3 + Math.floor(clock.nowMs() / intervalMs) + renewals);
      }
      // And nothing is lost: left alone, the newest is there in the end.
      api.answer = async () => {};
      await clock.advance(2 * intervalMs + 40_000);
      if (steps.length > 0) expect(reporter.counts.ok).toBeGreaterThan(0);
      await end();
      expect(clock.timers).toBe(0);
    }),
    { numRuns: 40 },
  );
}, 60_000);
