import type { Condition } from '../../api/conditions.ts';
import type { Happening } from '../controller.ts';

/** An Event for each generation that is refused. */
export function refusedHappening(
  accepted: Condition,
  before: Condition | undefined,
  regarding: Happening['regarding'],
): Happening | undefined {
  if (accepted.status !== 'False') return undefined;
  const isKnown = before?.status === 'False' && before.observedGeneration === accepted.observedGeneration;
  if (isKnown) return undefined;
  return { type: 'Warning', reason: 'Refused', action: 'Validate', note: accepted.message, regarding };
}
