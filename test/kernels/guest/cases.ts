import { DEFAULT_CONFIG } from '../../model/model.ts';
import { type Case, type Expectation, STANDARD_TABLES, START } from '../../packets/cases/case.ts';
import { caseFiles } from '../../packets/cases/index.ts';
import { KernelNode, XDP_DROP } from '../../packets/kernel-node.ts';
import { toPrefix } from '../../support/address.ts';
import { TestNet } from '../../support/namespaces.ts';
import type { Checks } from './report.ts';

/** Owners that cases use: the node, two policies, two lists. */
const owners = [0, 1, 2, 11, 12];

/** The table of cases, as the packet tests run it; without their runner, which an emulated CPU takes a minute to start. */
export async function run(checks: Checks): Promise<void> {
  await using net = await TestNet.create();
  await using node = await KernelNode.create(net.pinPath());
  for (const [file, list] of Object.entries(caseFiles))
    for (const one of list) await checks.check(`${file}: ${one.name}`, async () => await runCase(node, one));
}

async function runCase(node: KernelNode, one: Case): Promise<void> {
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
      const before = node.counters(owners);
      const { action } = instances[step.instance ?? 0]!.run(step.frame);
      const counted = [...node.counters(owners)]
        .filter(([name, count]) => count !== before.get(name))
        .map(([name]) => name);
      const difference = differenceTo(step.expect, action, counted, node.events());
      if (difference !== undefined)
        throw new Error(`step ${index}, round ${round}: ${difference}: ${step.frame.toString('hex')}`);
    }
  }
}

/** What is other than expected, in words. */
function differenceTo(
  wanted: Expectation,
  action: number,
  counted: readonly string[],
  events: ReturnType<KernelNode['events']>,
): string | undefined {
  const verdict = action === XDP_DROP ? 'drop' : 'pass';
  const others = (wanted.also ?? []).map(([owner, reason]) => `${owner} ${reason}`);
  const final = counted.filter((name) => !others.includes(name));
  const reason = wanted.owner === undefined ? final[0]?.split(' ')[1] : final[0];
  const wantedReason = wanted.owner === undefined ? wanted.reason : `${wanted.owner} ${wanted.reason}`;
  if (verdict !== wanted.verdict || final.length !== 1 || reason !== wantedReason)
    return `${verdict} for ${final.join(' and ') || 'no reason'}, not ${wanted.verdict} for ${wantedReason}`;
  const missing = others.filter((name) => !counted.includes(name));
  if (missing.length > 0) return `${missing.join(', ')} is not counted`;

  const [block, ...more] = events.filter(({ kind }) => kind === 2);
  const wantsBlock = wanted.reason.endsWith('SCAN_DETECTED');
  if ((block !== undefined) !== wantsBlock || more.length > 0) return `${more.length + (block ? 1 : 0)} block events`;
  const { until, ports, source } = wanted.block ?? {};
  if (until !== undefined && block?.until !== until) return `blocked until ${block?.until}, not ${until}`;
  if (ports && `${inKernelsOrder(block?.ports ?? [])}` !== `${inKernelsOrder(ports)}`)
    return `ports ${block?.ports}, not ${ports}`;
  if (source) {
    const { first, length, version } = toPrefix(source);
    const value = version === 4 ? first & 0xffff_ffffn : first;
    const told = block?.source;
    if (told?.family !== version || told.value !== value || told.length !== length)
      return `the block is of ${told?.family} ${told?.value.toString(16)}/${told?.length}, not of ${source}`;
  }
  return undefined;
}

/** The Nth port first; the kernel keeps the others in no order. */
const inKernelsOrder = ([nth, ...others]: readonly number[]): readonly (number | undefined)[] => [
  nth,
  ...others.sort((a, b) => a - b),
];
