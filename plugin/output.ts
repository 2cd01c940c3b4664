import { stringify } from 'yaml';
import { grouped, humaneDuration, printable, printableJson } from '../cli/format-text.ts';

/** What a command needs of the outside beside the API server. */
export interface Io {
  stdout(text: string): void;
  stderr(text: string): void;
  stdin(): Promise<Uint8Array>;
}

/** As JSON or YAML, safe to print: what a terminal would act upon is escaped. */
export function structured(value: unknown, output: 'json' | 'yaml'): string {
  if (output === 'json') return printableJson(value);
  const text = stringify(JSON.parse(JSON.stringify(value)), { lineWidth: 0, aliasDuplicateObjects: false });
  return text.split('\n').map(printable).join('\n');
}

/** More would push what follows off a terminal of usual width. */
const shownPorts = 8;
const shownNodes = 2;

/** The first ports, each once, and how many more there are. */
export function shortPorts(ports: readonly number[]): string {
  const distinct = [...new Set(ports)];
  if (distinct.length === 0) return '-';
  const rest = distinct.length - shownPorts;
  return distinct.slice(0, shownPorts).join(',') + (rest > 0 ? `+${rest}` : '');
}

export function shortNames(names: readonly string[], shown = shownNodes): string {
  if (names.length === 0) return '-';
  const rest = names.length - shown;
  return names.slice(0, shown).join(',') + (rest > 0 ? ` and ${grouped(rest)} more` : '');
}

export const ago = (ms: number): string => (ms < 1000 ? 'now' : `${humaneDuration(ms)} ago`);
export const inTime = (ms: number): string => (ms < 1000 ? 'now' : `in ${humaneDuration(ms)}`);

export const plural = (count: number, noun: string): string => `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`;

/** A heading, and what stands below it, set in; nothing where there is nothing. */
export function section(title: string, body: string): string {
  return body === '' ? '' : `\n${title}:\n${body.replace(/^(?=.)/gm, '  ')}`;
}
