import { expect } from 'vitest';
import { DEFAULT_CONFIG } from '../model/model.ts';
import type { Reason } from '../model/reasons.ts';
import { toPrefix } from '../support/address.ts';
import { type Case, STANDARD_TABLES, START } from './cases/case.ts';
import { type KernelNode, XDP_DROP } from './kernel-node.ts';

/** Owners that cases use: the node, two policies, two lists. */
const OWNERS = [0, 1, 2, 11, 12];

/** Runs one case from empty tables and compares each packet's verdict, counters and events. */
export async function runCase(node: KernelNode, one: Case): Promise<void> {
  await node.reset();
  for (const change of [...STANDARD_TABLES, ...(one.tables ?? [])]) await node.apply(change);
  const instances = [];
  for (const instance of one.instances ?? [{}])
    instances.push(await node.instance({ ...DEFAULT_CONFIG, ...one.config, ...instance }));
  node.tick = START;
  for (const [index, step] of one.steps.entries()) {
    if (step.atTick !== undefined) node.tick = step.atTick;
    if ('change' in step) {
      await node.apply(step.change);
      continue;
    }
    for (let round = 0; round < (step.repeat ?? 1); round++) {
      const where = `step ${index}, round ${round}: ${step.frame.toString('hex')}`;
      const before = node.counters(OWNERS);
      const { action } = instances[step.instance ?? 0]!.run(step.frame);
      const counted = [...node.counters(OWNERS)]
        .filter(([name, count]) => count !== before.get(name))
        .map(([name]) => name);
      const wanted = step.expect;
      const others = (wanted.also ?? []).map(([owner, reason]) => `${owner} ${reason}`);
      const final = counted.filter((name) => !others.includes(name));
      expect(
        { verdict: action === XDP_DROP ? 'drop' : 'pass', reasons: final.map((name) => name.split(' ')[1] as Reason) },
        where,
      ).toEqual({ verdict: wanted.verdict, reasons: [wanted.reason] });
      if (wanted.owner !== undefined) expect(final, where).toEqual([`${wanted.owner} ${wanted.reason}`]);
      expect(counted.filter((name) => others.includes(name)).sort(), where).toEqual([...others].sort());
      const events = node.events().filter((event) => event.kind === 2);
      expect(events.length, where).toBe(wanted.reason.endsWith('SCAN_DETECTED') ? 1 : 0);
      const { until, ports, source } = wanted.block ?? {};
      if (until !== undefined) expect(events[0]?.until, where).toBe(until);
      // The Nth port first; the kernel keeps the others in no order.
      if (ports)
        expect([events[0]?.ports?.[0], ...(events[0]?.ports?.slice(1).sort((a, b) => a - b) ?? [])], where).toEqual([
          ports[0],
          ...ports.slice(1).sort((a, b) => a - b),
        ]);
      if (source) {
        const { first, length, version } = toPrefix(source);
        expect(events[0]?.source, where).toEqual({
          family: version,
          value: version === 4 ? first & 0xffff_ffffn : first,
          length,
        });
      }
    }
  }
}
