import { type Condition, type NewCondition, setCondition } from '../../api/conditions.ts';
import type { NodeCounts } from '../../api/types/port-scan-policy.ts';
import type { TargetView, TroubledNodes } from '../reports/view.ts';
import type { Refusal } from '../stored/policy-object.ts';

/** What is not about a node, and degrades an object all the same. */
export interface Concern {
  /** One CamelCase word. */
  readonly reason: string;
  readonly message: string;
}

type Statement = Omit<NewCondition, 'type' | 'observedGeneration'>;

/** `noun` is what people call the object: policy, list. */
export function accepted(refusal: Refusal | undefined, noun: string): Statement {
  if (refusal === undefined) return { status: 'True', reason: 'Accepted', message: `The ${noun} is valid.` };
  const stays = `Nodes that have an earlier version of the ${noun} keep it in force.`;
  return { status: 'False', reason: refusal.reason, message: `${refusal.message} ${stays}` };
}

export function programmed(view: TargetView, refusal: Refusal | undefined): Statement {
  const { selected, programmed: inForce, failed } = view.counts;
  const heard = inForce + failed;
  if (selected === 0) {
    return {
      status: 'False',
      reason: 'NoNodesSelected',
      message: 'No node has the labels that spec.nodeSelector asks for.',
    };
  }
  if (heard === 0) {
    const message = `Of ${selected} selected ${nodes(selected)} none has a fresh report`;
    const question = view.counts.noReport === selected ? ': does the agent run there?' : '.';
    return { status: 'Unknown', reason: 'NoFreshReport', message: message + question };
  }
  const summary = `In force on ${inForce} of ${selected} selected ${nodes(selected)}`;
  if (failed === 0) {
    const rest = inForce === selected ? '' : `; of the other ${selected - inForce} there is no fresh report`;
    return { status: 'True', reason: 'Programmed', message: `${summary}${rest}${conflictNote(view)}.` };
  }
  const why = [...view.failedStates].map(([state, count]) => `${state} on ${count}`).join(', ');
  const stays = refusal === undefined ? '' : ' Nodes that have an earlier version keep that in force.';
  const message = `${summary}: ${why}.${exampleNote(view)}${stays}`;
  const only = view.failedStates.size === 1 ? [...view.failedStates.keys()][0] : undefined;
  if (only === 'Conflicted' && inForce === 0) return { status: 'False', reason: 'Conflicted', message };
  const hasFailed = [...view.failedStates.keys()].every((state) => neverByWaiting.includes(state));
  return { status: 'False', reason: inForce === 0 && hasFailed ? 'Failed' : 'PartiallyProgrammed', message };
}

/** Pending and NoInterface may pass by themselves. */
const neverByWaiting: readonly string[] = ['Failed', 'Invalid', 'UnknownField', 'Conflicted'];

/** The worst first: its reason stands for all. */
export function degraded(view: TargetView, concerns: readonly Concern[]): Statement {
  const found: Concern[] = [
    ...troubled('Detached', view.detached, 'nothing is enforced'),
    ...troubled('ForeignXdpProgram', view.foreignProgram, 'an interface is not guarded'),
    ...troubled('TableFull', view.tableFull, 'not all is in force'),
    ...silence(view),
    ...concerns,
  ];
  const [first] = found;
  if (first === undefined) return { status: 'False', reason: 'AsExpected', message: 'Nothing is known to be wrong.' };
  return { status: 'True', reason: first.reason, message: found.map(({ message }) => message).join(' ') };
}

function troubled(reason: string, trouble: TroubledNodes | undefined, what: string): Concern[] {
  if (trouble === undefined) return [];
  const message = `On ${trouble.nodes} ${nodes(trouble.nodes)} ${what}: ${trouble.example}: ${trouble.message}.`;
  return [{ reason, message }];
}

function silence({ silent: { stale, noReport } }: TargetView): Concern[] {
  if (stale + noReport === 0) return [];
  const parts = [
    ...(stale > 0 ? [`${stale} ready ${nodes(stale)} ${stale === 1 ? 'has' : 'have'} not reported for too long`] : []),
    ...(noReport > 0
      ? [`${noReport} ready ${nodes(noReport)} ${noReport === 1 ? 'has' : 'have'} no agent that reports`]
      : []),
  ];
  return [{ reason: stale > 0 ? 'StaleReports' : 'MissingReports', message: `${capital(parts.join(' and '))}.` }];
}

function conflictNote({ partlyConflicted }: TargetView): string {
  if (partlyConflicted === 0) return '';
  return `; on ${partlyConflicted} of them another policy governs some of the interfaces`;
}

function exampleNote({ lagging: [first] }: TargetView): string {
  if (first?.message === undefined) return '';
  return ` ${first.node}: ${first.message}${/[.!?]$/.test(first.message) ? '' : '.'}`;
}

/** The three conditions; the time of one moves when its status does. `before` may be of an earlier operator. */
export function conditionsOf(
  before: unknown,
  statements: { readonly Accepted: Statement; readonly Programmed: Statement; readonly Degraded: Statement },
  observedGeneration: number,
  wallMs: number,
): Condition[] {
  let conditions = ownConditions(before);
  for (const [type, statement] of Object.entries(statements)) {
    conditions = setCondition(conditions, { type, ...statement, observedGeneration }, wallMs);
  }
  return conditions;
}

const ownTypes: readonly string[] = ['Accepted', 'Programmed', 'Degraded'];

/** Others may have been written by others, who keep them. */
function ownConditions(value: unknown): Condition[] {
  if (!Array.isArray(value)) return [];
  return (value as Partial<Condition>[]).filter(
    (condition): condition is Condition =>
      typeof condition === 'object' &&
      condition !== null &&
      ownTypes.includes(condition.type as string) &&
      typeof condition.lastTransitionTime === 'string',
  );
}

export function nodeCounts({ counts, lagging }: TargetView): NodeCounts {
  const examples = lagging.map((example) => ({ ...example }));
  return { ...counts, ...(examples.length === 0 ? {} : { examples }) };
}

export const summaryOf = ({ counts: { programmed: inForce, selected } }: TargetView): string =>
  `${inForce}/${selected}`;

const nodes = (count: number): string => (count === 1 ? 'node' : 'nodes');
const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
