import { loss, reason } from './layout.ts';
import type { Owners } from './owners.ts';
import type { NodeTables } from './tables.ts';
import type { CounterSample } from './view.ts';

const kebab = (name: string): string => name.toLowerCase().replaceAll('_', '-');

const VERDICTS = [
  ['WOULD_DROP_', 'would-drop'],
  ['PASS_', 'pass'],
  ['DROP_', 'drop'],
  ['SPARED_', 'spared'],
] as const;

/** By number of `enum reason`: its verdict and its name without it. */
export const reasonNames: readonly { readonly verdict: CounterSample['verdict']; readonly reason: string }[] =
  Object.keys(reason)
    .filter((name) => name !== 'REASON_COUNT')
    .map((name) => {
      const [prefix, verdict] = VERDICTS.find(([start]) => name.startsWith(start))!;
      return { verdict, reason: kebab(name.slice(prefix.length)) };
    });

export const lossNames: readonly string[] = Object.keys(loss)
  .filter((name) => name !== 'LOSS_COUNT')
  .map((name) => kebab(name.slice('LOSS_'.length)));

const sumOver = (values: Buffer, index: number, cpus: number): number => {
  let sum = 0n;
  for (let cpu = 0; cpu < cpus; cpu++) sum += values.readBigUInt64LE((index * cpus + cpu) * 8);
  return Number(sum);
};

/** Packets by owner and reason, zeros left out but for owners in use: a counter that exists shows that nothing happened. */
export const readCounters = (tables: NodeTables, owners: Owners): CounterSample[] => {
  const map = tables.map('counters');
  const cpus = map.userValueBytes / 8;
  const samples: CounterSample[] = [];
  const ids = [{ id: 0, kind: 'Node' as const, name: '', retiredAtMs: 0 }, ...owners.all];
  for (const owner of ids) {
    const values = map.readArray(owner.id * reason.REASON_COUNT, reason.REASON_COUNT);
    for (const [i, names] of reasonNames.entries()) {
      const packets = sumOver(values, i, cpus);
      if (packets === 0 && !isExpected(owner.kind, names.reason)) continue;
      samples.push({ ownerKind: owner.kind, ownerName: owner.name, ...names, packets });
    }
  }
  return samples;
};

/** A list can count under few reasons, a policy under the others: the rest would be noise. */
const isExpected = (kind: CounterSample['ownerKind'], name: string): boolean =>
  kind === 'IpBlocklist'
    ? name === 'list'
    : kind === 'Node'
      ? name === 'manual'
      : name === 'scan-detected' || name === 'scan-blocked' || name === 'new-connection';

export const readLosses = (tables: NodeTables): Record<string, number> => {
  const map = tables.map('losses');
  const values = map.readArray(0, loss.LOSS_COUNT);
  return Object.fromEntries(lossNames.map((name, i) => [name, sumOver(values, i, map.userValueBytes / 8)]));
};
