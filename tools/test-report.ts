import { readFileSync } from 'node:fs';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';

export interface Count {
  readonly passed: number;
  readonly failed: number;
  /** What the numbers do not say; '' when there is nothing to add. */
  readonly note: string;
  /** A line for each failed test: whoever sees the end of a log only must know which. */
  readonly failures: readonly string[];
}

export interface Outcome extends Count {
  readonly name: string;
  readonly seconds: number;
}

/** The part of vitest's JSON report that is counted. */
interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    /** The file. */
    readonly name: string;
    readonly status: string;
    /** What went wrong outside its tests. */
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly tags?: readonly string[];
      readonly failureMessages: readonly string[] | null;
    }[];
  }[];
}

/** A stage that is one check. */
export function countStage(ok: boolean): Count {
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, note: '', failures: [] };
}

/** The tag of the tests that `npm test` leaves to `npm run test:all`. */
const nightly = 'nightly';

/**
 * The tests of a vitest run, from its JSON report.
 *
 * A run never counts as good by its silence: no report, no test, a test of this run that did not
 * run, or a failure outside every test is one failure at least.
 *
 * @param ok vitest exited 0
 * @param run whether it ran the tests that are tagged for the night, or the others
 */
export function countTests(reportFile: string, ok: boolean, run: 'daily' | 'nightly'): Count {
  const report = readReport(reportFile);
  if (report === undefined) {
    return { passed: 0, failed: 1, note: 'ended without a report', failures: [] };
  }
  const skipped = report.testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => !['passed', 'failed'].includes(status))
    .filter(({ tags = [] }) => tags.includes(nightly) === (run === nightly)).length;
  const passed = report.numPassedTests;
  const failed = report.numFailedTests + skipped;
  const failures = report.testResults.flatMap(describeFailures);
  if (failed === 0 && !ok) return { passed, failed: 1, note: 'failed outside its tests', failures };
  if (failed === 0 && passed === 0) return { passed, failed: 1, note: 'ran no test', failures };
  const note = skipped > 0 ? `${skipped} skipped, counted as failed` : '';
  return { passed, failed, note, failures };
}

function describeFailures(file: VitestReport['testResults'][number]): readonly string[] {
  const name = path.relative(process.cwd(), file.name);
  const failed = file.assertionResults.filter(({ status }) => status === 'failed');
  if (failed.length === 0 && file.status === 'failed') return [`${name}: ${brief(file.message)}`];
  return failed.map(
    ({ fullName, failureMessages }) =>
      `${name}: ${fullName}: ${brief(failureMessages?.join('\n') ?? '')}`,
  );
}

/** The last lines of what a stage printed, without colour. */
export function lastLines(output: string, most = 20): readonly string[] {
  const lines = stripVTControlCharacters(output).trim().split('\n');
  return lines.slice(-most).filter((line) => line !== '');
}

/** The first line of it, within bounds. */
function brief(message: string): string {
  const [line = ''] = stripVTControlCharacters(message).trim().split('\n');
  return line.length > 200 ? `${line.slice(0, 199)}…` : line;
}

function readReport(file: string): VitestReport | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** A line a stage with what failed in it, and the sum, which is the last line: `N passed, N failed`. */
export function renderTable(outcomes: readonly Outcome[]): string {
  const lines = outcomes.flatMap(({ name, passed, failed, seconds, note, failures }) => [
    [
      failed === 0 ? 'ok    ' : 'FAILED',
      name.padEnd(10),
      `${passed} passed, ${failed} failed`.padEnd(24),
      `${seconds.toFixed(0)} s`.padStart(6),
      note === '' ? '' : ` ${note}`,
    ]
      .join(' ')
      .trimEnd(),
    ...failures.map((each) => `       ${each}`),
  ]);
  const sum = (key: 'passed' | 'failed') =>
    outcomes.reduce((total, outcome) => total + outcome[key], 0);
  return [...lines, '', `${sum('passed')} passed, ${sum('failed')} failed`].join('\n');
}
