import { alignColumns, grouped, printable, printableJson } from '../../cli/format-text.ts';
import type { CounterSample, DatapathView, TableFill } from '../datapath/view.ts';
import type { Finding } from '../finding.ts';

/** What `portcullis-agent status` shows. */
export interface StatusReport {
  readonly pinPath: string;
  /** Whether an agent runs there; the enforcement holds without one too. */
  readonly agentRunning: boolean;
  readonly view: DatapathView;
  readonly findings: readonly Finding[];
}

/** Text for `portcullis-agent status`. */
export function formatStatus(report: StatusReport, output: 'text' | 'json'): string {
  if (output === 'json') return printableJson(statusJson(report));
  const { pinPath, agentRunning, view, findings } = report;
  const agent = agentRunning ? 'running' : 'not running; what is attached stays in force, changes are not followed';
  return [
    `Pin path: ${printable(pinPath)}\nAgent: ${agent}\n`,
    section('Interfaces', interfaces(view)),
    section('Dropped packets', drops(view.counters)),
    section('Tables', tables(view.tables)),
    section('Lost', losses(view.losses)),
    section('Findings', findings.map(findingText).join('')),
  ].join('');
}

function statusJson({ pinPath, agentRunning, view, findings }: StatusReport): unknown {
  const { interfaces: attached, counters, losses: lost, tables: fills } = view;
  return { pinPath, agentRunning, interfaces: attached, counters, losses: lost, tables: fills, findings };
}

function section(title: string, body: string): string {
  return `\n${title}:\n${body === '' ? '  none\n' : body.replace(/^(?=.)/gm, '  ')}`;
}

function interfaces(view: DatapathView): string {
  if (view.interfaces.length === 0) return '';
  const rows = view.interfaces.map(({ name, mode, programId, policy, verifiedInstructions }) => [
    name,
    mode,
    String(programId),
    verifiedInstructions === 0 ? '-' : grouped(verifiedInstructions),
    policy ?? '(lists only)',
  ]);
  return alignColumns([['INTERFACE', 'MODE', 'PROGRAM', 'INSTRUCTIONS', 'POLICY'], ...rows], new Set([2, 3]));
}

/** Those that were, or in Monitor mode would have been, dropped: the most first. */
function drops(counters: readonly CounterSample[]): string {
  const dropped = counters.filter(({ verdict, packets }) => verdict !== 'pass' && packets > 0);
  if (dropped.length === 0) return '';
  const rows = dropped
    .toSorted((a, b) => b.packets - a.packets)
    .map(({ verdict, reason, packets, ownerKind, ownerName }) => [
      grouped(packets),
      verdict,
      reason,
      ownerName === '' ? ownerKind : `${ownerKind}/${ownerName}`,
    ]);
  return alignColumns([['PACKETS', 'VERDICT', 'REASON', 'BY'], ...rows], new Set([0]));
}

function tables(fills: readonly TableFill[]): string {
  if (fills.length === 0) return '';
  const rows = fills.map(({ table, entries, capacity }) => [
    table,
    grouped(entries),
    grouped(capacity),
    percentage(entries, capacity),
  ]);
  return alignColumns([['TABLE', 'ENTRIES', 'CAPACITY', 'FULL'], ...rows], new Set([1, 2, 3]));
}

/** Rounded so that a table with an entry is never 0 % and one with room never 100 %. */
function percentage(entries: number, capacity: number): string {
  if (entries === 0 || capacity === 0) return '0 %';
  if (entries >= capacity) return '100 %';
  const percent = (entries / capacity) * 100;
  if (percent < 1) return '<1 %';
  return `${Math.min(99, Math.round(percent))} %`;
}

function losses(lost: Readonly<Record<string, number>>): string {
  const rows = Object.entries(lost)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => [grouped(count), kind]);
  return rows.length === 0 ? '' : alignColumns(rows, new Set([0]));
}

/** A finding as two lines: what it is, and what to do. */
export function findingText(finding: Finding): string {
  const { severity, code, object, field, interfaceName, message, remedy } = finding;
  const where = [object, field, interfaceName].filter((part) => part !== undefined).join(' ');
  const about = where === '' ? '' : ` ${printable(where)}`;
  return `${severity} ${code}${about}: ${printable(message)}\n  ${printable(remedy)}\n`;
}
