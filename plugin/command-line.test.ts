import { describe, expect, test } from 'vitest';
import { PortcullisError } from '../api/errors.ts';
import { flagsOf, parseCommandLine } from './command-line.ts';
import { commandHelp, commandNames } from './help.ts';

const parse = (line: string) => parseCommandLine(line === '' ? [] : line.split(' '));
const refusal = (argv: readonly string[]): PortcullisError => {
  try {
    parseCommandLine(argv);
  } catch (error) {
    if (error instanceof PortcullisError) return error;
    throw error;
  }
  throw new Error(`${argv.join(' ')} was taken`);
};

test('without a command there is help, and exit code 2', () => {
  expect(parse('')).toMatchObject({ name: 'help', exitCode: 2 });
  expect(parse('--help')).toMatchObject({ name: 'help', exitCode: 0 });
  expect(parse('help block')).toMatchObject({ name: 'help', text: commandHelp('block') });
  expect(parse('block --help')).toMatchObject({ name: 'help', text: commandHelp('block') });
});

test.each(commandNames)('the help of %s tells of every flag that it takes, and of no other', (name) => {
  const told = [...commandHelp(name).matchAll(/^ {2}(?:-\w, )?--([\w-]+)/gm)].map(([, flag]) => flag!);
  expect(told.toSorted()).toEqual([...Object.keys(flagsOf[name]), 'help'].toSorted());
});

test('blocked takes filters, each checked', () => {
  expect(parse('blocked --source 192.0.2.0/24 --node n1 --policy web -o wide')).toMatchObject({
    name: 'blocked',
    options: { output: 'wide', source: { family: 4, length: 24 }, node: 'n1', policy: 'web' },
  });
  expect(parse('blocked --policy (manual)')).toMatchObject({ options: { policy: '(manual)' } });
});

test('how to reach the server is taken by every command that asks it', () => {
  for (const line of [
    'status',
    'blocked',
    'explain 192.0.2.7',
    'unblock 192.0.2.7',
    'block 192.0.2.7 --for 1h',
    'check f',
  ]) {
    expect(parse(`${line} --kubeconfig f --context c --request-timeout 3s`)).toMatchObject({
      connection: { kubeconfig: 'f', context: 'c', requestTimeoutMs: 3000 },
    });
  }
});

test('unblock holds for an hour and for all policies unless it is told otherwise', () => {
  expect(parse('unblock 2001:db8::7')).toMatchObject({
    options: { durationMs: 3_600_000, policies: [], reason: undefined, waitMs: 15_000, dryRun: false },
  });
  const full = [
    'unblock',
    '192.0.2.7',
    '--for',
    '2h',
    '--policy',
    'a,b',
    '--policy',
    'a',
    '--reason',
    'our own',
    '--wait',
    '0s',
    '--dry-run',
  ];
  expect(parseCommandLine(full)).toMatchObject({
    options: { durationMs: 7_200_000, policies: ['a', 'b'], reason: 'our own', waitMs: 0, dryRun: true },
  });
});

test('block takes labels of nodes', () => {
  expect(parse('block 203.0.113.0/24 --for 90s --node-selector zone=eu-1,role=edge')).toMatchObject({
    options: { durationMs: 90_000, nodeLabels: { zone: 'eu-1', role: 'edge' } },
  });
});

test('check takes several files, and standard input', () => {
  expect(parse('check a.yaml dir -')).toMatchObject({ options: { paths: ['a.yaml', 'dir', '-'] }, server: false });
  expect(parse('check a.yaml --server')).toMatchObject({ server: true });
});

describe('what cannot be meant is refused with what to write', () => {
  test.each([
    [['blokced'], 'UnknownSetting', /Did you mean blocked/],
    [['--context', 'x'], 'UnknownSetting', /command before the flags/],
    [['status', '-n', 'x'], 'UnknownSetting', /lists all flags/],
    [['blocked', '--polcy', 'x'], 'UnknownSetting', /--policy/],
    [['blocked', '-o', 'xml'], 'BadSetting', /one of table, wide, json, yaml/],
    [['blocked', 'x'], 'BadSetting', /kubectl portcullis blocked/],
    [['blocked', '--node', 'Node/N1'], 'BadSetting', /Write --node=n1/],
    [['explain'], 'BadSetting', /explain SOURCE/],
    [['explain', '192.0.2.7/24'], 'NotAnAddress', /192\.0\.2\.0\/24/],
    [['explain', 'example.com'], 'NotAnAddress', /./],
    [['unblock', '10.0.0.0/7'], 'TooWide', /narrower/],
    [['unblock', '0.0.0.0/0'], 'TooWide', /\/8/],
    [['block', '2001::/15', '--for', '1h'], 'NotAnAddress', /./],
    [['block', '2000::/3', '--for', '1h'], 'TooWide', /allowWide/],
    [['block', '192.0.2.7'], 'BadSetting', /--for 1h/],
    [['block', '192.0.2.7', '--for', '1d'], 'BadSetting', /24h/],
    [['block', '192.0.2.7', '--for', '1h', '--reason', 'x'.repeat(33)], 'BadSetting', /32 characters/],
    [['unblock', '192.0.2.7', '--reason', 'a\nb'], 'BadSetting', /one line/],
    [['unblock', '192.0.2.7', '--dry-run=server'], 'BadSetting', /--dry-run/],
    [['unblock', '192.0.2.7', '--reason', '--dry-run'], 'BadSetting', /--reason=VALUE/],
    [['check'], 'BadSetting', /check FILE/],
    [['completion', 'tcsh'], 'BadSetting', /bash, zsh, fish/],
  ] as const)('%j', (argv, code, remedy) => {
    const error = refusal(argv);
    expect(error.code).toBe(code);
    expect(error.remedy).toMatch(remedy);
  });
});
