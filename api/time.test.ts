import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseTime } from './time.ts';

describe('parseTime', () => {
  it('reads back what Date writes', () => {
    const dates = fc.date({
      min: new Date('2000-01-01T00:00:00Z'),
      max: new Date('2999-12-31T23:59:59Z'),
      noInvalidDate: true,
    });
    fc.assert(
      fc.property(dates, (date) => {
        expect(parseTime(date.toISOString())).toBe(date.getTime());
      }),
    );
  });

  it.each([
    ['2030-01-31T12:00:00Z', Date.UTC(2030, 0, 31, 12)],
    ['2030-01-31T12:00:00+02:00', Date.UTC(2030, 0, 31, 10)],
    ['2030-01-31T12:00:00-23:59', Date.UTC(2030, 1, 1, 11, 59)],
    ['2030-01-31T12:00:00.1Z', Date.UTC(2030, 0, 31, 12, 0, 0, 100)],
    ['2030-01-31T12:00:00.123999999Z', Date.UTC(2030, 0, 31, 12, 0, 0, 123)],
    ['2028-02-29T00:00:00Z', Date.UTC(2028, 1, 29)],
  ])('%s', (text, ms) => expect(parseTime(text)).toBe(ms));

  it.each([
    '2030-02-30T00:00:00Z',
    '2030-02-29T00:00:00Z',
    '2030-04-31T00:00:00Z',
    '2030-13-01T00:00:00Z',
    '2030-00-01T00:00:00Z',
    '2030-01-01T24:00:00Z',
    '2030-01-01T23:60:00Z',
    '2030-01-01T23:59:60Z',
    '2030-01-01',
    '2030-01-01T00:00:00',
    '2030-01-01 00:00:00Z',
    '2030-01-01t00:00:00z',
    '2030-01-01T00:00Z',
    '2030-01-01T00:00:00+0200',
    '2030-01-01T00:00:00+24:00',
    '2030-01-01T00:00:00.Z',
    '1999-12-31T23:59:59Z',
    '20300-01-01T00:00:00Z',
    '',
  ])('refuses %j', (text) => expect(parseTime(text)).toBeUndefined());
});
