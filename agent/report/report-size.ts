import type { BlockReport, NodeReportStatus } from '../../api/types/node-report.ts';
import type { NodeReportObject } from './node-report.ts';

/** The schema's bounds, and the size of the JSON that is sent: 5,000 nodes must not fill the API server. */
export const reportBounds = {
  bytes: 16 * 1024,
  interfaces: 32,
  interfaceLists: 16,
  policies: 200,
  lists: 200,
  blocks: 20,
  ports: 16,
  tables: 32,
  losses: 32,
  exceptions: 32,
  findings: 20,
  messageChars: 256,
} as const;

/** At most so many UTF-16 units; half of a surrogate pair is never left. */
export function cut(text: string, maxChars: number): string {
  if (text.length <= maxChars) return text;
  const kept = text.slice(0, maxChars - 1);
  return `${/[\ud800-\udbff]$/.test(kept) ? kept.slice(0, -1) : kept}…`;
}

export const bounded = <T>(items: readonly T[], max: number): readonly T[] =>
  items.length > max ? items.slice(0, max) : items;

type Step = (status: NodeReportStatus) => NodeReportStatus;

const isTrouble = ({ state }: { readonly state: string }): boolean =>
  !['Programmed', 'NoInterface', 'Conflicted'].includes(state);

/** What went wrong stays, since somebody has to look at it; the order stays as well. */
function mostWanted<T extends { readonly state: string }>(entries: readonly T[], max: number): T[] {
  if (entries.length <= max) return [...entries];
  const first = [...entries.filter(isTrouble), ...entries.filter((entry) => !isTrouble(entry))];
  const chosen = new Set(first.slice(0, max));
  return entries.filter((entry) => chosen.has(entry));
}

/** What the schema takes at most; what is over is left out in order. */
const schemaBounds: Step = (status) => ({
  ...status,
  interfaces: bounded(status.interfaces ?? [], reportBounds.interfaces).map((entry) =>
    entry.lists === undefined ? entry : { ...entry, lists: [...bounded(entry.lists, reportBounds.interfaceLists)] },
  ),
  policies: mostWanted(status.policies, reportBounds.policies),
  lists: mostWanted(status.lists, reportBounds.lists),
  tables: [...bounded(status.tables ?? [], reportBounds.tables)],
  losses: [...bounded(status.losses ?? [], reportBounds.losses)],
  exceptions: [...bounded(status.exceptions ?? [], reportBounds.exceptions)],
  findings: [...bounded(status.findings ?? [], reportBounds.findings)],
});

const withoutPorts = (max: number) => (block: BlockReport) =>
  block.ports === undefined ? block : { ...block, ports: block.ports.slice(0, max) };

const newestBlocks =
  (max: number): Step =>
  (status) => ({ ...status, blocks: { ...status.blocks, newest: status.blocks.newest.slice(0, max) } });

const fewerFindings =
  (max: number): Step =>
  (status) => ({ ...status, findings: (status.findings ?? []).slice(0, max) });

/**
 * What is given up to stay within the size, one after the other until it fits: first words, then what is listed elsewhere
 * too, then lists from their less important end. Policies and lists and what became of them are what the operator reads:
 * they go last, and of them what is as it should be before what is not.
 */
const steps: readonly Step[] = [
  (status) => ({
    ...status,
    findings: (status.findings ?? []).map((one) => ({ ...one, message: cut(one.message, 80) })),
  }),
  fewerFindings(10),
  (status) => ({ ...status, blocks: { ...status.blocks, newest: status.blocks.newest.map(withoutPorts(4)) } }),
  (status) => ({ ...status, interfaces: (status.interfaces ?? []).map(({ lists: _lists, ...entry }) => entry) }),
  newestBlocks(10),
  (status) => ({ ...status, exceptions: (status.exceptions ?? []).slice(0, 8) }),
  (status) => ({ ...status, interfaces: (status.interfaces ?? []).slice(0, 8) }),
  (status) => ({
    ...status,
    policies: status.policies.map(({ conflicted: _conflicted, ...entry }) => shorter(entry)),
    lists: status.lists.map(shorter),
  }),
  fewerFindings(4),
  newestBlocks(4),
  (status) => ({ ...status, losses: [], tables: [] }),
  (status) => ({ ...status, exceptions: [], interfaces: (status.interfaces ?? []).slice(0, 2) }),
  (status) => ({
    ...status,
    policies: status.policies.map(({ name, generation, state }) => ({ name, generation, state })),
    lists: status.lists.map(({ name, generation, state, prefixSet }) => ({
      name,
      generation,
      state,
      // Without it a list could never become Programmed.
      ...(prefixSet !== undefined && { prefixSet }),
    })),
  }),
  (status) => ({ ...status, interfaces: [], findings: [], blocks: { ...status.blocks, newest: [] } }),
];

function shorter<T extends { readonly message?: string }>(entry: T): T {
  return entry.message === undefined ? entry : { ...entry, message: cut(entry.message, 80) };
}

const bytesOf = (report: NodeReportObject): number => Buffer.byteLength(JSON.stringify(report));

/** The report within the bounds; `truncated` when anything was left out. */
export function fitReport(report: NodeReportObject): NodeReportObject {
  const { status } = report;
  let kept = schemaBounds(status);
  const { blocked, wouldBlock = 0, spared = 0, newest } = status.blocks;
  const isShort =
    blocked + wouldBlock + spared > newest.length ||
    (['interfaces', 'policies', 'lists', 'exceptions', 'findings'] as const).some(
      (field) => (status[field]?.length ?? 0) > (kept[field]?.length ?? 0),
    );
  let fitted: NodeReportObject = { ...report, status: isShort ? { ...kept, truncated: true } : kept };
  for (const step of steps) {
    if (bytesOf(fitted) <= reportBounds.bytes) return fitted;
    kept = step(kept);
    fitted = { ...report, status: { ...kept, truncated: true } };
  }
  return bytesOf(fitted) <= reportBounds.bytes ? fitted : withFewerObjects(fitted);
}

/** Some hundred objects with very long names: what went wrong stays, since somebody has to look at it. */
function withFewerObjects(report: NodeReportObject): NodeReportObject {
  const { status } = report;
  let bytes = bytesOf({ ...report, status: { ...status, policies: [], lists: [] } });
  const objects = [
    ...status.policies.map((entry) => ({ entry, of: 'policies' as const })),
    ...status.lists.map((entry) => ({ entry, of: 'lists' as const })),
  ];
  const chosen = new Set<object>();
  for (const { entry } of [
    ...objects.filter((each) => isTrouble(each.entry)),
    ...objects.filter((each) => !isTrouble(each.entry)),
  ]) {
    bytes += Buffer.byteLength(JSON.stringify(entry)) + 1;
    if (bytes > reportBounds.bytes) break;
    chosen.add(entry);
  }
  return {
    ...report,
    status: {
      ...status,
      policies: status.policies.filter((entry) => chosen.has(entry)),
      lists: status.lists.filter((entry) => chosen.has(entry)),
    },
  };
}
