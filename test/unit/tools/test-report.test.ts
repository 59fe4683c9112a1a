import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import {
  countPythonTests,
  countStage,
  countTests,
  lastLines,
  renderTable,
} from '../../../tools/test-report.ts';
import { makeTemporaryFolder } from '../../lib/temporary.ts';

function reportOf(counts: Record<string, number>, testResults: readonly unknown[] = []): string {
  const file = path.join(makeTemporaryFolder(), 'report.json');
  const none = { numPassedTests: 0, numFailedTests: 0 };
  writeFileSync(file, JSON.stringify({ ...none, ...counts, testResults }));
  return file;
}

test.each([
  ['all green', { numPassedTests: 3 }, true, 3, 0],
  ['one red', { numPassedTests: 2, numFailedTests: 1 }, false, 2, 1],
  ['red without a failed test', { numPassedTests: 2 }, false, 2, 1],
  ['no test at all', {}, true, 0, 1],
])('%s', (_, counts, ok, passed, failed) => {
  expect(countTests(reportOf(counts), ok, 'daily')).toMatchObject({ passed, failed });
});

test('a test that did not run is a failure of its own run', () => {
  const skipped = (...tags: readonly string[]) => ({ fullName: 'x', status: 'skipped', tags });
  const results = [skipped(), skipped('nightly'), { ...skipped(), status: 'todo' }];
  const report = reportOf({ numPassedTests: 2 }, [
    { name: 'a.test.ts', status: 'passed', message: '', assertionResults: results },
  ]);
  expect(countTests(report, true, 'daily')).toMatchObject({ passed: 2, failed: 2 });
  expect(countTests(report, true, 'nightly')).toMatchObject({ passed: 2, failed: 1 });
});

test('a stage without a list of tests shows its last lines', () => {
  const output = Array.from({ length: 30 }, (_, line) => `\u001b[31mline ${line}`).join('\n');
  expect(lastLines(output, 2)).toEqual(['line 28', 'line 29']);
});

test('a run without a report has failed, whatever its exit code', () => {
  const count = { passed: 0, failed: 1, note: 'ended without a report', failures: [] };
  expect(countTests('/nowhere/report.json', true, 'daily')).toEqual(count);
  expect(countTests('/nowhere/report.json', false, 'daily')).toEqual(count);
});

test('failed tests are listed with the first line of their errors', () => {
  const file = (name: string, message: string, ...assertionResults: readonly unknown[]) => ({
    name: path.join(process.cwd(), name),
    status: 'failed',
    message,
    assertionResults,
  });
  const failed = (fullName: string, ...failureMessages: readonly string[]) => ({
    fullName,
    status: 'failed',
    failureMessages,
  });
  const good = { fullName: 'good', status: 'passed', failureMessages: [] };
  const report = reportOf({ numPassedTests: 1, numFailedTests: 2 }, [
    file(
      'test/a.test.ts',
      '',
      good,
      failed('a unit serves', '\u001b[31mError: no\n    at x.ts:1:2'),
    ),
    file('test/b.test.ts', '', failed('long', 'x'.repeat(300))),
    file('test/c.test.ts', 'Error: did not come up\nmore'),
  ]);
  expect(countTests(report, false, 'daily').failures).toEqual([
    'test/a.test.ts: a unit serves: Error: no',
    `test/b.test.ts: long: ${'x'.repeat(199)}…`,
    'test/c.test.ts: Error: did not come up',
  ]);
});

test('the last line of the table is the sum', () => {
  const table = renderTable([
    { name: 'lint', seconds: 2.4, ...countStage(true) },
    { name: 'dist', seconds: 61, ...countStage(false) },
    { name: 'unit', seconds: 3, passed: 40, failed: 2, note: '', failures: ['a.ts: one: no'] },
  ]);
  expect(table.split('\n')).toEqual([
    'ok     lint       1 passed, 0 failed          2 s',
    'FAILED dist       0 passed, 1 failed         61 s',
    'FAILED unit       40 passed, 2 failed         3 s',
    '       a.ts: one: no',
    '',
    '41 passed, 3 failed',
  ]);
});

/** Reports as pytest writes them: Python → its test cases. */
function pythonReportsOf(runs: Record<string, readonly string[]>): string {
  const folder = makeTemporaryFolder();
  for (const [python, cases] of Object.entries(runs)) {
    const suite = `<testsuite name="pytest" tests="${cases.length}">${cases.join('')}</testsuite>`;
    const text = `<?xml version="1.0" encoding="utf-8"?><testsuites>${suite}</testsuites>`;
    writeFileSync(path.join(folder, `${python}.xml`), text);
  }
  return folder;
}

const pytestCase = (name: string, content = ''): string => {
  const attributes = `classname="host.tests.test_lock" name="${name}" time="0.010"`;
  return content === ''
    ? `<testcase ${attributes} />`
    : `<testcase ${attributes}>${content}</testcase>`;
};
const good = pytestCase('test_it[a&gt;b]');
const skipped = pytestCase('test_root', '<skipped type="pytest.skip" message="needs root" />');

test.each<[string, Record<string, readonly string[]>, boolean, number, number, string]>([
  ['green on both', { '3.13.0': [good, good], '3.8.18': [good] }, true, 3, 0, '3.8.18, 3.13.0'],
  ['no run', {}, true, 0, 1, 'ended without a report'],
  ['a run without a test', { '3.13.0': [good], '3.8.18': [] }, true, 1, 1, '3.8.18 (ran no test)'],
  ['a skipped test', { '3.8.18': [good, skipped] }, true, 1, 1, '(1 skipped, counted as failed)'],
  ['red without a failed test', { '3.8.18': [good] }, false, 1, 1, 'failed outside its tests'],
])('pytest: %s', (_, runs, ok, passed, failed, note) => {
  const counted = countPythonTests(pythonReportsOf(runs), ok);
  expect(counted).toMatchObject({ passed, failed, note: expect.stringContaining(note) });
});

test('pytest: failed tests are listed with their Python and the first line of their errors', () => {
  const why = 'AssertionError: assert &quot;a&quot; &lt; 1&#10;  more';
  const failure = pytestCase('test_b', `<failure message="${why}">a.py:1: /&gt; no</failure>`);
  const error = pytestCase('test_c', '<error message="no fixture">x</error>');
  const folder = pythonReportsOf({ '3.8.18': [failure, good, error] });
  expect(countPythonTests(folder, false)).toEqual({
    passed: 1,
    failed: 2,
    note: 'Python 3.8.18',
    failures: [
      '3.8.18 host.tests.test_lock: test_b: AssertionError: assert "a" < 1',
      '3.8.18 host.tests.test_lock: test_c: no fixture',
    ],
  });
});

test('pytest: a missing folder is a run without a report', () => {
  expect(countPythonTests('/nowhere', true)).toMatchObject({ passed: 0, failed: 1 });
});
