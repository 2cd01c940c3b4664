/** metav1.Condition: one statement about an object. */
export interface Condition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  /** One CamelCase word, for programs. */
  reason: string;
  /** For people. */
  message: string;
  /** The generation of the object that the statement is about. */
  observedGeneration?: number;
  /** RFC 3339, to the second: when `status` changed last. */
  lastTransitionTime: string;
}

export type NewCondition = Omit<Condition, 'lastTransitionTime'>;

/** What the schemas admit. */
export const maxMessageCharacters = 1024;

/**
 * The conditions with `next` in the place of the one of its type; in order of type, whatever order they were given in, so
 * that the same statements always make the same document. `nowMs` is wall clock, since 1970.
 */
export function setCondition(
  conditions: readonly Condition[] | undefined,
  next: NewCondition,
  nowMs: number,
): Condition[] {
  const before = conditionOf(conditions, next.type);
  const isUnchanged = before?.status === next.status;
  const { type, status, reason, message, observedGeneration } = next;
  const condition: Condition = {
    type,
    status,
    reason,
    message: bounded(message),
    ...(observedGeneration === undefined ? {} : { observedGeneration }),
    lastTransitionTime: isUnchanged ? before.lastTransitionTime : toSeconds(nowMs),
  };
  const others = (conditions ?? []).filter((other) => other.type !== type);
  return [...others, condition].sort((a, b) => (a.type < b.type ? -1 : 1));
}

export function conditionOf(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

/** A schema's maxLength counts code points: cutting UTF-16 units could leave half of one. */
function bounded(message: string): string {
  // No text of so few units has more code points than that.
  if (message.length <= maxMessageCharacters) return message;
  const points = [...message.slice(0, 2 * (maxMessageCharacters + 1))];
  return points.length <= maxMessageCharacters
    ? points.join('')
    : `${points.slice(0, maxMessageCharacters - 1).join('')}…`;
}

function toSeconds(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
