import { describe, expect, it } from 'vitest';
import { parseAllowedSkips, readExitCode, readVitestReport, summaryLine, sumResults } from './sum-results.ts';

const file = (name: string, status: string, tests: readonly (readonly [string, string])[], message?: string) => ({
  name,
  status,
  message,
  assertionResults: tests.map(([fullName, result]) => ({ fullName, status: result })),
});
const report = (...files: ReturnType<typeof file>[]) => JSON.stringify({ testResults: files });

describe('reading the report of a suite', () => {
  it('counts passed, failed and skipped tests over all files', () => {
    const text = report(
      file('a.test.ts', 'passed', [
        ['works', 'passed'],
        ['later', 'skipped'],
        ['idea', 'todo'],
      ]),
      file('b.test.ts', 'failed', [
        ['breaks', 'failed'],
        ['works too', 'passed'],
      ]),
    );
    expect(readVitestReport('unit', text, 1)).toEqual({
      suite: 'unit',
      passed: 2,
      failed: 1,
      skipped: ['unit: later', 'unit: idea'],
      problems: ['unit: breaks: failed without a message'],
    });
  });

  it('names each test that failed, and the first line of why', () => {
    const failed = { fullName: 'breaks', status: 'failed', failureMessages: ['AssertionError: 1 is not 2\n at x'] };
    const text = JSON.stringify({ testResults: [{ name: 'a.test.ts', status: 'failed', assertionResults: [failed] }] });
    expect(readVitestReport('unit', text, 1).problems).toEqual(['unit: breaks: AssertionError: 1 is not 2']);
  });

  it('counts a file that does not load as a failure', () => {
    const text = report(
      file('a.test.ts', 'passed', [['works', 'passed']]),
      file('b.test.ts', 'failed', [], 'SyntaxError: x\n at y'),
    );
    const result = readVitestReport('unit', text, 1);
    expect(result).toMatchObject({ passed: 1, failed: 1, problems: ['unit: b.test.ts: SyntaxError: x'] });
  });

  it.each([
    ['no report', undefined],
    ['a report that was cut off', '{"testResults": ['],
    ['something else in its place', 'null'],
    ['a report without a single test', report()],
  ])('fails a suite with %s, even when the runner ended well', (_, text) => {
    expect(readVitestReport('life', text, 0)).toMatchObject({ passed: 0, failed: 1 });
  });

  it.each([1, null])('fails a suite whose tests all passed when the runner ended with %s', (exitCode) => {
    const text = report(file('a.test.ts', 'passed', [['works', 'passed']]));
    expect(readVitestReport('unit', text, exitCode)).toMatchObject({ passed: 1, failed: 1 });
  });
});

describe('adding suites up', () => {
  const suites = [
    readVitestReport(
      'unit',
      report(
        file('a', 'passed', [
          ['one', 'passed'],
          ['two', 'skipped'],
        ]),
      ),
      0,
    ),
    readExitCode('types', 0),
    readExitCode('lint', 1),
  ];

  it('gives one line over all suites', () => {
    expect(summaryLine(sumResults(suites, undefined))).toBe('2 passed, 1 failed, 1 skipped');
  });

  it('turns a skipped test into a failure where skips must be allowed', () => {
    const summary = sumResults(suites, new Set());
    expect(summaryLine(summary)).toBe('2 passed, 2 failed, 0 skipped');
    expect(summary.problems.at(-1)).toContain('unit: two');
  });

  it('lets a skip pass that is listed by its full name', () => {
    const allowed = parseAllowedSkips('# reason: this machine has one CPU\n\nunit: two\n');
    expect(summaryLine(sumResults(suites, allowed))).toBe('2 passed, 1 failed, 1 skipped');
  });
});
