import { describe, expect, test } from 'vitest';
import type { Operation, Plan } from '../../../src/model/operation.ts';
import type { Outcome, Step } from '../../../src/model/outcome.ts';
import { seconds } from '../../../src/model/units.ts';
import {
  checklistOf,
  checklistOfChecks,
  renderChecklistMarkdown,
  renderChecklistText,
} from '../../../src/report/checklist.ts';

const operation = (title: string): Operation => ({
  op: 'swap-on',
  path: '/swapfile',
  title,
  why: 'because',
});

const plan: Plan = {
  operations: ['make', 'use', 'keep', 'set', 'last'].map(operation),
  satisfied: ['swap: 2 GiB at /swapfile, priority -2'],
  findings: [],
};

const step = (index: number, status: Step['status'], message = ''): Step => ({
  index,
  op: 'swap-on',
  status,
  message,
  seconds: seconds(1),
});

const outcome = (result: Outcome['result'], ...steps: Step[]): Outcome => ({
  transaction: '20261122T131500-4f2a',
  result,
  steps,
});

describe('a plan as a task list', () => {
  test('a dry run ticks only what is already as desired', () => {
    expect(renderChecklistText(checklistOf(plan, null))).toBe(
      [
        '- [x] swap: 2 GiB at /swapfile, priority -2',
        '- [ ] make (planned)',
        '- [ ] use (planned)',
        '- [ ] keep (planned)',
        '- [ ] set (planned)',
        '- [ ] last (planned)',
      ].join('\n'),
    );
  });

  test('committed: what the host reported', () => {
    const items = checklistOf(
      plan,
      outcome(
        'committed',
        step(0, 'done', '2 GiB written'),
        step(1, 'already'),
        step(2, 'done', 'keep'),
        step(3, 'done'),
      ),
    );
    expect(renderChecklistText(items)).toBe(
      [
        '- [x] swap: 2 GiB at /swapfile, priority -2',
        '- [x] 2 GiB written',
        '- [x] use (already in place)',
        '- [x] keep',
        '- [x] set',
        '- [ ] last (no result reported)',
      ].join('\n'),
    );
  });

  test('undone: no operation is ticked', () => {
    const items = checklistOf(
      plan,
      outcome(
        'undo-failed',
        step(0, 'done'),
        step(1, 'done'),
        step(2, 'failed', 'no space left'),
        step(3, 'skipped'),
        step(1, 'undone', 'swap is off'),
        step(0, 'not-undone', 'file is busy'),
      ),
    );
    expect(renderChecklistMarkdown(items)).toBe(
      [
        '- [x] swap: 2 GiB at /swapfile, priority -2',
        '- [ ] make: file is busy (**could not be undone**)',
        '- [ ] use: swap is off (**undone**)',
        '- [ ] keep: no space left (**failed**)',
        '- [ ] set (**not run**)',
        '- [ ] last (**not run**)',
      ].join('\n'),
    );
  });
});

test('checks as a task list', () => {
  const check = { id: 'x', evidence: [], next: '', expected: '' };
  const items = checklistOfChecks([
    { ...check, title: 'unit', verdict: 'pass', seen: 'active' },
    { ...check, title: 'swap', verdict: 'warn', seen: 'none' },
    { ...check, title: 'strays', verdict: 'fail', seen: '3', expected: 'none' },
    { ...check, title: 'gate', verdict: 'unknown', seen: '' },
  ]);
  expect(renderChecklistText(items)).toBe(
    [
      '- [x] unit: active',
      '- [x] swap: none (warning)',
      '- [ ] strays: 3 (failed, expected none)',
      '- [ ] gate (unknown)',
    ].join('\n'),
  );
});

test('hostile text stays one harmless line', () => {
  const items = [
    { done: true, text: 'a\n::error::b `$(x)` <script> | %n ##[group]', note: '"\n- [ ] fake' },
  ];
  expect(renderChecklistText(items)).toBe(
    '- [x] a ::error::b `$(x)` <script> | %n ## [group] (" - [ ] fake)',
  );
  expect(renderChecklistMarkdown(items)).toBe(
    '- [x] a ::error::b \\`\\$(x)\\` &lt;script&gt; \\| %n ##\\[group\\] (**" - \\[ \\] fake**)',
  );
});
