import { expect, it } from 'vitest';
import { isNewer } from './version-order.ts';

const ascending = ['0.1.0', '0.2.0-rc.1', '0.2.0-rc.2', '0.2.0-rc.10', '0.2.0-rc.10.x', '0.2.0', '0.10.0', '1.0.0'];

it('orders versions as Semantic Versioning does', () => {
  for (const [at, version] of ascending.entries())
    for (const [otherAt, other] of ascending.entries())
      expect([version, other, isNewer(version, other)]).toEqual([version, other, at > otherAt]);
});

it('does not look at what the version was built of', () => {
  expect(isNewer('0.1.0+b', '0.1.0+a')).toBe(false);
});

it('takes nothing for newer that is no version', () => {
  for (const text of ['', 'latest', '1.0', '01']) expect(isNewer(text, '0.1.0')).toBe(false);
});
