import { describe, expect, it } from 'vitest';
import { resolvePlain } from './yaml-scalars.ts';

describe('an unquoted value', () => {
  it.each([
    ['', null],
    ['~', null],
    ['null', null],
    ['NULL', null],
    ['true', true],
    ['FALSE', false],
    ['0', 0],
    ['-0', 0],
    ['+15', 15],
    ['-7', -7],
    ['0x1f', 31],
    ['-0x10', -16],
    ['1.5', 1.5],
    ['.5', 0.5],
    ['1e3', 1000],
    ['15.0', 15],
    ['-x', '-x'],
    ['eth?', 'eth?'],
    ['60s', '60s'],
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['2001:db8::/32', '2001:db8::/32'],
    ['1::2', '1::2'],
    ['::', '::'],
    ['2030-01-01', '2030-01-01'],
    ['2030-01-01T00:00:00Z', '2030-01-01T00:00:00Z'],
    ['nULL', 'nULL'],
    ['yEs', 'yEs'],
    ['None', 'None'],
    ['=', '='],
    ['1.2.3', '1.2.3'],
    ['0x', '0x'],
    ['_1', '_1'],
    ['1'.repeat(200), '1'.repeat(200)],
  ])('%j is read as %j', (text, value) => expect(resolvePlain(text)).toEqual({ value }));

  it.each(
    '?th0 .inf -.INF .NaN y Y yes Yes YES n N no No NO on On ON off Off OFF 0777 -012 00 08 0o7 0O7 0b1 0B1 0XF 007.5 1_000 1_0.5 .1_0 0x_f 1:30 12:30:45 -1:30 190:20:30.15'.split(
      ' ',
    ),
  )('%j is ambiguous', (text) => {
    const plain = resolvePlain(text);
    expect(plain).toHaveProperty('ambiguous');
    expect(plain).toHaveProperty('remedy', expect.stringMatching(/quotes/));
  });
});
