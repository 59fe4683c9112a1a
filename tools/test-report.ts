import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';

export interface Count {
  readonly passed: number;
  readonly failed: number;
  /** What the numbers do not show; may be empty. */
  readonly note: string;
  /** One line per failed test, so that the end of a log shows which tests failed. */
  readonly failures: readonly string[];
}

export interface Outcome extends Count {
  readonly name: string;
  readonly seconds: number;
}

/** The part of vitest's JSON report that is used here. */
interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    /** The file. */
    readonly name: string;
    readonly status: string;
    /** The error outside its tests. */
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly tags?: readonly string[];
      readonly failureMessages: readonly string[] | null;
    }[];
  }[];
}

/** A stage that counts as one check. */
export function countStage(ok: boolean): Count {
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, note: '', failures: [] };
}

/** The stage of the browser, where there is none and none could be installed: a note, no failure. */
export const withoutBrowser: Count = {
  passed: 0,
  failed: 0,
  note: 'SKIPPED: no Chromium here, and it could not be installed; set CHROME_PATH',
  failures: [],
};

/** The tag of tests that only `npm run test:all` runs. */
const nightly = 'nightly';

/**
 * Counts the tests of a vitest run from its JSON report.
 *
 * A missing report, a run without tests, a test of this run that did not run, and a failure outside
 * all tests each count as a failure.
 *
 * @param ok vitest exited with code 0
 * @param run whether it ran the tests with the tag `nightly`, or the others
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
  return count(
    {
      passed: report.numPassedTests,
      bad: report.numFailedTests,
      skipped,
      failures: report.testResults.flatMap(describeFailures),
    },
    ok,
  );
}

interface Tally {
  readonly passed: number;
  readonly bad: number;
  readonly skipped: number;
  readonly failures: readonly string[];
}

function count({ passed, bad, skipped, failures }: Tally, ok: boolean): Count {
  const failed = bad + skipped;
  if (failed === 0 && !ok) return { passed, failed: 1, note: 'failed outside its tests', failures };
  if (failed === 0 && passed === 0) return { passed, failed: 1, note: 'ran no test', failures };
  const note = skipped > 0 ? `${skipped} skipped, counted as failed` : '';
  return { passed, failed, note, failures };
}

/**
 * Counts the tests of the pytest runs, one for each Python: the sum, and a note with the Pythons. The
 * rules are those of countTests, and each run must have at least one test.
 *
 * @param folder JUnit files, named after the Python: `3.8.18.xml`
 * @param ok all runs exited with code 0
 */
export function countPythonTests(folder: string, ok: boolean): Count {
  const files = globSync('*.xml', { cwd: folder });
  if (files.length === 0)
    return { passed: 0, failed: 1, note: 'ended without a report', failures: [] };
  const runs = files.map((file) => {
    const python = path.basename(file, '.xml');
    const report = readFileSync(path.join(folder, file), 'utf8');
    return { python, ...count(tallyOf(report, python), true) };
  });
  const passed = runs.reduce((sum, run) => sum + run.passed, 0);
  const failed = runs.reduce((sum, run) => sum + run.failed, 0);
  const notes = runs.map(({ python, note }) => (note === '' ? python : `${python} (${note})`));
  const outside = failed === 0 && !ok;
  return {
    passed,
    failed: outside ? 1 : failed,
    note: `Python ${notes.sort(byVersion).join(', ')}${outside ? '; failed outside its tests' : ''}`,
    failures: runs.flatMap((run) => run.failures),
  };
}

const byVersion = new Intl.Collator('en', { numeric: true }).compare;

/** Reads pytest's report: an empty test case has passed. */
function tallyOf(report: string, python: string): Tally {
  const cases = [...report.matchAll(/<testcase\b([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gs)];
  const ended = cases.map(([, attributes = '', content = '']) => {
    const [, kind = 'passed', words = ''] = /<(failure|error|skipped)\b([^>]*)/.exec(content) ?? [];
    const name = `${attributeOf(attributes, 'classname')}: ${attributeOf(attributes, 'name')}`;
    return { kind, failure: `${python} ${name}: ${brief(attributeOf(words, 'message'))}` };
  });
  const bad = ended.filter(({ kind }) => kind === 'failure' || kind === 'error');
  const skipped = ended.filter(({ kind }) => kind === 'skipped');
  return {
    passed: ended.length - bad.length - skipped.length,
    bad: bad.length,
    skipped: skipped.length,
    failures: [...bad, ...skipped].map(({ failure }) => failure),
  };
}

const ENTITIES: Readonly<Record<string, string>> = {
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  amp: '&',
};

function attributeOf(attributes: string, name: string): string {
  const [, value = ''] = new RegExp(`\\b${name}="([^"]*)"`).exec(attributes) ?? [];
  return value.replace(/&(?:#(\d+)|(\w+));/g, (whole, code?: string, entity = '') =>
    code === undefined ? (ENTITIES[entity] ?? whole) : String.fromCodePoint(Number(code)),
  );
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

/** The last lines of a stage's output, without colours. */
export function lastLines(output: string, most = 20): readonly string[] {
  const lines = stripVTControlCharacters(output).trim().split('\n');
  return lines.slice(-most).filter((line) => line !== '');
}

/** Its first line, at most 200 characters. */
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

/** One line per stage, its failures, and the sum as the last line: `N passed, N failed`. */
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
