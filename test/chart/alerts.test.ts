import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { chartFolder } from '../../scripts/generate-chart-docs.ts';
import { runPromtool } from './promtool.ts';

const file = join(chartFolder, 'files/alerts.yaml');
const folder = mkdtempSync(join(tmpdir(), 'portcullis-alerts-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const agent = 'job="portcullis-agent", node="n1", instance="n1:9469"';
const operator = 'job="portcullis-operator", pod="o1"';
/** A cluster in which all is well; a value each minute, for four hours. */
const well: Readonly<Record<string, string>> = {
  [`up{${agent}}`]: '1x240',
  [`up{${operator}}`]: '1x240',
  [`portcullis_kube_leader{${operator}, lease="l"}`]: '1x240',
  [`portcullis_last_apply_timestamp_seconds{${agent}}`]: '1x240',
  [`portcullis_datapath_readable{${agent}}`]: '1x240',
  [`portcullis_policy_errors{${agent}}`]: '0x240',
  [`portcullis_break_glass{${agent}}`]: '0x240',
  [`portcullis_table_entries{${agent}, table="list-entries"}`]: '50x240',
  [`portcullis_table_capacity{${agent}, table="list-entries"}`]: '100x240',
  [`portcullis_blocks_refused_total{${agent}}`]: '0x240',
  [`portcullis_evictions_total{${agent}, table="sources"}`]: '7x240',
  // Blocks make room for others every day.
  [`portcullis_evictions_total{${agent}, table="blocks"}`]: '0+10x240',
  [`portcullis_events_lost_total{${agent}, kind="ring-full"}`]: '3x240',
  [`portcullis_blocks_total{${agent}, policy="p", state="blocked"}`]: '0+1x240',
  [`portcullis_blocks_total{${agent}, policy="p", state="spared"}`]: '2x240',
  [`portcullis_report_last_success_age_seconds{${agent}}`]: '300x240',
  [`portcullis_kube_watch_age_seconds{${agent}, resource="nodes"}`]: '180x240',
  [`portcullis_kube_queue_retries_total{${operator}, queue="q"}`]: '4x240',
  [`portcullis_operator_facts_refused{${operator}, reason="too-wide"}`]: '0x240',
  [`portcullis_metrics_tls_failures_total{${agent}}`]: '0x240',
  [`portcullis_findings{${agent}, code="EventsLost", severity="warning"}`]: '1x240',
};

interface Case {
  readonly alert: string;
  readonly when: string;
  /** Beside, or instead of, what is well. */
  readonly series: Readonly<Record<string, string>>;
  /** When it does not fire yet, and when it does, in minutes. */
  readonly notAt: number;
  readonly at: number;
}

const cases: readonly Case[] = [
  {
    alert: 'PortcullisAgentDown',
    when: 'an agent does not answer',
    series: { [`up{${agent}}`]: '1x9 0x230' },
    notAt: 12,
    at: 16,
  },
  {
    alert: 'PortcullisAgentsAbsent',
    when: 'no agent is known',
    series: { [`up{${agent}}`]: '1x9 _x230' },
    notAt: 12,
    at: 28,
  },
  {
    alert: 'PortcullisNotApplied',
    when: 'the policies were never applied',
    series: { [`portcullis_last_apply_timestamp_seconds{${agent}}`]: '0x240' },
    notAt: 3,
    at: 6,
  },
  {
    alert: 'PortcullisNotApplied',
    when: 'the tables cannot be read',
    series: { [`portcullis_datapath_readable{${agent}}`]: '1x9 0x230' },
    notAt: 12,
    at: 16,
  },
  {
    alert: 'PortcullisForeignXdpProgram',
    when: 'somebody else is attached',
    series: { [`portcullis_findings{${agent}, code="ForeignXdpProgram", severity="error"}`]: '1x240' },
    notAt: 3,
    at: 20,
  },
  {
    alert: 'PortcullisGenericFallback',
    when: 'a driver refuses native mode',
    series: { [`portcullis_findings{${agent}, code="GenericFallback", severity="warning"}`]: '1x240' },
    notAt: 12,
    at: 20,
  },
  {
    alert: 'PortcullisErrorFinding',
    when: 'any other error holds',
    series: { [`portcullis_findings{${agent}, code="AttachFailed", severity="error"}`]: '1x240' },
    notAt: 8,
    at: 20,
  },
  {
    alert: 'PortcullisTableNearlyFull',
    when: 'a table is over 80 % full',
    series: {
      [`portcullis_table_entries{${agent}, table="list-entries"}`]: '80x9 81x230',
      [`portcullis_table_capacity{${agent}, table="list-entries"}`]: '100x240',
      // Full by design.
      [`portcullis_table_entries{${agent}, table="first-targets"}`]: '100x240',
      [`portcullis_table_capacity{${agent}, table="first-targets"}`]: '100x240',
    },
    notAt: 15,
    at: 25,
  },
  {
    alert: 'PortcullisTableFull',
    when: 'something did not fit',
    series: { [`portcullis_findings{${agent}, code="TableFull", severity="error"}`]: '1x240' },
    notAt: 0,
    at: 3,
  },
  {
    alert: 'PortcullisBlocksRefused',
    when: 'a scanner found no room in the table of blocks',
    series: { [`portcullis_blocks_refused_total{${agent}}`]: '0x29 1x210' },
    notAt: 28,
    at: 35,
  },
  {
    alert: 'PortcullisTrackingEvicted',
    when: 'sources are forgotten without end',
    series: { [`portcullis_evictions_total{${agent}, table="sources"}`]: '0+10x240' },
    notAt: 25,
    at: 40,
  },
  {
    alert: 'PortcullisEventsLost',
    when: 'events are lost',
    series: { [`portcullis_events_lost_total{${agent}, kind="ring-full"}`]: '0+5x240' },
    notAt: 8,
    at: 20,
  },
  {
    alert: 'PortcullisPolicyErrors',
    when: 'a policy is refused',
    series: { [`portcullis_policy_errors{${agent}}`]: '2x240' },
    notAt: 8,
    at: 12,
  },
  {
    alert: 'PortcullisBreakGlass',
    when: 'a node is detached',
    series: { [`portcullis_break_glass{${agent}}`]: '0x9 1x230' },
    notAt: 8,
    at: 12,
  },
  {
    alert: 'PortcullisReportNotWritten',
    when: 'a report is older than a quarter of an hour',
    series: { [`portcullis_report_last_success_age_seconds{${agent}}`]: '0+60x240' },
    notAt: 18,
    at: 25,
  },
  {
    alert: 'PortcullisScanWave',
    when: 'two nodes together find more than 100 scans in ten minutes',
    series: {
      [`portcullis_blocks_total{${agent}, policy="p", state="blocked"}`]: '0x29 60x210',
      'portcullis_blocks_total{job="portcullis-agent", node="n2", policy="p", state="would-block"}': '0x29 60x210',
    },
    notAt: 28,
    at: 33,
  },
  {
    alert: 'PortcullisProtectedSourceScans',
    when: 'a source that is never blocked scans',
    series: { [`portcullis_blocks_total{${agent}, policy="p", state="spared"}`]: '0x29 1x210' },
    notAt: 28,
    at: 35,
  },
  {
    alert: 'PortcullisOperatorDown',
    when: 'no replica answers',
    series: { [`up{${operator}}`]: '1x9 0x230' },
    notAt: 12,
    at: 20,
  },
  {
    alert: 'PortcullisNoLeader',
    when: 'nobody leads',
    series: { [`portcullis_kube_leader{${operator}, lease="l"}`]: '1x9 0x230' },
    notAt: 11,
    at: 15,
  },
  {
    alert: 'PortcullisNoLeader',
    when: 'two lead',
    series: { 'portcullis_kube_leader{job="portcullis-operator", pod="o2", lease="l"}': '0x9 1x230' },
    notAt: 11,
    at: 15,
  },
  {
    alert: 'PortcullisWatchStale',
    when: 'a watch hears nothing',
    series: { [`portcullis_kube_watch_age_seconds{${agent}, resource="nodes"}`]: '0+60x240' },
    notAt: 18,
    at: 25,
  },
  {
    alert: 'PortcullisQueueRetries',
    when: 'work fails again and again',
    series: { [`portcullis_kube_queue_retries_total{${operator}, queue="q"}`]: '0+1x240' },
    notAt: 30,
    at: 60,
  },
  {
    alert: 'PortcullisFactsRefused',
    when: 'a Node claims what is not believed',
    series: { [`portcullis_operator_facts_refused{${operator}, reason="too-wide"}`]: '1x240' },
    notAt: 8,
    at: 12,
  },
  {
    alert: 'PortcullisMetricsTlsBroken',
    when: 'a new pair cannot be used',
    // A look each ten seconds.
    series: { [`portcullis_metrics_tls_failures_total{${agent}}`]: '0+6x240' },
    notAt: 8,
    at: 20,
  },
];

/** Asks promtool which alerts fire at which minute. */
function check(
  name: string,
  series: Readonly<Record<string, string>>,
  firing: Readonly<Record<number, readonly string[]>>,
) {
  const test = {
    rule_files: [file],
    evaluation_interval: '1m',
    tests: [
      {
        interval: '1m',
        input_series: Object.entries({ ...well, ...series }).map(([key, values]) => ({ series: key, values })),
        promql_expr_test: Object.entries(firing).map(([minute, alerts]) => ({
          expr: 'count by (alertname) (ALERTS{alertstate="firing"})',
          eval_time: `${minute}m`,
          exp_samples: alerts.map((alert) => ({ labels: `{alertname="${alert}"}`, value: 1 })),
        })),
      },
    ],
  };
  const path = join(folder, `${name}.json`);
  writeFileSync(path, JSON.stringify(test));
  runPromtool(['test', 'rules', path]);
}

describe('the alerts', () => {
  it('are rules of Prometheus', () => {
    expect(runPromtool(['check', 'rules', file])).toMatch(/\d+ rules found/);
  });

  it('are each tried', () => {
    const named: string[] = parse(readFileSync(file, 'utf8')).groups.flatMap(
      ({ rules }: { rules: { alert: string }[] }) => rules.map(({ alert }) => alert),
    );
    expect([...new Set(cases.map(({ alert }) => alert))].sort()).toEqual(named.toSorted());
  });

  it('are silent while all is well', () => {
    check('well', {}, { 1: [], 60: [], 239: [] });
  });

  it.each(cases)('$alert fires alone when $when, and not at once', ({ alert, when, series, notAt, at }) => {
    check(when.replaceAll(/\W/g, '-'), series, { [notAt]: [], [at]: [alert] });
  });
});
