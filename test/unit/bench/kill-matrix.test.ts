import { expect, test } from 'vitest';
import {
  newest,
  type Result,
  renderDocument,
  renderTables,
} from '../../../bench/kill-matrix-table.ts';
import type { Plan } from '../../../src/model/operation.ts';
import {
  allCases,
  FAULTS,
  PHASES,
  powerCuts,
  someCases,
  spread,
} from '../../host/lib/kill-matrix/cases.ts';

const operation = (unit: string) => ({ op: 'stop-unit', unit, title: '', why: '' });
// Of operations the cases know nothing but their names.
const plan = {
  operations: ['a', 'b', 'c', 'd', 'e', 'f'].map(operation),
  findings: [],
} as unknown as Plan;

const result: Result = {
  index: 0,
  op: 'stop-unit',
  phase: 'before',
  fault: 'reboot',
  kind: 'container',
  ending: 'old',
  told: 'gone',
  seconds: 4,
  commit: 'abc',
  at: '2026-11-28T12:00:00.000Z',
};

test('covers every operation and the release, in each phase, with each fault', () => {
  expect(allCases(plan)).toHaveLength(7 * PHASES.length * FAULTS.length);
  expect(powerCuts(plan).map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(someCases(plan).map(({ fault }) => fault)).toEqual(FAULTS);
});

test('the first eighth of the cases covers every operation and phase once', () => {
  const cases = allCases(plan);
  const order = spread(cases);
  expect(new Set(order)).toEqual(new Set(cases));
  const eighth = order.slice(0, cases.length / FAULTS.length);
  expect(new Set(eighth.map(({ index, phase }) => `${index} ${phase}`)).size).toBe(28);
  expect(new Set(eighth.map(({ fault }) => fault))).toEqual(new Set(FAULTS));
});

test('the last result of a case counts, on each kind of host', () => {
  const broken: Result = { ...result, ending: 'BROKEN', told: '' };
  expect(newest([broken, { ...result, kind: 'vm' }, result])).toEqual([
    result,
    { ...result, kind: 'vm' },
  ]);
});

test('the table has a row per operation and phase, a column per fault, and marks cases that were not run', () => {
  const results: readonly Result[] = [
    { ...result, index: 1, op: 'release', fault: 'link-cut', ending: 'BROKEN', seconds: 9 },
    result,
    { ...result, phase: 'in', ending: 'new', seconds: 6 },
    { ...result, kind: 'vm', fault: 'power-cut', commit: 'def', seconds: 60 },
  ];
  expect(renderTables(results)).toBe(
    `On container hosts, 3 of 64 cases: 1 ended old, 1 new, 1 broken. Run on 2026-11-28 at commit \`abc\`; a case took 6 s (median).

| | operation | phase | link-cut | reboot |
|---|---|---|---|---|
| 0 | \`stop-unit\` | before | – | old |
| 0 | \`stop-unit\` | in | – | new |
| 1 | \`release\` | before | BROKEN | – |

On a virtual machine, 1 of 2 cases: 1 ended old, 0 new, 0 broken. Run on 2026-11-28 at commit \`def\`; a case took 60 s (median).

| | operation | phase | power-cut |
|---|---|---|---|
| 0 | \`stop-unit\` | before | old |`,
  );
});

test('the page keeps a table that has more cases than the results', () => {
  const onVm: Result = { ...result, kind: 'vm', fault: 'power-cut' };
  const file: Result = { ...result, op: '/etc/a.service', phase: 'created' };
  const all = [result, { ...result, phase: 'in' } as const, onVm, file];
  const first = renderDocument(all, '');
  expect(first.kept).toEqual([]);
  expect(first.page).toContain(renderTables(all));
  // What somebody added by hand belongs to the table above it.
  const noted = first.page.replace('On a virtual machine', 'A note.\n\nOn a virtual machine');
  const few = [
    { ...result, commit: 'later' },
    { ...onVm, commit: 'def' },
  ];
  const next = renderDocument(few, noted);
  expect(next.kept).toEqual(['container (2 cases)', 'files (1 cases)']);
  const [vm = ''] = renderTables([{ ...onVm, commit: 'def' }]).split(' of ');
  expect(next.page).toContain(vm);
  expect(next.page).toContain('A note.\n\nOn a virtual machine');
  expect(next.page).toContain('`def`');
  expect(next.page).not.toContain('later');
  expect(renderDocument([], next.page)).toEqual({
    page: next.page,
    kept: ['container (2 cases)', 'vm (1 cases)', 'files (1 cases)'],
  });
});
