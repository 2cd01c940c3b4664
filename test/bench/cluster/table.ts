import type { ScaleResult, Span } from './measure.ts';

interface Row {
  readonly name: string;
  readonly goal?: string;
  readonly value: (result: ScaleResult) => string;
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
const perSecond = (rate: number): string => (rate < 0.095 ? rate.toFixed(2) : rate.toFixed(1));
const bytes = (rate: number): string => `${(rate / 1000).toFixed(2)} kB/s`;
const percent = (value: number): string => `${value.toFixed(1)} %`;
const middle = (sorted: readonly number[]): number => sorted[sorted.length >> 1] ?? 0;

const spanRows = (name: string, of: (result: ScaleResult) => Span): readonly Row[] => [
  { name: `${name}: writes a second, all together`, goal: '20', value: (r) => perSecond(of(r).writesPerSecond) },
  { name: 'of these, NodeReports', value: (r) => perSecond(of(r).writes.get('APPLY nodereports') ?? 0) },
  {
    name: 'of these, statuses',
    value: (r) => perSecond(of(r).writes.get('APPLY portscanpolicies/status') ?? 0),
  },
  {
    name: 'bytes to an agent, mean and most',
    goal: '1 kB/s',
    value: (r) => `${bytes(of(r).toAgent.mean)}, ${bytes(of(r).toAgent.max)}`,
  },
  { name: 'bytes to the operator', value: (r) => bytes(of(r).toOperator) },
  {
    name: 'CPU: API server, etcd, operator, an agent',
    value: (r) => {
      const { apiServer, etcd, leader, agents } = of(r).cpu;
      return `${[apiServer, etcd, leader].map(percent).join(', ')}, ${(agents / r.plan.agents).toFixed(2)} %`;
    },
  },
];

const rows: readonly Row[] = [
  {
    name: 'a policy change reaches an agent: median, 95 %, last',
    goal: 'last in 5 s',
    value: ({ change }) => [change.p50Ms, change.p95Ms, change.maxMs].map(seconds).join(', '),
  },
  {
    name: 'its status says that it is in force on all nodes: median, last',
    value: ({ change }) => [middle(change.programmedMs), change.programmedMs.at(-1) ?? 0].map(seconds).join(', '),
  },
  {
    name: 'CPU for one change: API server, an agent',
    value: ({ change, plan }) =>
      `${change.apiServerSeconds.toFixed(2)} s, ${((change.agentsSeconds / plan.agents) * 1000).toFixed(0)} ms`,
  },
  {
    name: 'share of the time for which these processes waited for a core',
    value: ({ change }) => percent(change.starved),
  },
  ...spanRows('steady state', ({ steady }) => steady),
  ...spanRows('first minute of scans', ({ onset }) => onset),
  ...spanRows('scans go on', ({ scan }) => scan),
  {
    name: 'memory of the operator that leads, of the one that follows',
    goal: '200 MiB',
    value: ({ memory }) =>
      [memory.leader, memory.follower].map(({ peakMiB }) => `${peakMiB.toFixed(0)} MiB`).join(', '),
  },
  { name: 'operators that had to be started again', goal: '0', value: ({ restarts }) => `${restarts}` },
  { name: 'memory of the API server', value: ({ memory }) => `${memory.apiServer.rssMiB.toFixed(0)} MiB` },
];

/** Markdown: one column for each size. */
export function tableOf(results: readonly ScaleResult[]): string {
  const lines = [
    ['agents', 'goal', ...results.map(({ plan }) => `${plan.agents}`)],
    ['nodes that are scanned', '', ...results.map(({ plan }) => `${plan.scanned}`)],
    ...rows.map(({ name, goal = '', value }) => [name, goal, ...results.map(value)]),
    ['load of the machine meanwhile', '', ...results.map(({ load }) => `${load.min} to ${load.max}`)],
  ].map((cells) => `| ${cells.join(' | ')} |`);
  return [lines[0], `|${'---|'.repeat(results.length + 2)}`, ...lines.slice(1)].join('\n');
}
