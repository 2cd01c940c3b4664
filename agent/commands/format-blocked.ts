import { alignColumns, grouped, humaneTime, printableJson } from '../../cli/format-text.ts';
import type { BlockRecord } from '../datapath/view.ts';
import { blockDocument, newestFirst } from '../report/block-document.ts';

/** More would push what follows off a terminal of usual width. */
const shownPorts = 8;

/** Text for `portcullis-agent blocked`: live blocks, the newest first. Times are wall clock. */
export function formatBlocked(
  blocks: readonly BlockRecord[],
  options: { readonly nowMs: number; readonly output: 'table' | 'wide' | 'json' },
): string {
  const { nowMs, output } = options;
  const live = newestFirst(blocks.filter((block) => block.untilMs > nowMs));
  if (output === 'json') return printableJson(live.map(blockDocument));
  if (live.length === 0) return 'No source is blocked.\n';
  const wide = output === 'wide';
  // A record that drops nothing must not be taken for a block.
  const columns = columnsOf(wide, wide || live.some((block) => block.state !== 'blocked'), nowMs);
  const rows = live.map((block) => columns.map((column) => column.cell(block)));
  const right = new Set(columns.flatMap((column, i) => (column.right === true ? [i] : [])));
  return alignColumns([columns.map((column) => column.title), ...rows], right);
}

interface Column {
  readonly title: string;
  readonly right?: true;
  readonly cell: (block: BlockRecord) => string;
}

function columnsOf(wide: boolean, withState: boolean, nowMs: number): Column[] {
  const state: Column = { title: 'STATE', cell: (block) => block.state };
  return [
    { title: 'SOURCE', cell: (block) => block.source },
    { title: 'POLICY', cell: (block) => (isManual(block) ? '(manual)' : block.by.name) },
    ...(withState && !wide ? [state] : []),
    { title: 'PROVEN', cell: (block) => (isManual(block) ? '-' : block.proven ? 'yes' : 'no') },
    { title: 'PROBES', right: true, cell: (block) => (isManual(block) ? '-' : grouped(block.probes)) },
    { title: 'PORTS', cell: (block) => shortPorts(block.ports) },
    { title: 'SINCE', cell: (block) => humaneTime(block.sinceMs, nowMs) },
    { title: 'UNTIL', cell: (block) => humaneTime(block.untilMs, nowMs) },
    { title: 'DROPPED', right: true, cell: (block) => grouped(block.packetsDropped) },
    ...(wide ? wideColumns(state) : []),
  ];
}

function wideColumns(state: Column): Column[] {
  return [
    { title: 'INTERFACE', cell: (block) => block.interfaceName ?? '-' },
    state,
    { title: 'REASON', cell: (block) => block.reason ?? '-' },
  ];
}

function isManual(block: BlockRecord): boolean {
  return block.by.kind === 'Manual';
}

/** The newest ports, each once, and how many more there are. */
function shortPorts(ports: readonly number[]): string {
  const distinct = [...new Set(ports)];
  if (distinct.length === 0) return '-';
  const rest = distinct.length - shownPorts;
  return distinct.slice(0, shownPorts).join(',') + (rest > 0 ? `+${rest}` : '');
}
