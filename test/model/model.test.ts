import { describe, expect, test } from 'vitest';
import { type Case, type Expectation, STANDARD_TABLES, START } from '../packets/cases/case.ts';
import { caseFiles, cases } from '../packets/cases/index.ts';
import { formatAddress, toPrefix } from '../support/address.ts';
import { DEFAULT_CONFIG, Model, type Outcome } from './model.ts';
import { ModelTables } from './tables.ts';

for (const [file, list] of Object.entries(caseFiles)) {
  describe(file, () => {
    test.each(list.map((one) => [one.name, one] as const))('%s', (_, one) => run(one));
  });
}

test('the names of cases are unique', () => {
  const names = cases.map((one) => one.name);
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
});

function run(one: Case): void {
  const tables = new ModelTables([...STANDARD_TABLES, ...(one.tables ?? [])]);
  const models = (one.instances ?? [{}]).map(
    (instance) => new Model({ ...DEFAULT_CONFIG, ...one.config, ...instance }, tables),
  );
  let now = START;
  for (const [index, step] of one.steps.entries()) {
    now = step.atTick ?? now;
    if ('change' in step) {
      tables.apply(step.change);
      continue;
    }
    for (let round = 0; round < (step.repeat ?? 1); round++) {
      const outcome = models[step.instance ?? 0]!.process(step.frame, now);
      check(outcome, step.expect, `step ${index}, round ${round}: ${step.frame.toString('hex')}`);
    }
  }
}

function check(outcome: Outcome, wanted: Expectation, where: string): void {
  const [owner, reason] = outcome.counts.at(-1)!;
  expect({ verdict: outcome.verdict, reason }, where).toEqual({ verdict: wanted.verdict, reason: wanted.reason });
  if (wanted.owner !== undefined) expect(owner, where).toBe(wanted.owner);
  expect(outcome.counts.slice(0, -1), where).toEqual(wanted.also ?? []);
  const blocks = outcome.events.filter((event) => event.kind === 'block');
  expect(blocks.length, where).toBe(wanted.reason.endsWith('SCAN_DETECTED') ? 1 : 0);
  const event = blocks[0];
  if (!event || !wanted.block) return;
  const { until, ports, source } = wanted.block;
  if (until !== undefined) expect(event.block.until, where).toBe(until);
  if (ports) {
    expect(event.ports, where).toEqual(ports);
    expect(event.block.ports, where).toEqual(ports.slice(0, 16));
  }
  if (source) {
    const { first, length } = toPrefix(source);
    expect(`${formatAddress(event.block.source)}/${event.block.sourceLength}`, where).toBe(
      `${formatAddress(first)}/${length}`,
    );
  }
}
