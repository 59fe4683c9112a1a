import fc from 'fast-check';
import { expect, it } from 'vitest';
import { unifiedDiff } from '../../../src/plan/text-diff.ts';
import { reverseDiff } from '../../../src/report/reverse-diff.ts';
import { renderUndoText } from '../../../src/report/undo-view.ts';

const path = '/etc/systemd/system/w.service';

it('shows each step of an undo with the diff of the way back', () => {
  const diff = unifiedDiff(path, '[Service]\nMemoryMax=800M\n', '[Service]\nMemoryMax=900M\n');
  const step = { op: 'x', unit: null, path: null, diff: '', cut: false, rows: [], rowCount: 0 };
  const text = renderUndoText([
    { id: 'b', steps: [{ ...step, title: 'start w.service' }] },
    {
      id: 'a',
      steps: [
        { ...step, title: 'install w.service', diff },
        { ...step, title: 'write a long file', cut: true },
        {
          ...step,
          title: 'repair 1 row',
          rows: ["jobs a1: status back to 'processing'"],
          rowCount: 1,
        },
      ],
    },
  ]);
  expect(text.split('\n')).toEqual([
    '4 steps to undo, in this order; a file that changed since stops it before the first:',
    '  1. undo: start w.service (transaction b)',
    '  2. undo: install w.service (transaction a)',
    `       --- ${path}`,
    `       +++ ${path}`,
    '       @@ -1,2 +1,2 @@',
    '        [Service]',
    '       -MemoryMax=900M',
    '       +MemoryMax=800M',
    '  3. undo: write a long file (transaction a)',
    '       (its diff is too long to be shown)',
    '  4. undo: repair 1 row (transaction a)',
    "       jobs a1: status back to 'processing'",
  ]);
});

it('names a single transaction once', () => {
  const step = {
    op: 'x',
    unit: null,
    path: null,
    diff: '',
    cut: false,
    rows: [],
    rowCount: 0,
    title: 'start w.service',
  };
  expect(renderUndoText([{ id: 'b', steps: [step] }])).toBe(
    '1 step to undo of transaction b, in this order; a file that changed since stops it before the first:\n  1. undo: start w.service',
  );
});

it('counts the rows that the host does not list', () => {
  const step = {
    op: 'repair-jobs',
    unit: null,
    path: null,
    diff: '',
    cut: false,
    title: 'repair jobs',
  };
  const shownFor = (rows: readonly string[], rowCount: number) =>
    renderUndoText([{ id: 'b', steps: [{ ...step, rows, rowCount }] }])
      .split('\n')
      .slice(2);
  const listed = ['       jobs 1: status', '       jobs 2: status'];
  const rows = ['jobs 1: status', 'jobs 2: status'];
  expect(shownFor(rows, 2)).toEqual(listed);
  expect(shownFor(rows, 3)).toEqual([...listed, '       … and 1 more row']);
  expect(shownFor(rows, 10_000)).toEqual([...listed, '       … and 9998 more rows']);
  expect(shownFor([], 10_000)).toEqual(['       (10000 rows, not listed)']);
});

it.each([
  ['a new file', null, 'a\n', '--- /x\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a'],
  ['a removed file', 'a\n', null, '--- /dev/null\n+++ /x\n@@ -0,0 +1,1 @@\n+a'],
  ['no change', 'a\n', 'a\n', ''],
])('reverses %s', (_, before, after, expected) => {
  expect(reverseDiff(unifiedDiff('/x', before, after))).toBe(expected);
});

it('reverses it twice to what it was, with lines that look like its own marks', () => {
  const line = fc.constantFrom('a', 'b', '', '-- x', '++ y', '@@ -1 +1 @@', ' c', '\\');
  const text = fc.array(line, { maxLength: 12 }).map((lines) => lines.join('\n'));
  fc.assert(
    fc.property(text, text, (one, other) => {
      const diff = unifiedDiff('/x', one, other);
      const back = reverseDiff(diff);
      expect(reverseDiff(back)).toBe(diff);
      const count = (of: string, mark: string) =>
        of.split('\n').filter((each) => each.startsWith(mark)).length;
      expect(count(back, '+')).toBe(count(diff, '-'));
    }),
  );
});
