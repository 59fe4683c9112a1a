import { readFileSync } from 'node:fs';

export interface Count {
  readonly passed: number;
  readonly failed: number;
  /** What the numbers do not say; '' when there is nothing to add. */
  readonly note: string;
}

export interface Outcome extends Count {
  readonly name: string;
  readonly seconds: number;
}

/** The part of vitest's JSON report that is counted. */
interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
}

/** A stage that is one check. */
export function countStage(ok: boolean): Count {
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, note: '' };
}

/**
 * The tests of a vitest run, from its JSON report.
 *
 * A run never counts as good by its silence: no report, no test, a test that did not run, or a
 * failure outside every test is one failure at least.
 *
 * @param ok vitest exited 0
 */
export function countTests(reportFile: string, ok: boolean): Count {
  const report = readReport(reportFile);
  if (report === undefined) {
    return { passed: 0, failed: 1, note: 'ended without a report' };
  }
  const skipped = report.numPendingTests + report.numTodoTests;
  const passed = report.numPassedTests;
  const failed = report.numFailedTests + skipped;
  if (failed === 0 && !ok) return { passed, failed: 1, note: 'failed outside its tests' };
  if (failed === 0 && passed === 0) return { passed, failed: 1, note: 'ran no test' };
  return { passed, failed, note: skipped > 0 ? `${skipped} skipped, counted as failed` : '' };
}

function readReport(file: string): VitestReport | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** A line a stage, and the sum, which is the last line: `N passed, N failed`. */
export function renderTable(outcomes: readonly Outcome[]): string {
  const lines = outcomes.map(({ name, passed, failed, seconds, note }) =>
    [
      failed === 0 ? 'ok    ' : 'FAILED',
      name.padEnd(10),
      `${passed} passed, ${failed} failed`.padEnd(24),
      `${seconds.toFixed(0)} s`.padStart(6),
      note === '' ? '' : ` ${note}`,
    ]
      .join(' ')
      .trimEnd(),
  );
  const sum = (key: 'passed' | 'failed') =>
    outcomes.reduce((total, outcome) => total + outcome[key], 0);
  return [...lines, '', `${sum('passed')} passed, ${sum('failed')} failed`].join('\n');
}
