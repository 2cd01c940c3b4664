import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatPrefix, masked, type Prefix, parsePrefixOrAddress } from '../api/cidr.ts';
import { validateObject } from '../api/validate.ts';
import { objectName, sourceText } from './source.ts';

const prefix = (text: string): Prefix => parsePrefixOrAddress(text)!;

test.each([
  ['192.0.2.7', 'unblock-192.0.2.7'],
  ['192.0.2.0/24', 'unblock-192.0.2.0-24'],
  ['2001:db8::7', 'unblock-2001-db8--7'],
  ['2001:db8::/32', 'unblock-2001-db8--0.32'],
  ['::1', 'unblock---1'],
])('%s is named %s', (source, name) => {
  expect(objectName('unblock', prefix(source))).toBe(name);
});

test('a single address is shown without its length', () => {
  expect(sourceText(prefix('192.0.2.7/32'))).toBe('192.0.2.7');
  expect(sourceText(prefix('2001:db8::7/128'))).toBe('2001:db8::7');
  expect(sourceText(prefix('192.0.2.0/24'))).toBe('192.0.2.0/24');
});

const group = fc.oneof({ weight: 2, arbitrary: fc.constant(0n) }, fc.bigInt({ min: 0n, max: 0xffffn }));
const anyPrefix: fc.Arbitrary<Prefix> = fc.oneof(
  fc
    .record({ value: fc.bigInt({ min: 0n, max: 0xffff_ffffn }), length: fc.integer({ min: 0, max: 32 }) })
    .map(({ value, length }) => masked({ family: 4, value, length })),
  fc
    .record({
      groups: fc.array(group, { minLength: 8, maxLength: 8 }),
      length: fc.constantFrom(0, 16, 32, 64, 96, 112, 128),
    })
    .map(({ groups, length }) =>
      masked({ family: 6, value: groups.reduce((sum, each) => (sum << 16n) | each, 0n), length }),
    ),
);

test('every source has a name that an object may have, and no two have the same', () => {
  fc.assert(
    fc.property(anyPrefix, anyPrefix, (a, b) => {
      const name = objectName('block', a);
      const { problems } = validateObject({
        apiVersion: 'portcullis.dev/v1alpha1',
        kind: 'IpBlocklist',
        metadata: { name },
        spec: {},
      });
      expect(problems).toEqual([]);
      expect(name === objectName('block', b)).toBe(formatPrefix(a) === formatPrefix(b));
    }),
    { numRuns: 500 },
  );
  expect(objectName('block', prefix('1::5:0/112'))).not.toBe(objectName('block', prefix('1::5:0:112')));
});
