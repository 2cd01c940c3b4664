import { describe, expect, it } from 'vitest';
import { isLabelKey, isLabelValue, matchesLabels } from './label-selector.ts';
import type { LabelRequirement } from './types.ts';

const labels = { role: 'web', 'example.com/zone': 'a' };
const one = (key: string, operator: LabelRequirement['operator'], ...values: string[]) =>
  matchesLabels({ matchExpressions: [{ key, operator, values }] }, labels);

describe('matchesLabels', () => {
  it('selects every node when absent or empty', () => {
    for (const selector of [undefined, {}, { matchLabels: {} }, { matchExpressions: [] }]) {
      expect(matchesLabels(selector, {})).toBe(true);
    }
  });

  it('wants every label with its value', () => {
    expect(matchesLabels({ matchLabels: { role: 'web' } }, labels)).toBe(true);
    expect(matchesLabels({ matchLabels: { role: 'web', 'example.com/zone': 'b' } }, labels)).toBe(false);
    expect(matchesLabels({ matchLabels: { rack: '' } }, labels)).toBe(false);
  });

  it('compares with In and NotIn, and a missing label satisfies NotIn', () => {
    expect(one('role', 'In', 'db', 'web')).toBe(true);
    expect(one('role', 'In', 'db')).toBe(false);
    expect(one('rack', 'In', 'db')).toBe(false);
    expect(one('role', 'NotIn', 'web')).toBe(false);
    expect(one('role', 'NotIn', 'db')).toBe(true);
    expect(one('rack', 'NotIn', 'db')).toBe(true);
  });

  it('looks at the key alone with Exists and DoesNotExist', () => {
    expect(one('role', 'Exists')).toBe(true);
    expect(one('rack', 'Exists')).toBe(false);
    expect(one('role', 'DoesNotExist')).toBe(false);
    expect(one('rack', 'DoesNotExist')).toBe(true);
  });

  it('wants all requirements at once', () => {
    const selector = {
      matchLabels: { role: 'web' },
      matchExpressions: [{ key: 'rack', operator: 'Exists' as const }],
    };
    expect(matchesLabels(selector, labels)).toBe(false);
    expect(matchesLabels(selector, { ...labels, rack: '' })).toBe(true);
  });

  it('does not take what every object inherits for a label', () => {
    expect(one('constructor', 'Exists')).toBe(false);
  });
});

describe('the syntax of labels', () => {
  it.each(['app', 'example.com/role', 'a/B_c.d', 'x'.repeat(63)])('takes the key %s', (key) =>
    expect(isLabelKey(key)).toBe(true),
  );
  it.each(['', '-a', 'a-', 'A.com/x', 'a//b', '/a', 'a/', 'a..b/c', 'x'.repeat(64), 'a b'])(
    'refuses the key %j',
    (key) => expect(isLabelKey(key)).toBe(false),
  );
  it.each(['', 'a', '1.10', 'A_b-c'])('takes the value %j', (value) => expect(isLabelValue(value)).toBe(true));
  it.each(['-', 'a b', 'x'.repeat(64), 'ä'])('refuses the value %j', (value) =>
    expect(isLabelValue(value)).toBe(false),
  );
});
