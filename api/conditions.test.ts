import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Condition, conditionOf, maxMessageCharacters, setCondition } from './conditions.ts';

const noon = Date.UTC(2026, 10, 21, 12);
const later = noon + 90_500;
const accepted = { type: 'Accepted', status: 'True', reason: 'Valid', message: 'all is well' } as const;

describe('setCondition', () => {
  it('adds a condition with the time to the second', () => {
    expect(setCondition(undefined, { ...accepted, observedGeneration: 3 }, noon + 999)).toEqual([
      { ...accepted, observedGeneration: 3, lastTransitionTime: '2026-11-21T12:00:00Z' },
    ]);
  });

  it('keeps the time while the status is the same, whatever else changes', () => {
    const first = setCondition([], accepted, noon);
    const second = setCondition(
      first,
      { ...accepted, reason: 'Other', message: 'new words', observedGeneration: 9 },
      later,
    );
    expect(second).toEqual([
      {
        type: 'Accepted',
        status: 'True',
        reason: 'Other',
        message: 'new words',
        observedGeneration: 9,
        lastTransitionTime: '2026-11-21T12:00:00Z',
      },
    ]);
  });

  it('moves the time when the status changes', () => {
    const [condition] = setCondition(setCondition([], accepted, noon), { ...accepted, status: 'False' }, later);
    expect(condition).toMatchObject({ status: 'False', lastTransitionTime: '2026-11-21T12:01:30Z' });
  });

  it('does not keep an older observedGeneration when there is none now', () => {
    const first = setCondition([], { ...accepted, observedGeneration: 1 }, noon);
    expect(setCondition(first, accepted, noon)[0]).not.toHaveProperty('observedGeneration');
  });

  it('leaves what it was given as it was', () => {
    const before = Object.freeze(setCondition([], accepted, noon).map((condition) => Object.freeze(condition)));
    const copy = structuredClone(before);
    setCondition(before, { ...accepted, status: 'False' }, later);
    expect(before).toEqual(copy);
  });

  it('gives the same document in whatever order the conditions were set', () => {
    const types = ['Accepted', 'Degraded', 'Programmed'];
    fc.assert(
      fc.property(fc.shuffledSubarray(types, { minLength: 3 }), (order) => {
        const conditions = order.reduce<Condition[]>((all, type) => setCondition(all, { ...accepted, type }, noon), []);
        expect(conditions.map(({ type }) => type)).toEqual(types);
      }),
    );
  });

  it('repairs a list that holds a type twice', () => {
    const [condition] = setCondition([], accepted, noon);
    expect(setCondition([condition!, condition!], accepted, later)).toEqual([condition]);
  });

  it('cuts a message at what the schema admits, between characters', () => {
    const long = `${'x'.repeat(maxMessageCharacters - 2)}🛡🛡🛡`;
    const { message } = setCondition([], { ...accepted, message: long }, noon)[0]!;
    expect([...message]).toHaveLength(maxMessageCharacters);
    expect(message.endsWith('x🛡…')).toBe(true);
    const fits = '🛡'.repeat(maxMessageCharacters);
    expect(setCondition([], { ...accepted, message: fits }, noon)[0]!.message).toBe(fits);
    const huge = 'y'.repeat(1_000_000);
    expect(setCondition([], { ...accepted, message: huge }, noon)[0]!.message).toHaveLength(maxMessageCharacters);
  });
});

it('finds a condition by its type', () => {
  const conditions = setCondition([], accepted, noon);
  expect(conditionOf(conditions, 'Accepted')).toBe(conditions[0]);
  expect(conditionOf(conditions, 'Programmed')).toBeUndefined();
  expect(conditionOf(undefined, 'Programmed')).toBeUndefined();
});
