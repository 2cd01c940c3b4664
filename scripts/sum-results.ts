/** What one suite came to. A suite that could not be run at all is one failure, never nothing. */
export interface SuiteResult {
  readonly suite: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly string[];
  /** What failed, each with the first line of why: tests, files that do not load, a reporter that wrote nothing. */
  readonly problems: readonly string[];
}

export interface Summary {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly problems: readonly string[];
}

/** The part of vitest's JSON report that is read here. */
interface VitestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message?: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages?: readonly string[];
    }[];
  }[];
}

/**
 * Reads a suite's JSON report.
 * @param report the file's text, undefined when there is none
 * @param exitCode of the test runner, null when a signal ended it
 */
export function readVitestReport(suite: string, report: string | undefined, exitCode: number | null): SuiteResult {
  const parsed = report === undefined ? undefined : parse(report);
  if (!parsed) return failedSuite(suite, `no result: the runner ended with ${exitCode ?? 'a signal'}`);
  let passed = 0;
  let failed = 0;
  const skipped: string[] = [];
  const problems: string[] = [];
  for (const file of parsed.testResults) {
    let failedHere = 0;
    for (const test of file.assertionResults) {
      if (test.status === 'passed') passed++;
      else if (test.status === 'failed') {
        failedHere++;
        problems.push(`${suite}: ${test.fullName}: ${firstLine(test.failureMessages?.[0])}`);
      } else skipped.push(`${suite}: ${test.fullName}`);
    }
    // A file that throws while it is loaded has no tests to fail.
    if (file.status === 'failed' && failedHere === 0) {
      failedHere = 1;
      problems.push(`${suite}: ${file.name}: ${firstLine(file.message)}`);
    }
    failed += failedHere;
  }
  if (passed + failed + skipped.length === 0) return failedSuite(suite, 'ran no test');
  if (exitCode !== 0 && failed === 0) {
    failed = 1;
    problems.push(`${suite}: every test passed, yet the runner ended with ${exitCode ?? 'a signal'}`);
  }
  return { suite, passed, failed, skipped, problems };
}

/** A suite that is one command with a yes or no: the type checker, the linter. */
export function readExitCode(suite: string, exitCode: number | null): SuiteResult {
  if (exitCode === 0) return { suite, passed: 1, failed: 0, skipped: [], problems: [] };
  return failedSuite(suite, `ended with ${exitCode ?? 'a signal'}`);
}

/**
 * Adds suites up.
 * @param allowedSkips full names of tests that may be skipped, undefined when any may
 */
export function sumResults(suites: readonly SuiteResult[], allowedSkips: ReadonlySet<string> | undefined): Summary {
  const skips = suites.flatMap((suite) => suite.skipped);
  const forbidden = allowedSkips ? skips.filter((name) => !allowedSkips.has(name)) : [];
  return {
    passed: suites.reduce((sum, suite) => sum + suite.passed, 0),
    failed: suites.reduce((sum, suite) => sum + suite.failed, 0) + forbidden.length,
    skipped: skips.length - forbidden.length,
    problems: [
      ...suites.flatMap((suite) => suite.problems),
      ...forbidden.map((name) => `skipped, and not in the list of allowed skips: ${name}`),
    ],
  };
}

export function summaryLine(summary: Summary): string {
  return `${summary.passed} passed, ${summary.failed} failed, ${summary.skipped} skipped`;
}

/** One name a line; empty lines and `#` comments do not count. */
export function parseAllowedSkips(text: string): ReadonlySet<string> {
  const lines = text.split('\n').map((line) => line.trim());
  return new Set(lines.filter((line) => line !== '' && !line.startsWith('#')));
}

/** A suite that could not be run. */
export function failedSuite(suite: string, problem: string): SuiteResult {
  return { suite, passed: 0, failed: 1, skipped: [], problems: [`${suite}: ${problem}`] };
}

function parse(report: string): VitestReport | undefined {
  try {
    const value = JSON.parse(report) as Partial<VitestReport> | null;
    return Array.isArray(value?.testResults) ? (value as VitestReport) : undefined;
  } catch {
    // Cut off in the middle: the runner was killed while it wrote.
    return undefined;
  }
}

function firstLine(text: string | undefined): string {
  return text?.split('\n', 1)[0] || 'failed without a message';
}
